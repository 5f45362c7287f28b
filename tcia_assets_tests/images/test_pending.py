"""A list of Series to fetch behaves as the objects that it stands for."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from tcia_assets.images import pending
from tcia_assets.images.pending import PendingList, PendingSeries

NEW = PendingSeries("1.2", 3, 3_000, "f", "CC BY 3.0", None, 0, "new", date(2026, 1, 2), "uuid")
LOST = PendingSeries("1.3", None, None, "g", None, "https://doi.org/10.1", 2, "lost")
AGAIN = PendingSeries("1.4", 1, 500, "h", "CC BY 3.0", None, 1, "again")


def test_the_series_come_back_as_they_were_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_MADE_AT_ONCE", 2)
    both = PendingList.of(LOST, NEW, AGAIN)

    assert [*both] == [LOST, NEW, AGAIN]
    assert (both[0], both[-1], [*both[1:]]) == (LOST, AGAIN, [NEW, AGAIN])
    assert both == PendingList.of(LOST, NEW, AGAIN) != both[:2]
    with pytest.raises(IndexError):
        _ = both[3]


def test_sums_are_those_of_the_series() -> None:
    listed = PendingList.of(NEW, LOST, AGAIN)

    assert (len(listed), listed.total_bytes, listed.sizes.null_count) == (3, 3_500, 1)
    assert listed.reasons == Counter(new=1, lost=1, again=1)
    assert listed.tried().to_pylist() == ["1.3", "1.4"]


def test_a_list_of_no_series_is_false() -> None:
    assert not PendingList()
    assert (PendingList().total_bytes, PendingList().reasons) == (0, Counter())
