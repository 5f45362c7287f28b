"""A listing that lacks too many Series is believed only after others confirm it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import SNAPSHOTS
from tcia_assets.metadata import plausibility
from tcia_assets.metadata.absence import WithdrawalPolicy
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.examples import examples
from tcia_assets_tests.metadata.mirror import DAY_1, SandboxMirror, day, refreshed_without


def test_a_listing_that_lacks_too_much_only_adds_until_later_ones_confirm_it(
    mirror: SandboxMirror,
) -> None:
    mirror.start()
    gone = mirror.uids(SMALL, 4)
    mirror.archive.withdraw(gone)
    [kept] = mirror.archive.revise(collection=SMALL, count=1, image_count=2)
    facts = {n: mirror.refresh(day(n), SMALL)[0].facts for n in range(2, 8)}

    assert [facts[n]["plausible"] for n in facts] == [False, False, True, True, True, True]
    assert (facts[2]["listed_before"], facts[2]["listed"], facts[2]["missing"]) == (10, 6, 0)
    assert "lacks 4 of the 10 Series" in str(facts[2]["implausible_because"])
    assert mirror.row(kept, SMALL)["changed_at"] == day(2)
    assert {event[1:] for event in mirror.events(gone)} == {
        (SMALL, "added", day(1)),
        (SMALL, "missing", day(4)),
        (SMALL, "withdrawn", day(6)),
    }
    log = mirror.warehouse.read(SNAPSHOTS, [SMALL])
    assert log["lost"].to_pylist() == [0, 4, 4, 4, 0, 0, 0]


def test_a_single_short_listing_changes_nothing_but_is_recorded(mirror: SandboxMirror) -> None:
    mirror.start()
    before = mirror.known()
    mirror.archive.hide(collection=SMALL, count=6)
    mirror.refresh(day(2), SMALL)
    mirror.archive.show(collection=SMALL)
    mirror.refresh(day(3), SMALL)
    assert mirror.known() == before
    assert {event for *_, event, _ in mirror.events()} == {"added"}


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8), st.integers(1, 9))
def test_an_implausible_listing_is_believed_after_others_hours_apart(
    lists: list[tuple[bool, int]], listed: int
) -> None:
    at, rows = DAY_1, []
    for plausible, hours in lists:
        at += timedelta(hours=hours)
        rows.append((at, plausible))
    at += timedelta(hours=5)
    earlier = pa.table(
        {
            "taken_at": pa.array([at for at, _ in rows], pa.timestamp("us", "UTC")),
            "plausible": pa.array([p for _, p in rows], pa.bool_()),
            "listed": pa.array([listed] * len(rows), pa.int64()),
        }
    )
    run = []
    for when, plausible in reversed(rows):
        if plausible:
            break
        run.insert(0, when)
    counted: list[datetime] = []
    for when in [*run, at]:
        if not counted or when >= counted[-1] + timedelta(hours=20):
            counted.append(when)
    verdict = plausibility.judge(listed, 100, 100 - listed, earlier, at, WithdrawalPolicy())
    assert verdict.plausible == (len(counted) >= 3)


def test_listings_of_the_future_do_not_stop_withdrawals(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=0)
    mirror.refresh(day(3650), SMALL)
    assert plausibility.last_compared(mirror.warehouse, day(2)) == {SMALL: day(1)}
    for number in (2, 3):
        mirror.refresh(day(number), SMALL)
        assert mirror.row(uid, SMALL)["withdrawn_at"] is None
    assert plausibility.last_compared(mirror.warehouse, day(3)) == {SMALL: day(3)}
    mirror.refresh(day(4), SMALL)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4)


def test_the_record_of_listings_reaches_back_however_often_a_collection_is_refreshed(
    mirror: SandboxMirror,
) -> None:
    for minutes in range(0, 300, 20):
        mirror.refresh(day(1) + timedelta(minutes=minutes), SMALL)
    taken = mirror.warehouse.read(SNAPSHOTS, [SMALL])["taken_at"].to_pylist()
    assert len(taken) <= 2 * 5
    assert (taken[0], taken[-1]) == (day(1), day(1) + timedelta(minutes=280))
    assert plausibility.last_compared(mirror.warehouse, day(2)) == {SMALL: taken[-1]}
