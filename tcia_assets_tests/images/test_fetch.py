"""A fetch of a Collection: what it records, and what it leaves to other runs."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import StorageError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest import read_rows
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.run_limits import Shard
from tcia_assets.images.zip_files import claim, work_folder
from tcia_assets_tests.images.children import FETCH, child, go_on
from tcia_assets_tests.images.many import (
    SERIES,
    edit_series,
    planned,
    selected,
    uids_of,
)
from tcia_assets_tests.images.place import COLLECTION, Place


def test_the_callbacks_get_the_plan_and_each_recorded_row_and_a_second_fetch_sends_no_request(
    mirror: Place,
) -> None:
    plans: list[FetchPlan] = []
    rows: list[ManifestRow] = []
    with mirror.source() as source:
        got = mirror.fetch_by(source, on_plan=plans.append, on_row=rows.append)

    assert plans == [got.plan] and len(got.plan.now) == SERIES
    assert got.fetched == {row.series_instance_uid for row in rows} == set(mirror.rows)
    assert got.recorded == got.totals.statuses == {"complete": SERIES}
    assert got.totals.bytes_on_disk == sum(row.archive_bytes or 0 for row in rows)
    assert read_rows(mirror.warehouse, COLLECTION) == sorted(
        rows, key=lambda row: row.series_instance_uid
    )
    assert got.received_bytes == sum(row.archive_bytes or 0 for row in rows)
    assert got.not_started == 0
    mirror.demand_complete()
    before = mirror.rows
    mirror.sandbox.requests.clear()
    again = mirror.fetch()

    assert (len(mirror.sandbox.requests), again.plan.complete) == (0, SERIES)
    assert not again.recorded
    assert mirror.rows == before
    assert (got.new_zips, again.new_zips) == (None, frozenset()), "the first looks at the folder"


def test_a_zip_that_verify_finds_lost_or_cut_short_is_fetched_again(fetched_three: Place) -> None:
    mirror = fetched_three
    lost, cut, *_ = mirror.uids
    mirror.zip(lost).unlink()
    mirror.zip(cut).write_bytes(mirror.zip(cut).read_bytes()[:-1])
    mirror.sandbox.requests.clear()
    mirror.fetch()
    assert mirror.asked() == [], "a fetch looks at no zip that the manifest has as complete"
    mirror.verify()
    mirror.fetch()

    assert mirror.asked() == sorted([lost, cut])
    mirror.verify()
    mirror.demand_complete()


def test_drafts_of_killed_runs_are_removed(place: Place) -> None:
    place.folder.mkdir(parents=True)
    for name in (".1.2.3.zip.draft", ".1.2.3.zip.second"):
        (place.folder / name).write_bytes(b"half of it")
    place.fetch()

    place.demand_complete()


@pytest.mark.parametrize(
    "dialect",
    [
        "nbia-v4",
        "bindaas-v4",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("nbia-v1", "nbia-v2", "bindaas-v3")
        ),
    ],
)
def test_each_dialect_proves_as_much_as_it_can(place: Place, dialect: str) -> None:
    other = Place(place.sandbox, place.data_dir / "other", dialect=dialect)
    other.refresh()
    other.fetch()

    proof = "md5" if dialect.startswith("nbia") else "count+size"
    assert {row["verified_by"] for row in other.rows.values()} == {proof}
    assert {row["status"] for row in other.rows.values()} == {"complete"}


def test_another_dialect_is_no_reason_to_fetch_again(fetched_three: Place) -> None:
    other = Place(fetched_three.sandbox, fetched_three.data_dir, dialect="nbia-v1")
    other.refresh()
    other.fetch()

    assert other.asked() == []


def test_a_series_claimed_by_another_run_is_not_started(mirror: Place) -> None:
    mine, theirs, *_ = mirror.uids
    with claim(mirror.zip(theirs)):
        got = mirror.fetch(mine, theirs)

    assert (got.not_started, list(mirror.rows)) == (1, [mine])
    assert mirror.asked() == [mine]
    mirror.fetch(mine, theirs)
    assert sorted(mirror.rows) == sorted([mine, theirs])


@pytest.mark.slow
def test_two_shards_in_two_processes_fetch_each_series_once(mirror: Place) -> None:
    url, root = mirror.settings.base_url, mirror.data_dir
    with ExitStack() as stack:
        arguments = [(url, root, COLLECTION, SERIES, index, 2, 0) for index in range(2)]
        parts = [stack.enter_context(child(FETCH, *each)) for each in arguments]
        for each in parts:
            go_on(each)
        assert [each.wait(60) for each in parts] == [0, 0]

    assert mirror.asked() == mirror.uids
    locks = root / ".locks" / "image_archives"
    assert all((locks / f"fetch-{index}-of-2").is_dir() for index in range(2))
    mirror.demand_complete()


def test_a_run_reports_that_it_waits_for_another_and_then_goes_on(mirror: Place) -> None:
    part, told = f"fetch-{Shard()}", []
    with ExitStack() as other, mirror.source() as source:
        other.enter_context(mirror.warehouse.lock(IMAGE_ARCHIVES, COLLECTION, part=part))

        def waiting() -> None:
            told.append(sorted(mirror.asked()))
            other.close()

        for _ in range(2):
            mirror.fetch_by(source, on_wait=waiting)

    assert told == [[]]
    assert mirror.asked() == mirror.uids


def test_two_runs_at_the_same_time_fetch_each_series_once(mirror: Place) -> None:
    url, root = mirror.settings.base_url, mirror.data_dir
    with ExitStack() as stack:
        other = stack.enter_context(child(FETCH, url, root, COLLECTION, SERIES // 2, 0, 1, 0))
        session = FetchSession(selected(max_series_per_run=SERIES // 2))
        source = stack.enter_context(mirror.source())
        go_on(other)
        fetch_images(COLLECTION, session, source, mirror.warehouse)
        assert other.wait(60) == 0

    # The one that waited has made its plan after the other: six more.
    assert mirror.asked() == mirror.uids
    mirror.demand_complete()


def test_the_next_run_of_a_killed_shard_fetches_the_rest_of_it(mirror: Place) -> None:
    url, root = mirror.settings.base_url, mirror.data_dir
    mine = uids_of(planned(mirror, shard=Shard(0, 2)).now)
    with child(FETCH, url, root, COLLECTION, SERIES, 0, 2, 3) as process:
        go_on(process)
        process.wait(60)
    # The other shard finds the rows that the killed one has left.
    with mirror.source() as source:
        mirror.fetch_by(source, shard=Shard(1, 2))
    assert sum(uid in mine for uid in mirror.rows) >= 3
    with mirror.source() as source:
        got = mirror.fetch_by(source, shard=Shard(0, 2))

    assert set(uids_of(got.plan.now)) < set(mine)
    mirror.demand_complete()


def test_licences_and_citations_beside_the_zips_are_kept_current(fetched_three: Place) -> None:
    mirror, names = fetched_three, ("LICENSES.md", "CITATION.cff", "CITATIONS.bib")
    there = {name: (mirror.folder / name).read_text() for name in names}
    assert "Creative Commons Attribution" in there["LICENSES.md"]
    assert "data-usage-policies" in there["LICENSES.md"]
    mirror.fetch()
    assert {name: (mirror.folder / name).read_text() for name in names} == there

    changed = {"LicenseName": "CC BY-NC 3.0", "LicenseURI": None}
    edit_series(mirror, lambda row: row | changed)
    got = mirror.fetch()
    assert "CC BY-NC 3.0" in (mirror.folder / "LICENSES.md").read_text()
    assert not got.recorded, "another licence is no reason to fetch the bytes again"


def test_a_collection_whose_folder_is_that_of_another_case_is_not_fetched(mirror: Place) -> None:
    folder = work_folder(COLLECTION, mirror.warehouse)
    other = folder.with_name(folder.name.swapcase())
    other.mkdir(parents=True)
    # As a file system that ignores case: both names lead to one folder.
    folder.symlink_to(other.name)
    with pytest.raises(StorageError, match="this file system ignores upper case"):
        mirror.fetch(mirror.uids[0])
    assert not list(other.iterdir()) and not mirror.asked()
