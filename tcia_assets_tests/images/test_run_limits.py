"""The Series and bytes that a run may take, and the shards of a plan."""

from __future__ import annotations

import time
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.errors import UsageError
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.plan import MAX_ATTEMPTS, FetchPlan
from tcia_assets.images.run_limits import FetchBudget, RereadBudget, Shard
from tcia_assets_tests.images.many import (
    SERIES,
    denying,
    edit_series,
    in_shard,
    planned,
    put,
    row,
    selected,
    stored,
    uids_of,
)
from tcia_assets_tests.images.place import Place


def test_series_beyond_the_maximum_are_for_later(mirror: Place) -> None:
    plan, whole = planned(mirror, selected(max_series_per_run=5)), planned(mirror)

    assert (len(plan.now), len(plan.later)) == (5, SERIES - 5)
    assert [*plan.now, *plan.later] == [*whole.now]
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


NC = "Creative Commons Attribution-NonCommercial 4.0 International License"
UIDS = st.from_regex(r"\A[0-9]{1,5}([.][0-9]{1,9}){1,9}\Z")


def licensed(place: Place, names: dict[str, str | None]) -> None:
    def change(found: dict[str, Any]) -> dict[str, Any]:
        uid = found["SeriesInstanceUID"]
        return found | ({"LicenseName": names[uid], "LicenseURI": None} if uid in names else {})

    edit_series(place, change)


@given(st.lists(UIDS), st.integers(1, 20))
def test_each_series_is_in_exactly_one_shard(uids: list[str], count: int) -> None:
    shards = [in_shard(uids, Shard(index, count)) for index in range(count)]
    assert sorted(chain.from_iterable(shards)) == sorted(uids)


@pytest.mark.parametrize(
    ("uid", "index"), [("1.2.3", 2), ("1.3.6.1.4.1.14519.5.2.1.1", 2), ("2.25.7", 1)]
)
def test_a_series_is_always_in_the_same_shard(uid: str, index: int) -> None:
    assert [i for i in range(3) if in_shard([uid], Shard(i, 3))] == [index]
    assert [i for i in range(3) if Shard(i, 3).contains(uid)] == [index]


@pytest.mark.parametrize(("index", "count"), [(3, 2), (2, 2), (-1, 2), (0, 0)])
def test_an_impossible_shard_is_refused(index: int, count: int) -> None:
    with pytest.raises(UsageError, match=f"shard {index} of {count}"):
        Shard(index, count)


def test_shards_divide_the_plan_and_all_its_counts(mirror: Place) -> None:
    forbidden, untold, gone, *_ = mirror.uids
    mirror.fetch(*mirror.uids[5:8])
    licensed(mirror, {forbidden: NC, untold: None})
    tried = {"attempts": MAX_ATTEMPTS, "fingerprint": stored(mirror)[gone]["fingerprint"]}
    put(mirror, row(gone, "incomplete", **tried))
    selection = selected(licenses=denying("NC"))
    whole = planned(mirror, selection)
    assert whole.complete == 3 and whole.denied == 1 and len(whole.given_up) == 1

    def facts(*plans: FetchPlan) -> dict[str, Any]:
        lists = {
            name: sorted(uid for plan in plans for uid in uids_of(getattr(plan, name)))
            for name in ("now", "given_up")
        }
        counts = {
            name: sum(getattr(plan, name) for plan in plans)
            for name in ("complete", "denied", "unlicensed")
        }
        return lists | counts | {"bytes": sum(plan.bytes_now for plan in plans)}

    for count in (2, 5):
        parts = [planned(mirror, selection, shard=Shard(i, count)) for i in range(count)]
        assert facts(*parts) == facts(whole), f"{count} shards"


def test_the_time_to_read_zips_again_is_shared_and_ends_with_the_run() -> None:
    budget = RereadBudget(seconds=10.0)
    with budget.spend() as until:
        assert 9.0 < until - time.monotonic() <= 10.0
        time.sleep(0.01)
    with budget.spend() as until:
        assert until - time.monotonic() < 9.99
    with RereadBudget(seconds=10.0, deadline=5.0).spend() as until:
        assert until == 5.0
    limited = FetchSession(selected(max_minutes_per_run=1))
    assert limited.reread.deadline == limited.budget.deadline
