"""A run over a plan: its parts, its budget, its progress, and when it gives the archive up."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import images
from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import ArchiveBroken
from tcia_assets.images import Progress, RunBudget, Shard
from tcia_assets.images.manifest import Row
from tcia_assets.images.places import claimed
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets_tests.images.children import FETCH, child, go_on
from tcia_assets_tests.images.many import (
    SERIES,
    edit_series,
    place_at,
    planned,
    selected,
    twelve,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place

# The function has the module's name.
_MODULE = sys.modules[images.fetch.__module__]


@pytest.fixture(scope="module")
def twelve_served() -> Iterator[Sandbox]:
    with twelve() as sandbox:
        yield sandbox


@pytest.fixture
def place(twelve_served: Sandbox, tmp_path: Path) -> Place:
    return place_at(twelve_served, tmp_path)


# --- What a run does ------------------------------------------------------------------------------


def test_a_run_tells_its_plan_and_each_row_once_it_is_kept(place: Place) -> None:
    plans: list[images.Plan] = []
    rows: list[Row] = []
    with place.source() as source:
        got = place.fetch_by(source, planned=plans.append, arrived=rows.append)

    assert plans == [got.plan] and len(got.plan.now) == SERIES
    assert tuple(rows) == got.rows
    assert got.manifest.equals(
        pa.Table.from_pylist(
            sorted(rows, key=lambda row: row["SeriesInstanceUID"]), schema=got.manifest.schema
        )
    )
    assert got.received_bytes == sum(row["archive_bytes"] for row in rows)
    assert got.left == 0
    place.demand_complete()


def test_fetching_again_asks_for_nothing(place: Place) -> None:
    place.fetch()
    rows = place.rows
    place.sandbox.requests.clear()
    got = place.fetch()

    assert (len(place.sandbox.requests), got.rows, got.plan.complete) == (0, (), SERIES)
    assert place.rows == rows


def test_a_run_after_its_minutes_begins_nothing_and_ends_well(place: Place) -> None:
    over = replace(RunBudget.of(selected()), deadline=0.0)
    with place.source() as source:
        got = images.fetch(COLLECTION, selected(), source, place.warehouse, budget=over)

    assert (got.left, got.rows, place.asked()) == (SERIES, (), [])
    assert got.manifest.num_rows == 0


def test_a_run_waits_for_a_busy_archive_no_longer_than_it_has_minutes(place: Place) -> None:
    busy, other, *_ = place.uids
    place.spoil("status", busy, status=503, retry_after="86400")
    soon = replace(RunBudget.of(selected()), deadline=time.monotonic() + 3600)
    with place.source(longest_retry_after_s=86400.0) as source:
        got = place.fetch_by(source, busy, other, budget=soon)

    assert {uid: row["status"] for uid, row in place.rows.items()} == {
        busy: "failed",
        other: "complete",
    }
    assert "and no time was left to wait" in place.rows[busy]["error"]
    place.sandbox.faults.clear()
    place.fetch(busy, other)
    assert {row["status"] for row in place.rows.values()} == {"complete"}
    assert got.left == 0


def test_what_another_run_works_on_is_left_to_it(place: Place) -> None:
    mine, theirs, *_ = place.uids
    with claimed(place.zip(theirs)):
        got = place.fetch(mine, theirs)

    assert (got.left, list(place.rows)) == (1, [mine])
    assert place.asked() == [mine]
    place.fetch(mine, theirs)
    assert sorted(place.rows) == sorted([mine, theirs])


def test_never_more_requests_at_once_than_are_allowed(place: Place) -> None:
    place.fetch()

    assert 1 < place.sandbox.requests.most_at_once <= place.settings.max_connections


# --- Parts ----------------------------------------------------------------------------------------


def test_two_shards_at_once_in_two_processes_fetch_all_and_nothing_twice(place: Place) -> None:
    url, root = place.settings.base_url, place.data_dir
    with ExitStack() as stack:
        arguments = [(url, root, COLLECTION, SERIES, index, 2, 0) for index in range(2)]
        parts = [stack.enter_context(child(FETCH, *each)) for each in arguments]
        for each in parts:
            go_on(each)
        assert [each.wait(60) for each in parts] == [0, 0]

    assert place.asked() == place.uids
    locks = root / ".locks" / "image_archives"
    assert all((locks / f"fetch-{index}-of-2").is_dir() for index in range(2))
    place.demand_complete()


def test_a_run_that_waits_for_another_says_so_and_goes_on_when_that_ends(place: Place) -> None:
    part, told = f"fetch-{Shard()}", []
    with ExitStack() as other, place.source() as source:
        other.enter_context(place.warehouse.lock(IMAGE_ARCHIVES, COLLECTION, part=part))

        def waiting() -> None:
            told.append(sorted(place.asked()))
            other.close()

        selection = selected()
        images.fetch(COLLECTION, selection, source, place.warehouse, waiting=waiting)
        images.fetch(COLLECTION, selection, source, place.warehouse, waiting=waiting)

    assert told == [[]]
    assert place.asked() == place.uids


def test_two_runs_over_the_same_at_once_fetch_nothing_twice(place: Place) -> None:
    url, root = place.settings.base_url, place.data_dir
    with ExitStack() as stack:
        same = [stack.enter_context(child(FETCH, url, root, COLLECTION, 6, 0, 1, 0)) for _ in "ab"]
        for each in same:
            go_on(each)
        assert [each.wait(60) for each in same] == [0, 0]

    # The one that waited has made its plan after the other: six more.
    assert place.asked() == place.uids
    place.demand_complete()


def test_the_parts_of_a_killed_shard_are_fetched_by_its_next_run_alone(place: Place) -> None:
    url, root = place.settings.base_url, place.data_dir
    mine = uids_of(planned(place, shard=Shard(0, 2)).now)
    with child(FETCH, url, root, COLLECTION, SERIES, 0, 2, 3) as process:
        go_on(process)
        process.wait(60)
    # The other shard finds the rows that the killed one has left.
    with place.source() as source:
        place.fetch_by(source, shard=Shard(1, 2))
    assert sum(uid in mine for uid in place.rows) >= 3
    with place.source() as source:
        got = place.fetch_by(source, shard=Shard(0, 2))

    assert set(uids_of(got.plan.now)) < set(mine)
    place.demand_complete()


# --- Progress -------------------------------------------------------------------------------------


def test_progress_counts_up_to_the_plan(place: Place) -> None:
    failing = place.uids[0]
    place.spoil("status", failing, status=502)
    seen: list[Progress] = []
    with place.source() as source:
        got = place.fetch_by(source, report=seen.append)

    done = [each.done for each in seen if each.done]
    assert sorted(set(done)) == list(range(1, SERIES + 1)) and done == sorted(done)
    last = seen[-1]
    assert (last.planned, last.failed, last.done) == (SERIES, 1, SERIES)
    assert last.bytes_done == last.bytes_planned == got.plan.bytes_now
    assert last.received_bytes == got.received_bytes > 0
    assert all(1 <= each.connections <= place.settings.max_connections for each in seen)


def test_bytes_are_counted_while_one_body_arrives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_MODULE, "_REPORT_EVERY_S", 0.02)
    uid = place.uids[0]
    place.sandbox.archive.revise([uid], image_count=12)
    place.refresh()
    place.sandbox.faults.add(Fault("drip", "getImage", series=uid, seconds=0.0))
    seen: list[Progress] = []
    with place.source() as source:
        place.fetch_by(source, uid, report=seen.append)

    before = [each.received_bytes for each in seen if not each.done]
    assert len({each for each in before if each > 0}) >= 2, "it grows before the Series is done"
    assert before == sorted(before)


def test_bytes_of_an_attempt_that_failed_are_not_counted(place: Place) -> None:
    uid = place.uids[0]
    place.sandbox.faults.add(Fault("reset", "getImage", series=uid, after_bytes=5000))
    got = place.fetch(uid)

    assert got.received_bytes == place.rows[uid]["archive_bytes"]


# --- An archive that is down ----------------------------------------------------------------------


@pytest.fixture
def two_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run by one connection ends with the third failure in a row."""
    monkeypatch.setattr(_MODULE, "_LEAST_FAILURES_IN_A_ROW", 2)
    monkeypatch.setattr(_MODULE, "_CORES", 0)


def patient(place: Place) -> images.Fetched:
    """A fetch by one connection, so that the order is the plan's."""
    settings = place.settings.replace(max_connections=1)
    with open_source(settings, pacing=place.pacing) as source:
        return place.fetch_by(source)


@pytest.mark.usefixtures("two_in_a_row")
def test_a_run_ends_where_the_archive_fails_many_series_in_a_row(place: Place) -> None:
    good = uids_of(planned(place).now)[:2]
    place.spoil("status", *(uid for uid in place.uids if uid not in good), status=502)
    with pytest.raises(ArchiveBroken) as ended:
        patient(place)

    assert "failed 3 Series in a row, so this run ends with 2 fetched" in str(ended.value)
    # What failed is kept, too, and at most the one that was under way beyond it.
    statuses = Counter(row["status"] for row in place.rows.values())
    assert statuses["complete"] == 2 and 3 <= statuses["failed"] <= 4
    assert len(set(place.asked())) <= 6
    place.sandbox.faults.clear()
    place.fetch()
    place.demand_complete()


@pytest.mark.usefixtures("two_in_a_row")
def test_a_run_whose_archive_is_down_ends_at_the_next_collections_first_failure(
    place: Place,
) -> None:
    place.spoil("status", *place.uids, status=502)
    budget = replace(RunBudget.of(selected()), failed_in_a_row=3)
    settings = place.settings.replace(max_connections=1)
    with open_source(settings, pacing=place.pacing) as source, pytest.raises(ArchiveBroken):
        images.fetch(COLLECTION, selected(), source, place.warehouse, budget=budget)

    assert budget.failed_in_a_row == 4
    assert len(set(place.asked())) <= 2


@pytest.mark.usefixtures("two_in_a_row")
def test_a_series_that_comes_in_between_shows_that_the_archive_is_up(place: Place) -> None:
    order = uids_of(planned(place).now)
    place.spoil("status", *(uid for n, uid in enumerate(order) if n % 3), status=502)
    got = patient(place)

    assert len(got.rows) == SERIES
    assert Counter(row["status"] for row in got.rows) == {"complete": 4, "failed": 8}


@pytest.mark.usefixtures("two_in_a_row")
def test_series_that_are_not_public_do_not_mean_that_the_archive_is_down(place: Place) -> None:
    place.sandbox.archive.hide(place.uids)
    got = patient(place)

    assert {row["status"] for row in got.rows} == {"unavailable"}


# --- What lies beside the zips --------------------------------------------------------------------


def test_a_refused_zip_lies_in_quarantine_with_its_reason_until_the_series_is_whole(
    place: Place,
) -> None:
    uid = place.uids[0]
    place.without_single_images()
    place.spoil("zip_short", uid)
    place.fetch(uid)
    [refused] = (place.data_dir / "quarantine").rglob("*.zip")
    said = json.loads(refused.with_suffix(".json").read_text())

    assert zipfile.is_zipfile(refused)
    assert said["SeriesInstanceUID"] == uid
    assert said["endpoint"] in {"getImage", "getImageWithMD5Hash"}
    assert said["source"] == place.settings.source
    assert "1 images, but the source lists 2" in said["reason"]
    assert "1 images, but the source lists 2" in place.rows[uid]["error"]
    place.sandbox.faults.clear()
    place.fetch(uid)
    assert place.quarantined(uid) == (False, False)


def test_licences_and_citations_lie_beside_the_zips_and_follow_the_archive(place: Place) -> None:
    names = ("LICENSES.md", "CITATION.cff", "CITATIONS.bib")
    place.fetch()
    there = {name: (place.folder / name).read_text() for name in names}
    assert "Creative Commons Attribution" in there["LICENSES.md"]
    assert "data-usage-policies" in there["LICENSES.md"]
    place.fetch()
    assert {name: (place.folder / name).read_text() for name in names} == there

    changed = {"LicenseName": "CC BY-NC 3.0", "LicenseURI": None}
    edit_series(place, lambda row: row | changed)
    got = place.fetch()
    assert "CC BY-NC 3.0" in (place.folder / "LICENSES.md").read_text()
    assert got.rows == (), "another licence is no reason to fetch the bytes again"
