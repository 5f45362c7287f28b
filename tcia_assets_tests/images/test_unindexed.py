"""Zips that an interrupted run has left: found, named with what lacks them, and completed."""

from __future__ import annotations

from tcia_assets.catalog import IMAGES, REFERENCES, SERIES_CHANGES, UNINDEXED_ZIPS
from tcia_assets.images.fetch import fetch_images, finish_interrupted
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.images.headers.references import index_references
from tcia_assets.images.journal import Journal
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.images.unindexed import (
    count_outdated,
    count_unindexed,
    find_outdated,
    find_unindexed,
)
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets_tests.images.headers.zip_warehouse import forget_columns
from tcia_assets_tests.images.many import SERIES
from tcia_assets_tests.images.moves import GOAL, refresh_moved
from tcia_assets_tests.images.place import COLLECTION, Place


def lacking(place: Place) -> set[str]:
    return set(place.warehouse.query(UNINDEXED_ZIPS)["problem"].to_pylist())


def index(place: Place) -> None:
    index_images(COLLECTION, place.warehouse)
    index_references(COLLECTION, place.warehouse)


def test_zips_are_unindexed_until_their_headers_are_read(mirror: Place) -> None:
    assert count_unindexed(mirror.warehouse) == {}
    mirror.fetch()
    assert count_unindexed(mirror.warehouse) == {COLLECTION: SERIES}
    assert lacking(mirror) == {"not in images"}
    index(mirror)
    assert count_unindexed(mirror.warehouse) == {}


def test_a_kill_between_two_tables_leaves_what_the_second_lacks(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    assert mirror.warehouse.read(REFERENCES, [COLLECTION]).num_rows
    mirror.warehouse.path(REFERENCES, COLLECTION).unlink()
    assert lacking(mirror) == {"not in references"}
    index(mirror)
    assert lacking(mirror) == set()


def test_a_zip_without_its_event_gets_it(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    history = mirror.warehouse.read(SERIES_CHANGES, [COLLECTION])
    mirror.warehouse.path(SERIES_CHANGES, COLLECTION).unlink()
    assert lacking(mirror) == {"not in series_changes"}
    finish_interrupted(COLLECTION, mirror.warehouse)
    fetches = [row for row in history.to_pylist() if row["event"] == "fetched"]

    assert mirror.warehouse.read(SERIES_CHANGES, [COLLECTION]).to_pylist() == fetches
    assert lacking(mirror) == set()


def test_a_zip_that_is_fetched_again_is_unindexed_again(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    [changed, *_] = mirror.uids
    mirror.revise(changed)
    mirror.refresh()
    mirror.fetch()

    assert count_unindexed(mirror.warehouse) == {COLLECTION: 1}
    index(mirror)
    assert count_unindexed(mirror.warehouse) == {}


def test_a_zip_that_cannot_be_read_is_not_read_for_ever(mirror: Place) -> None:
    mirror.fetch()
    mirror.zip(mirror.uids[0]).write_bytes(b"no zip")
    index(mirror)
    assert mirror.warehouse.read(IMAGES, [COLLECTION])["error"].null_count < SERIES * 2
    assert count_unindexed(mirror.warehouse) == {}


def test_rows_in_the_journal_of_a_killed_run_count_and_are_merged(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    living = Journal(mirror.folder)
    assert count_unindexed(mirror.warehouse) == {}
    living.close()
    assert count_unindexed(mirror.warehouse) == {COLLECTION: 1}
    finish_interrupted(COLLECTION, mirror.warehouse)
    assert count_unindexed(mirror.warehouse) == {}


def test_the_reason_for_a_run_changes_with_what_is_missing(mirror: Place) -> None:
    mirror.fetch()
    first, again = find_unindexed(mirror.warehouse), find_unindexed(mirror.warehouse)
    index_images(COLLECTION, mirror.warehouse)
    [after] = find_unindexed(mirror.warehouse)

    assert first == again and first[0].collection == after.collection == COLLECTION
    assert first[0].digest != after.digest


def test_zips_are_outdated_until_they_are_read_for_all_columns(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    assert count_outdated(mirror.warehouse) == {}
    whole = forget_columns(mirror.warehouse, "KVP", collection=COLLECTION)
    assert count_outdated(mirror.warehouse) == {COLLECTION: SERIES}
    [before] = find_outdated(mirror.warehouse)
    index_images(COLLECTION, mirror.warehouse, reread=RereadBudget(-1))
    assert find_outdated(mirror.warehouse) == [before]
    index(mirror)
    assert count_outdated(mirror.warehouse) == {}
    assert mirror.warehouse.read(IMAGES, [COLLECTION]).equals(whole)


def test_rows_that_a_moved_zip_left_behind_count_until_they_are_removed(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    mirror.sandbox.archive.move(mirror.uids, to=GOAL)
    with mirror.source() as source:
        refresh_moved(source, mirror.warehouse, [GOAL])
        assert count_unindexed(mirror.warehouse) == {}  # the zips are still where they were
        session = FetchSession(Selection(collections=(GOAL,)))
        fetch_images(GOAL, session, source, mirror.warehouse)
    index_images(GOAL, mirror.warehouse)
    index_references(GOAL, mirror.warehouse)

    assert count_unindexed(mirror.warehouse) == {GOAL: SERIES}
    assert lacking(mirror) == {f"still described in {COLLECTION}"}
    assert [remove_rows_without_zip(COLLECTION, mirror.warehouse) for _ in range(2)] == [1, 0]
    assert count_unindexed(mirror.warehouse) == {}
    assert mirror.warehouse.keys(IMAGES) == sorted([GOAL, COLLECTION])
    assert mirror.warehouse.row_count(IMAGES, COLLECTION) == 0


def test_the_check_of_unindexed_zips_and_status_share_what_is_clean(mirror: Place) -> None:
    mirror.fetch()
    index(mirror)
    check = next(each for each in IMAGES.checks if each.name == "zips_indexed")
    name = f"{IMAGES.name}.{check.name}"
    assert CleanQueries(mirror.warehouse).find(name, check.ordered_sql) is None
    clean = mirror.warehouse.root / "warehouse" / ".clean" / name
    found_at = clean.stat().st_mtime_ns
    assert count_unindexed(mirror.warehouse) == {}
    assert clean.stat().st_mtime_ns == found_at
