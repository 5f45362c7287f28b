"""The state of the mirror by Collection."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.plan import plan_collection
from tcia_assets.images.status import collection_status
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.moves import GOAL, refresh_all
from tcia_assets_tests.images.place import COLLECTION, Place


def states(place: Place, *collections: str, selection: Selection) -> list[SimpleNamespace]:
    rows = collection_status(place.warehouse, collections, selection).to_pylist()
    return [SimpleNamespace(**row) for row in rows]


def test_a_moved_series_counts_in_its_new_collection(place: Place) -> None:
    moved, *stay = place.uids
    place.fetch(*place.uids)
    size = place.zip(moved).stat().st_size
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    everything = Selection(where="true")
    old, new = states(place, COLLECTION, GOAL, selection=everything)

    assert (old.unindexed, new.unindexed) == (len(stay) + 1, 0)
    assert (old.series, old.selected, old.complete, old.missing) == (*[len(stay)] * 3, 0)
    # The zip is still in the folder of the Collection that it left.
    assert (new.series, new.selected, new.complete, new.bytes_on_disk) == (1, 1, 1, size)
    with place.source() as source:
        fetch_images(GOAL, FetchSession(Selection(collections=(GOAL,))), source, place.warehouse)
    # The zip's headers are now to be read for the Collection that has it.
    old.unindexed, new.unindexed = len(stay), 1
    assert states(place, COLLECTION, GOAL, selection=everything) == [old, new]


def test_a_zip_in_a_collection_that_never_listed_the_series_does_not_count(
    fetched_three: Place,
) -> None:
    moved, *_ = fetched_three.uids
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched_three)
    for table in (catalog.SERIES, catalog.SERIES_CHANGES):  # they record the move
        fetched_three.warehouse.path(table, COLLECTION).unlink()
    refresh_all(fetched_three)
    selection = Selection(collections=(GOAL,))
    [new] = states(fetched_three, GOAL, selection=selection)

    assert (new.selected, new.complete) == (1, 0)
    assert len(plan_collection(GOAL, selection, fetched_three.warehouse).now) == 1


def test_a_revised_series_is_incomplete_and_to_come(fetched_three: Place) -> None:
    uid, *_ = fetched_three.uids
    fetched_three.revise(uid)
    fetched_three.refresh()
    [now] = states(fetched_three, COLLECTION, selection=Selection(where="true"))
    row = fetched_three.warehouse.query(
        "SELECT FileSize FROM series WHERE SeriesInstanceUID = $uid", {"uid": uid}
    ).to_pylist()[0]

    assert (now.complete, now.incomplete) == (len(fetched_three.uids) - 1, 1)
    assert now.bytes_to_fetch == row["FileSize"]


def test_sizes_are_those_of_the_listing_and_else_of_their_own_table(place: Place) -> None:
    unsized, unknown, *sized = place.uids
    size = pc.field("SeriesInstanceUID").isin([unsized, unknown])
    with place.warehouse.update(catalog.SERIES, COLLECTION) as series:
        lost = series.rows.filter(size)
        null = pa.nulls(len(lost), pa.int64())
        at = lost.column_names.index("FileSize")
        lost = lost.set_column(at, series.rows.schema.field("FileSize"), null)
        series.rows = pa.concat_tables([series.rows.filter(~size), lost])
    [row] = [row for row in lost.to_pylist() if row["SeriesInstanceUID"] == unsized]
    with place.warehouse.update(catalog.SERIES_SIZES, COLLECTION) as sizes:
        known = {name: row.get(name) for name in sizes.rows.column_names}
        known |= {"TotalSizeInBytes": 1000, "ObjectCount": 3}
        sizes.rows = pa.Table.from_pylist([known], schema=sizes.rows.schema)
    [now] = states(place, COLLECTION, selection=Selection(where="true"))
    listed = place.warehouse.query("SELECT sum(FileSize)::BIGINT AS bytes FROM series").to_pylist()

    assert now.selected == 2 + len(sized)
    assert (now.sizes_unknown, now.bytes_to_fetch) == (1, 1000 + listed[0]["bytes"])
