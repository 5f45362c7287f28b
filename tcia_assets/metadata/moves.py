"""Which Collection a Series belongs to, where several have listed it.

What belongs here: looking across Collections after they were refreshed. What does not: what one
list says of its own Collection (`snapshot.py`).

A Series is at home in the Collection that began to list it last; elsewhere its row says where it
went. Where nobody lists it now, it stays where it was. So it does not matter which Collection is
refreshed first, nor in which run: whoever comes later settles what is left.
"""

from __future__ import annotations

from datetime import datetime

from tcia_assets.catalog import SERIES
from tcia_assets.metadata import history, listing
from tcia_assets.store.warehouse import Warehouse

_UNSETTLED = """
    WITH seen AS (
        SELECT SeriesInstanceUID, Collection, missing_since, moved_to,
            coalesce(listed_since, first_seen_at) AS since
        FROM series
    ),
    homes AS (
        SELECT SeriesInstanceUID,
            arg_max(Collection, {'since': since, 'name': Collection})
                FILTER (WHERE missing_since IS NULL) AS home
        FROM seen
        GROUP BY SeriesInstanceUID
        HAVING count(*) > 1 OR bool_or(moved_to IS NOT NULL)
    )
    SELECT Collection, SeriesInstanceUID, nullif(home, Collection) AS home
    FROM seen JOIN homes USING (SeriesInstanceUID)
    WHERE home IS NOT NULL AND moved_to IS DISTINCT FROM nullif(home, Collection)
    ORDER BY ALL
"""


def settle(warehouse: Warehouse, at: datetime) -> dict[str, int]:
    """Each Series is at home in one Collection; how many rows that changed, by Collection.

    To be called after Collections were refreshed. What a kill leaves unsettled, the next call
    settles.
    """
    found: dict[str, dict[str, str | None]] = {}
    for row in warehouse.query(_UNSETTLED).to_pylist():
        found.setdefault(row["Collection"], {})[row["SeriesInstanceUID"]] = row["home"]
    return {name: _settle(name, homes, warehouse, at) for name, homes in found.items()}


def _settle(
    collection: str, homes: dict[str, str | None], warehouse: Warehouse, at: datetime
) -> int:
    with warehouse.update(SERIES, collection) as partition:
        before = partition.rows
        after = listing.moved(before, homes)
        partition.rows, events = history.told(before, after, at=at, snapshot=None)
        history.keep(collection, before, events, warehouse)
    return int(events.num_rows)
