"""Which Collection a Series belongs to, if several have listed it.

A Series belongs to the Collection that began to list it last; its rows in the others name that one
in `moved_to`. If no Collection lists it now, nothing changes. So the result does not depend on the
order in which Collections are refreshed, nor on their runs.

A Series that was imported from a folder, and is listed there, belongs to the imported Collection,
whoever lists it later. Zips of imported Collections are not moved: they are neither removed because
an archive has the Series, nor taken for the archive's, nor the other way round.
"""

from __future__ import annotations

from datetime import datetime

from tcia_assets.catalog import SERIES
from tcia_assets.metadata import history, listing
from tcia_assets.metadata.events import diff_events
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse

_UNSETTLED = """
    -- By a hash: the UIDs of all Series would take ten times the memory. A false find is left out
    -- below.
    WITH found AS (
        SELECT hash(SeriesInstanceUID) AS hash FROM series GROUP BY ALL
        HAVING count(*) > 1 OR bool_or(moved_to IS NOT NULL)
    ),
    known AS (
        SELECT SeriesInstanceUID, Collection, missing_since, moved_to,
            coalesce(listed_since, first_seen_at) AS since,
            Collection IN (SELECT Collection FROM imports) AS is_imported
        FROM series WHERE hash(SeriesInstanceUID) IN (SELECT hash FROM found)
    ),
    homes AS (
        SELECT SeriesInstanceUID,
            arg_max(
                Collection, {'is_imported': is_imported, 'since': since, 'name': Collection}
            )
                FILTER (WHERE missing_since IS NULL) AS home
        FROM known
        GROUP BY SeriesInstanceUID
        HAVING count(*) > 1 OR bool_or(moved_to IS NOT NULL)
    )
    SELECT Collection, SeriesInstanceUID, nullif(home, Collection) AS home
    FROM known JOIN homes USING (SeriesInstanceUID)
    WHERE home IS NOT NULL AND moved_to IS DISTINCT FROM nullif(home, Collection)
    ORDER BY ALL
"""

# SQL for the rows of `series` whose zip moves with the Series to another Collection.
ZIPS_MOVE = """moved_to IS NOT NULL
    AND Collection NOT IN (SELECT Collection FROM imports)
    AND moved_to NOT IN (SELECT Collection FROM imports)
"""


def settle_moves(warehouse: Warehouse, at: datetime) -> dict[str, int]:
    """Assign each Series to one Collection; call it after Collections were refreshed.

    A run that is killed meanwhile leaves work that the next call finds.

    Returns:
        By Collection, how many of its rows changed.
    """
    found: dict[str, dict[str, str | None]] = {}
    unsettled = CleanQueries(warehouse).find("unsettled_moves", _UNSETTLED)
    for row in unsettled.to_pylist() if unsettled else ():
        found.setdefault(row["Collection"], {})[row["SeriesInstanceUID"]] = row["home"]
    return {name: _mark_moved(name, homes, warehouse, at) for name, homes in found.items()}


def _mark_moved(
    collection: str, homes: dict[str, str | None], warehouse: Warehouse, at: datetime
) -> int:
    with warehouse.update(SERIES, collection) as partition:
        before = partition.rows
        after = listing.mark_moved(before, homes)
        after, events = diff_events(before, after, at=at, listing_id=None)
        history.write_events(collection, before, events, warehouse)
        partition.rows = after
    return int(events.num_rows)


def moved_series(collection: str, warehouse: Warehouse) -> dict[str, list[str]]:
    """Return the Series that moved to this Collection: their zips may be where they were.

    Returns:
        By each Collection that they left, the SeriesInstanceUIDs, sorted.
    """
    uid = SERIES.key[0]
    rows = warehouse.query(
        f"SELECT Collection, list({uid} ORDER BY {uid}) AS uids FROM {SERIES.name} "
        f"WHERE moved_to = $collection AND {ZIPS_MOVE} GROUP BY Collection ORDER BY Collection",
        {"collection": collection},
    )
    return dict(zip(rows["Collection"].to_pylist(), rows["uids"].to_pylist(), strict=True))


def left_collections(warehouse: Warehouse) -> dict[str, list[str]]:
    """Return, by each Collection to which zips move, the Collections that they leave, by name."""
    rows = warehouse.query(
        f"SELECT DISTINCT moved_to, Collection FROM {SERIES.name} WHERE {ZIPS_MOVE} ORDER BY ALL"
    )
    left: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        left.setdefault(row["moved_to"], []).append(row["Collection"])
    return left
