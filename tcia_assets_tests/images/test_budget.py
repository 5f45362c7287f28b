"""The Series and bytes that a run may take."""

from __future__ import annotations

import pytest

from tcia_assets.images.budget import FetchBudget
from tcia_assets_tests.images.many import (
    SERIES,
    planned,
    selected,
)
from tcia_assets_tests.images.place import Place


def test_series_beyond_the_maximum_are_for_later(mirror: Place) -> None:
    plan, whole = planned(mirror, selected(max_series_per_run=5)), planned(mirror)

    assert (len(plan.now), len(plan.later)) == (5, SERIES - 5)
    assert plan.now + plan.later == whole.now
    assert plan.bytes_now + plan.bytes_later == whole.bytes_now > 0


@pytest.mark.parametrize(("series_of_bytes", "fits"), [(3, 3), (2.99, 2), (0, 1)])
def test_bytes_beyond_the_maximum_are_for_later_but_the_first_series_is_taken(
    mirror: Place, series_of_bytes: float, fits: int
) -> None:
    one = planned(mirror).now[0].image_bytes or 0
    plan = planned(mirror, selected(max_bytes_per_run=int(one * series_of_bytes) or 1))

    assert len(plan.now) == fits


def test_plans_of_one_run_share_its_series_and_bytes(mirror: Place) -> None:
    one = planned(mirror).now[0].image_bytes or 0
    by_series = FetchBudget.for_selection(selected(max_series_per_run=SERIES + 2))
    by_bytes = FetchBudget.for_selection(selected(max_bytes_per_run=one * (SERIES + 1)))

    assert [len(planned(mirror, budget=by_series).now) for _ in range(3)] == [SERIES, 2, 0]
    assert [len(planned(mirror, budget=by_bytes).now) for _ in range(3)] == [SERIES, 1, 0]
