"""Move Series of a sandbox to another Collection."""

from __future__ import annotations

from datetime import UTC, datetime

from tcia_assets import catalog
from tcia_assets.metadata import moves
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets_tests.images.place import COLLECTION, Place

GOAL = "Another Collection"


def refresh_all(place: Place) -> None:
    """Refresh the metadata of both Collections, and settle which Series have moved."""
    with place.source() as source:
        for table in (catalog.COLLECTIONS, catalog.PATIENTS, catalog.STUDIES, catalog.SERIES):
            for key in (COLLECTION, GOAL) if table.partitioned_by else ("",):
                now = datetime.now(UTC)
                refresh(table, key, source, place.warehouse, now, ProbeBudget(0))
    moves.settle_moves(place.warehouse, datetime.now(UTC))


def events(place: Place, uid: str) -> list[tuple[str, str]]:
    """Return Collection and name of each change event of a Series, in order."""
    rows = place.warehouse.query(
        "SELECT Collection, event FROM series_changes WHERE SeriesInstanceUID = $uid "
        "ORDER BY seen_at, event",
        {"uid": uid},
    )
    return [(row["Collection"], row["event"]) for row in rows.to_pylist()]
