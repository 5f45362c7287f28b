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
    is_all_indexed,
)
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets_tests.images.headers.zip_warehouse import forget_columns
from tcia_assets_tests.images.moves import GOAL, refresh_moved
from tcia_assets_tests.images.place import COLLECTION, Place

# Of the folders that the fixtures copy.
SERIES, OBJECTS = 3, 4


def lacking(place: Place) -> set[str]:
    return set(place.warehouse.query(UNINDEXED_ZIPS)["problem"].to_pylist())


def index(place: Place) -> None:
    index_images(COLLECTION, place.warehouse)
    index_references(COLLECTION, place.warehouse)


def test_zips_are_unindexed_until_their_headers_are_read(place: Place) -> None:
    assert count_unindexed(place.warehouse) == {}
    place.fetch()
    assert count_unindexed(place.warehouse) == {COLLECTION: SERIES}
    assert lacking(place) == {"not in images"}
    index(place)
    assert count_unindexed(place.warehouse) == {}


def test_that_all_zips_are_indexed_is_known_until_a_table_is_written(place: Place) -> None:
    place.fetch(*place.uids[1:])
    index(place)
    assert not is_all_indexed(place.warehouse), "nobody has looked"
    assert count_unindexed(place.warehouse) == {}
    assert is_all_indexed(place.warehouse)
    place.fetch()
    assert not is_all_indexed(place.warehouse)
    assert count_unindexed(place.warehouse) == {COLLECTION: 1}
    assert not is_all_indexed(place.warehouse)


def test_a_kill_between_two_tables_leaves_what_the_second_lacks(fetched_three: Place) -> None:
    assert fetched_three.warehouse.read(REFERENCES, [COLLECTION]).num_rows
    fetched_three.warehouse.path(REFERENCES, COLLECTION).unlink()
    assert lacking(fetched_three) == {"not in references"}
    index(fetched_three)
    assert lacking(fetched_three) == set()


def test_a_zip_without_its_event_gets_it(fetched_three: Place) -> None:
    history = fetched_three.warehouse.read(SERIES_CHANGES, [COLLECTION])
    fetched_three.warehouse.path(SERIES_CHANGES, COLLECTION).unlink()
    assert lacking(fetched_three) == {"not in series_changes"}
    finish_interrupted(COLLECTION, fetched_three.warehouse)
    fetches = [row for row in history.to_pylist() if row["event"] == "fetched"]

    assert fetched_three.warehouse.read(SERIES_CHANGES, [COLLECTION]).to_pylist() == fetches
    assert lacking(fetched_three) == set()


def test_a_zip_that_is_fetched_again_is_unindexed_again(fetched_three: Place) -> None:
    [changed, *_] = fetched_three.uids
    fetched_three.revise(changed)
    fetched_three.refresh()
    fetched_three.fetch()

    assert count_unindexed(fetched_three.warehouse) == {COLLECTION: 1}
    index(fetched_three)
    assert count_unindexed(fetched_three.warehouse) == {}


def test_a_zip_that_cannot_be_read_is_not_read_for_ever(fetched_three: Place) -> None:
    fetched_three.fetch()
    fetched_three.warehouse.path(IMAGES, COLLECTION).unlink()
    fetched_three.zip(fetched_three.uids[0]).write_bytes(b"no zip")
    index(fetched_three)
    assert fetched_three.warehouse.read(IMAGES, [COLLECTION])["error"].null_count < SERIES * OBJECTS
    assert count_unindexed(fetched_three.warehouse) == {}


def test_rows_in_the_journal_of_a_killed_run_count_and_are_merged(fetched_three: Place) -> None:
    living = Journal(fetched_three.folder)
    assert count_unindexed(fetched_three.warehouse) == {}
    living.close()
    assert count_unindexed(fetched_three.warehouse) == {COLLECTION: 1}
    finish_interrupted(COLLECTION, fetched_three.warehouse)
    assert count_unindexed(fetched_three.warehouse) == {}


def test_the_reason_for_a_run_changes_with_what_is_missing(place: Place) -> None:
    place.fetch()
    first, again = find_unindexed(place.warehouse), find_unindexed(place.warehouse)
    index_images(COLLECTION, place.warehouse)
    [after] = find_unindexed(place.warehouse)

    assert first == again and first[0].collection == after.collection == COLLECTION
    assert first[0].digest != after.digest


def test_zips_are_outdated_until_they_are_read_for_all_columns(fetched_three: Place) -> None:
    assert count_outdated(fetched_three.warehouse) == {}
    whole = forget_columns(fetched_three.warehouse, "KVP", collection=COLLECTION)
    assert count_outdated(fetched_three.warehouse) == {COLLECTION: SERIES}
    [before] = find_outdated(fetched_three.warehouse)
    index_images(COLLECTION, fetched_three.warehouse, reread=RereadBudget(-1))
    assert find_outdated(fetched_three.warehouse) == [before]
    index(fetched_three)
    assert count_outdated(fetched_three.warehouse) == {}
    assert fetched_three.warehouse.read(IMAGES, [COLLECTION]).equals(whole)


def test_rows_that_a_moved_zip_left_behind_count_until_they_are_removed(
    fetched_three: Place,
) -> None:
    fetched_three.sandbox.archive.move(fetched_three.uids, to=GOAL)
    with fetched_three.source() as source:
        refresh_moved(source, fetched_three.warehouse, [GOAL])
        assert count_unindexed(fetched_three.warehouse) == {}  # the zips are still where they were
        session = FetchSession(Selection(collections=(GOAL,)))
        fetch_images(GOAL, session, source, fetched_three.warehouse)
    index_images(GOAL, fetched_three.warehouse)
    index_references(GOAL, fetched_three.warehouse)

    assert count_unindexed(fetched_three.warehouse) == {GOAL: SERIES}
    assert lacking(fetched_three) == {f"still described in {COLLECTION}"}
    assert [remove_rows_without_zip(COLLECTION, fetched_three.warehouse) for _ in range(2)] == [
        1,
        0,
    ]
    assert count_unindexed(fetched_three.warehouse) == {}
    assert fetched_three.warehouse.keys(IMAGES) == sorted([GOAL, COLLECTION])
    assert fetched_three.warehouse.row_count(IMAGES, COLLECTION) == 0


def test_the_check_of_unindexed_zips_and_status_share_what_is_clean(fetched_three: Place) -> None:
    check = next(each for each in IMAGES.checks if each.name == "zips_indexed")
    name = f"{IMAGES.name}.{check.name}"
    assert CleanQueries(fetched_three.warehouse).find(name, check.ordered_sql) is None
    clean = fetched_three.warehouse.root / "warehouse" / ".clean" / name
    found_at = clean.stat().st_mtime_ns
    assert count_unindexed(fetched_three.warehouse) == {}
    assert clean.stat().st_mtime_ns == found_at
