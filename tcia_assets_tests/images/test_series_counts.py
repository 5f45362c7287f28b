"""Counts of the Series of each Collection."""

from __future__ import annotations

from dataclasses import replace

from tcia_assets.images.series_counts import count_series
from tcia_assets.images.status import collection_status
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.images.place import COLLECTION, Place


def test_what_was_counted_is_counted_again_only_after_a_write(place: Place) -> None:
    uid, other = place.uids[:2]
    chosen = Selection(series=(uid,))
    counted = count_series(place.warehouse, chosen)
    known = replace(counted, rows=[{**row, "series": 77} for row in counted.rows])

    def count(selection: Selection | None) -> int:
        rows = collection_status(place.warehouse, [COLLECTION], selection, counts=known)
        return int(rows["series"][0].as_py())

    assert count(chosen) == 77
    for different in (None, Selection(series=(other,))):
        assert count(different) == len(place.uids)
    place.fetch(uid)
    assert count(chosen) == len(place.uids)
