"""A Series is due for withdrawal after absences in a row, hours apart, and then stays as it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tcia_assets.metadata.absence import WithdrawalPolicy
from tcia_assets.metadata.listing import mark_moved, mark_withdrawn, merge
from tcia_assets_tests.metadata.listings import SOURCE, after, day, listed, row


def test_the_third_absence_makes_a_series_due_and_no_listing_withdraws_it() -> None:
    seen = after(listed(a=1, b=1), *[listed(a=1)] * 3)
    assert (seen.due, seen.missing, seen.withdrawn) == (("b",), 1, 0)
    assert row(seen, "b")["missing_since"] == day(2)
    assert after(listed(a=1, b=1), *[listed(a=1)] * 2).due == ()
    gone = mark_withdrawn(seen.rows, seen.due, at=day(4))
    assert row(replace(seen, rows=gone), "b")["withdrawn_at"] == day(4)
    assert row(replace(seen, rows=gone), "a")["withdrawn_at"] is None


def test_absences_count_only_with_hours_between_them() -> None:
    seen = after(listed(a=1, b=1), listed(a=1))
    for hours in (1, 12, 19):
        later = merge(seen.rows, listed(a=1), at=day(2) + timedelta(hours=hours), source=SOURCE)
        assert later.rows.equals(seen.rows)
    counted = merge(seen.rows, listed(a=1), at=day(2) + timedelta(hours=20), source=SOURCE)
    assert row(counted, "b")["missing_snapshots"] == 2
    assert row(counted, "b")["missing_counted_at"] == day(2) + timedelta(hours=20)
    assert row(counted, "b")["missing_since"] == day(2)


def test_the_withdrawal_policy_can_be_chosen() -> None:
    quick = WithdrawalPolicy(listings=2, hours=0)
    seen = after(listed(a=1, b=1))
    for _ in range(2):
        seen = merge(seen.rows, listed(a=1), at=day(2), source=SOURCE, policy=quick)
    assert seen.due == ("b",)


@pytest.mark.parametrize("end", ["due", "withdrawn", "moved"])
def test_a_series_that_is_gone_does_not_change_with_each_listing(end: str) -> None:
    seen = after(listed(a=1, b=1), *[listed(a=1)] * 3)
    rows = seen.rows
    if end == "withdrawn":
        rows = mark_withdrawn(rows, ["b"], at=day(4))
    if end == "moved":
        rows = mark_moved(rows, {"b": "LCTSC"})
    later = merge(rows, listed(a=1), at=day(9), source=SOURCE)
    assert later.rows.equals(rows)
    assert later.due == (("b",) if end == "due" else ())


def test_only_absences_in_a_row_count() -> None:
    off, on = listed(a=1), listed(a=1, b=1)
    seen = after(on, off, off, on, off, off)
    assert row(seen, "b")["withdrawn_at"] is None
    assert row(seen, "b")["missing_since"] == day(5)
