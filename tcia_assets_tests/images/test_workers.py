"""The threads of a fetch: progress, deadlines, and a source that is down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tcia_assets.errors import ArchiveBroken
from tcia_assets.images import series_task, workers
from tcia_assets.images.fetch import FetchListener, FetchResult, fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.workers import FetchProgress, FetchWorkers
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sources import open_source
from tcia_assets_tests.images.many import (
    SERIES,
    planned,
    selected,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place


@pytest.fixture
def two_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run by one connection ends with the third failure in a row."""
    monkeypatch.setattr(workers, "_MIN_FAILURES", 2)
    monkeypatch.setattr(series_task, "CORES", 0)


def patient(place: Place) -> FetchResult:
    """A fetch by one connection, so that the order is the plan's."""
    settings = place.settings.replace(max_connections=1)
    with open_source(settings, pacing=place.pacing) as source:
        return place.fetch_by(source)


def test_after_the_deadline_no_series_is_started(mirror: Place) -> None:
    session = FetchSession(selected())
    session.budget.deadline = 0.0
    with mirror.source() as source:
        got = fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert (got.not_started, mirror.asked()) == (SERIES, [])
    assert got.totals.rows == got.recorded.total() == 0


class _QuietSoon(FetchListener):
    """Lets quiet hours begin soon after the first Series are started."""

    def __init__(self, session: FetchSession) -> None:
        self._session = session

    def on_plan(self, plan: FetchPlan) -> None:
        assert len(plan.now) == SERIES
        begin = datetime.now(UTC) + timedelta(seconds=1.5)
        end = begin + timedelta(hours=2)
        quiet = QuietHours(begin.time(), end.time())
        self._session.budget.quiet_hours = quiet
        self._session.selection = replace(self._session.selection, quiet_hours=quiet)


def test_a_run_under_way_ends_at_the_next_series_when_quiet_hours_begin(mirror: Place) -> None:
    session = FetchSession(selected())
    mirror.spoil("hang", *mirror.uids, seconds=0.7)
    settings = mirror.settings.replace(max_connections=1)
    with open_source(settings, pacing=mirror.pacing) as source:
        got = fetch_images(COLLECTION, session, source, mirror.warehouse, _QuietSoon(session))

    assert 0 < len(got.fetched) < SERIES
    # What was begun is complete, and the rest is not a failure.
    assert got.recorded == {"complete": len(got.fetched)}
    assert session.not_started == got.not_started == SERIES - len(got.fetched)
    assert f"{session.not_started} Series are left to later runs" in session.quiet_note
    left = planned(mirror)
    assert len(left.now) == session.not_started


def test_in_quiet_hours_nothing_is_planned_for_now(mirror: Place) -> None:
    now = datetime.now(UTC)
    quiet = QuietHours((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    session = FetchSession(selected(quiet_hours=quiet))
    [note] = session.plan_all(mirror.warehouse)
    [plan] = session.plans

    assert (len(plan.now), len(plan.later)) == (0, SERIES)
    assert f"no images are fetched until {now + timedelta(hours=1):%Y-%m-%d %H:%M} UTC" in note
    assert f"{SERIES} Series are left to later runs" in note


def test_no_wait_for_a_busy_source_goes_beyond_the_deadline(mirror: Place) -> None:
    busy, other, *_ = mirror.uids
    mirror.spoil("status", busy, status=503, retry_after="86400")
    session = FetchSession(selected(series=(busy, other)))
    session.budget.deadline = time.monotonic() + 3600
    with mirror.source(longest_retry_after_s=86400.0) as source:
        got = fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert {uid: row["status"] for uid, row in mirror.rows.items()} == {
        busy: "failed",
        other: "complete",
    }
    assert "and no time was left to wait" in mirror.rows[busy]["error"]
    mirror.sandbox.faults.clear()
    mirror.fetch(busy, other)
    assert {row["status"] for row in mirror.rows.values()} == {"complete"}
    assert got.not_started == 0


def test_no_more_requests_at_the_same_time_than_allowed(mirror: Place) -> None:
    # The server may still work on requests that an earlier test has given up.
    deadline = time.monotonic() + 30
    while mirror.sandbox.requests.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    mirror.sandbox.requests.clear()
    mirror.fetch()

    assert 1 < mirror.sandbox.requests.most_at_once <= mirror.settings.max_connections


@pytest.fixture
def one_by_one(
    mirror: Place, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FetchWorkers, Generator[ManifestRow]]]:
    """One thread that fetches no further Series before the last zip is read, and its rows."""
    monkeypatch.setattr(series_task, "CORES", 0)
    settings, plan = mirror.settings.replace(max_connections=1), planned(mirror)
    with open_source(settings, pacing=mirror.pacing) as source:
        budget = FetchSession(selected()).budget
        fetched = FetchWorkers(plan, [source], mirror.warehouse, {}, {}, budget, 1)
        yield fetched, fetched.run(lambda _: None)


def test_no_series_is_started_while_zips_wait_for_their_reader(
    mirror: Place, one_by_one: tuple[FetchWorkers, Generator[ManifestRow]]
) -> None:
    fetched, rows = one_by_one
    for number, _ in enumerate(rows, start=1):
        assert fetched.must_be_read
        if number == 1:
            time.sleep(0.2)
        assert len(mirror.asked()) == number
        fetched.mark_read()
        assert not fetched.must_be_read
    assert mirror.asked() == mirror.uids


def test_a_fetch_that_ends_while_zips_wait_for_their_reader_starts_no_further_series(
    mirror: Place, one_by_one: tuple[FetchWorkers, Generator[ManifestRow]]
) -> None:
    _, rows = one_by_one
    next(rows)
    rows.close()
    assert len(mirror.asked()) == 1


def test_progress_counts_up_to_the_plan(mirror: Place) -> None:
    failing = mirror.uids[0]
    mirror.spoil("status", failing, status=502)
    seen: list[FetchProgress] = []
    with mirror.source() as source:
        got = mirror.fetch_by(source, on_progress=seen.append)

    done = [each.done for each in seen if each.done]
    assert sorted(set(done)) == list(range(1, SERIES + 1)) and done == sorted(done)
    last = seen[-1]
    assert (last.planned, last.failed, last.done) == (SERIES, 1, SERIES)
    assert last.bytes_done == last.bytes_planned == got.plan.bytes_now
    assert last.received_bytes == got.received_bytes > 0
    assert all(1 <= each.connections <= mirror.settings.max_connections for each in seen)


def test_bytes_are_counted_while_one_body_arrives(
    mirror: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_REPORT_EVERY_S", 0.02)
    uid = mirror.uids[0]
    mirror.sandbox.archive.revise([uid], image_count=12)
    mirror.refresh()
    mirror.sandbox.faults.add(Fault("drip", "getImage", series=uid, seconds=0.0))
    seen: list[FetchProgress] = []
    with mirror.source() as source:
        mirror.fetch_by(source, uid, on_progress=seen.append)

    before = [each.received_bytes for each in seen if not each.done]
    assert len({each for each in before if each > 0}) >= 2, "it grows before the Series is done"
    assert before == sorted(before)


def test_bytes_of_an_attempt_that_failed_are_not_counted(mirror: Place) -> None:
    uid = mirror.uids[0]
    mirror.sandbox.faults.add(Fault("reset", "getImage", series=uid, after_bytes=5000))
    got = mirror.fetch(uid)

    assert got.received_bytes == mirror.rows[uid]["archive_bytes"]


@pytest.mark.usefixtures("two_in_a_row")
def test_a_run_ends_after_many_consecutive_failures_of_the_source(mirror: Place) -> None:
    good = uids_of(planned(mirror).now)[:2]
    mirror.spoil("status", *(uid for uid in mirror.uids if uid not in good), status=502)
    with pytest.raises(ArchiveBroken) as ended:
        patient(mirror)

    assert "failed for 3 Series in a row, so this run ends with 2 fetched" in str(ended.value)
    # What failed is kept, too, and at most the one that was under way beyond it.
    statuses = Counter(row["status"] for row in mirror.rows.values())
    assert statuses["complete"] == 2 and 3 <= statuses["failed"] <= 4
    assert len(set(mirror.asked())) <= 6
    mirror.sandbox.faults.clear()
    mirror.fetch()
    mirror.demand_complete()


@pytest.mark.usefixtures("two_in_a_row")
def test_failures_count_over_all_collections_of_a_run(
    mirror: Place,
) -> None:
    mirror.spoil("status", *mirror.uids, status=502)
    session = FetchSession(selected())
    session.budget.consecutive_failures = 3
    settings = mirror.settings.replace(max_connections=1)
    with open_source(settings, pacing=mirror.pacing) as source, pytest.raises(ArchiveBroken):
        fetch_images(COLLECTION, session, source, mirror.warehouse)

    assert session.budget.consecutive_failures == 4
    assert len(set(mirror.asked())) <= 2


@pytest.mark.usefixtures("two_in_a_row")
def test_a_success_in_between_resets_the_count_of_failures(mirror: Place) -> None:
    order = uids_of(planned(mirror).now)
    mirror.spoil("status", *(uid for n, uid in enumerate(order) if n % 3), status=502)
    got = patient(mirror)

    assert got.recorded == {"complete": 4, "failed": 8}


@pytest.mark.usefixtures("two_in_a_row")
def test_series_that_are_not_public_are_no_failures_of_the_source(mirror: Place) -> None:
    mirror.sandbox.archive.hide(mirror.uids)
    got = patient(mirror)

    assert got.recorded == {"unavailable": SERIES}
