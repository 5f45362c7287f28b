"""A Series that moves to another Collection is one Series: its zip is not fetched twice."""

from __future__ import annotations

from datetime import UTC, datetime

from tcia_assets import catalog
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.plan import plan_fetch
from tcia_assets.images.status import collection_status
from tcia_assets.metadata import moves
from tcia_assets.metadata.budget import RunBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.place import COLLECTION, Place

GOAL = "Another Collection"


def refresh_all(place: Place) -> None:
    with place.source() as source:
        for table in (catalog.COLLECTIONS, catalog.PATIENTS, catalog.STUDIES, catalog.SERIES):
            for key in (COLLECTION, GOAL) if table.partitioned_by else ("",):
                now = datetime.now(UTC)
                refresh(table, key, source, place.warehouse, now, RunBudget(0))
    moves.settle_moves(place.warehouse, datetime.now(UTC))


def events(place: Place, uid: str) -> list[tuple[str, str]]:
    rows = place.warehouse.query(
        "SELECT Collection, event FROM series_changes WHERE SeriesInstanceUID = $uid "
        "ORDER BY seen_at, event",
        {"uid": uid},
    )
    return [(row["Collection"], row["event"]) for row in rows.to_pylist()]


def test_the_zip_of_a_moved_series_moves_with_it(place: Place) -> None:
    moved, *stay = place.uids
    place.fetch(*place.uids)
    content = place.zip(moved).read_bytes()
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    asked = place.asked()
    with place.source() as source:
        got = fetch_images(GOAL, Selection(collections=(GOAL,)), source, place.warehouse)

    [row] = got.rows
    assert (row.series_instance_uid, row.status, row.verified_by) == (
        moved,
        "complete",
        "md5",
    )
    assert (place.warehouse.root / str(row.path)).read_bytes() == content
    assert place.asked() == asked
    fetched = [each for each in events(place, moved) if "fetched" in each[1]]
    assert fetched == [(COLLECTION, "fetched")]
    assert not place.zip(moved).exists()
    assert sorted(place.rows) == sorted(stay)
    found = place.warehouse.query("SELECT SeriesInstanceUID, Collection FROM current_series")
    assert [r["Collection"] for r in found.to_pylist() if r["SeriesInstanceUID"] == moved] == [GOAL]


def test_a_series_that_is_revised_after_it_moved_is_fetched_again(place: Place) -> None:
    moved, *_ = place.uids
    place.fetch(*place.uids)
    place.sandbox.archive.move([moved], to=GOAL)
    place.revise(moved)
    refresh_all(place)
    with place.source() as source:
        fetch_images(GOAL, Selection(collections=(GOAL,)), source, place.warehouse)

    fetched = [each for each in events(place, moved) if "fetched" in each[1]]
    assert fetched == [(COLLECTION, "fetched"), (GOAL, "refetched")]


def test_a_moved_series_counts_where_it_is_at_home(place: Place) -> None:
    moved, *stay = place.uids
    place.fetch(*place.uids)
    size = place.zip(moved).stat().st_size
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    everything = Selection(where="true")
    old, new = collection_status(place.warehouse, [COLLECTION, GOAL], everything)

    assert (old.series, old.selected, old.complete, old.missing) == (*[len(stay)] * 3, 0)
    # Its zip still lies where it was.
    assert (new.series, new.selected, new.complete, new.bytes_on_disk) == (1, 1, 1, size)
    with place.source() as source:
        fetch_images(GOAL, Selection(collections=(GOAL,)), source, place.warehouse)
    assert collection_status(place.warehouse, [COLLECTION, GOAL], everything) == [old, new]


def test_a_zip_where_the_series_is_not_known_to_have_been_does_not_count(place: Place) -> None:
    moved, *_ = place.uids
    place.fetch(*place.uids)
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    for table in (catalog.SERIES, catalog.SERIES_CHANGES):  # with them goes what moved from here
        place.warehouse.path(table, COLLECTION).unlink()
    refresh_all(place)
    selection = Selection(collections=(GOAL,))
    [new] = collection_status(place.warehouse, [GOAL], selection)

    assert (new.selected, new.complete) == (1, 0)
    assert len(plan_fetch(GOAL, selection, place.warehouse).now) == 1


def test_a_revised_series_is_incomplete_and_still_to_come(place: Place) -> None:
    uid, *_ = place.uids
    place.fetch(*place.uids)
    place.revise(uid)
    place.refresh()
    [now] = collection_status(place.warehouse, [COLLECTION], Selection(where="true"))
    row = place.warehouse.query(
        "SELECT FileSize FROM series WHERE SeriesInstanceUID = $uid", {"uid": uid}
    ).to_pylist()[0]

    assert (now.complete, now.incomplete) == (len(place.uids) - 1, 1)
    assert now.bytes_to_come == row["FileSize"]


def test_each_fetching_stands_once_in_the_history(place: Place) -> None:
    uid, *_ = place.uids
    place.fetch(uid)
    place.fetch(uid)
    assert events(place, uid) == [(COLLECTION, "added"), (COLLECTION, "fetched")]
    place.revise(uid)
    place.refresh()
    place.fetch(uid)
    place.fetch(uid)

    told = [event for _, event in events(place, uid)]
    assert told == ["added", "fetched", "changed", "refetched"]
