"""Zips of Series that have moved from one Collection to another."""

from __future__ import annotations

from tcia_assets.images import manifest
from tcia_assets.images.manifest_row import UID
from tcia_assets.images.plan import SAME_BYTES
from tcia_assets.metadata import moves
from tcia_assets.store.warehouse import Warehouse


def zips_before_move(collection: str, warehouse: Warehouse) -> dict[str, list[str]]:
    """Find complete zips of Series that moved to a Collection, in the Collections that they left.

    A Series that was submitted again since its zip was fetched is left out: with the same count and
    size, nothing in the zip would show that it is old.

    Returns:
        The Collections with a zip, by UID.
    """
    rows = warehouse.query(
        f"""
        SELECT s.SeriesInstanceUID AS uid, list(a.Collection ORDER BY a.Collection) AS collections
        FROM (SELECT * FROM series WHERE Collection = $collection) AS s
        JOIN (SELECT * FROM series WHERE moved_to = $collection) AS earlier
        ON earlier.SeriesInstanceUID = s.SeriesInstanceUID
        JOIN image_archives AS a
        ON a.SeriesInstanceUID = s.SeriesInstanceUID AND a.Collection = earlier.Collection
        WHERE a.status = 'complete' AND {SAME_BYTES}
        GROUP BY s.SeriesInstanceUID
        """,
        {"collection": collection},
    )
    return dict(zip(rows["uid"].to_pylist(), rows["collections"].to_pylist(), strict=True))


def remove_zips_left_behind(collection: str, warehouse: Warehouse) -> None:
    """Remove the zips of Series that are complete here from the Collections that they left."""
    moved = moves.previous_collections(collection, warehouse)
    if not moved:
        return
    complete = set(manifest.read_complete(warehouse, collection, [UID])[UID].to_pylist())
    by_collection: dict[str, list[str]] = {}
    for uid in moved.keys() & complete:
        for name in moved[uid]:
            by_collection.setdefault(name, []).append(uid)
    for name, uids in by_collection.items():
        manifest.remove_moved(warehouse, name, uids)
