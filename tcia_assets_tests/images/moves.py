"""Move Series of a sandbox to another Collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from tcia_assets import catalog
from tcia_assets.metadata import moves
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.place import COLLECTION, Place

GOAL = "Another Collection"


def refresh_all(place: Place) -> None:
    """Refresh the Series of both Collections, and settle which have moved."""
    with place.source() as source:
        refresh_moved(source, place.warehouse, (COLLECTION, GOAL))


def refresh_moved(source: Source, warehouse: Warehouse, names: Sequence[str]) -> None:
    """Refresh the list of Collections and the Series of some; settle which have moved."""
    for table in (catalog.COLLECTIONS, catalog.SERIES):
        for key in names if table.partitioned_by else ("",):
            refresh(table, key, source, warehouse, datetime.now(UTC), ProbeBudget(0))
    moves.settle_moves(warehouse, datetime.now(UTC))


def events(place: Place, uid: str) -> list[tuple[str, str]]:
    """Return Collection and name of each change event of a Series, in order."""
    rows = place.warehouse.query(
        "SELECT Collection, event FROM series_changes WHERE SeriesInstanceUID = $uid "
        "ORDER BY seen_at, event",
        {"uid": uid},
    )
    return [(row["Collection"], row["event"]) for row in rows.to_pylist()]
