"""Record the fetch of each zip in the history of its Series."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import pyarrow as pa

from tcia_assets.catalog import SERIES_CHANGES
from tcia_assets.images.manifest_row import UID
from tcia_assets.metadata import history, moves
from tcia_assets.metadata.events import IMAGE_EVENTS
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

# The fetches that the history has, each with the SHA-256 of its zip.
_FETCHES = f"""
    SELECT Collection, {UID}, split_part(event_id, ' ', 2) AS sha256, seen_at
    FROM series_changes {{added}}
    WHERE Collection IN ({{collections}}) AND event IN {IMAGE_EVENTS}
"""
_TIMES = f"SELECT {UID}, sha256, max(seen_at) AS at FROM ({_FETCHES}) GROUP BY ALL"
# The complete zips of a Collection of which the history has no fetch. A zip taken over from a
# Collection that its Series left is recorded there already. Compared in the database: of 200,000
# zips few are new.
_UNRECORDED = f"""
    WITH fetches AS (SELECT Collection, {UID}, sha256 FROM ({_FETCHES})),
    known AS (
        FROM fetches WHERE Collection = $collection
        UNION ALL
        FROM fetches SEMI JOIN (FROM series WHERE moved_to = $collection)
        USING (Collection, {UID})
    )
    SELECT {UID}, fetched_at, sha256, fingerprint, {UID} IN (SELECT {UID} FROM known) AS is_again
    FROM image_archives {{added}} ANTI JOIN known USING ({UID}, sha256)
    WHERE Collection = $collection AND status = 'complete' ORDER BY {UID}
"""
_ADDED = f"SEMI JOIN added USING ({UID})"


def record_new_zips(
    collection: str, warehouse: Warehouse, added: Collection[str] | None = None
) -> None:
    """Record each complete zip that the history does not have, also those of killed runs.

    Args:
        collection: The Collection.
        warehouse: The warehouse.
        added: Only the zips of these Series may be new; None if any may.
    """
    if not warehouse.has(SERIES_CHANGES, collection):
        added = None
    if added is None or added:
        history.record_fetch_events(
            collection, _new_events(collection, warehouse, added), warehouse
        )


def find_fetches(
    collection: str, warehouse: Warehouse, uids: Collection[str]
) -> dict[tuple[str, str], datetime]:
    """Return when zips were last fetched, as the history has it.

    Args:
        collection: The Collection that has the zips now.
        warehouse: The warehouse.
        uids: Their Series.

    Returns:
        The time, by SeriesInstanceUID and SHA-256 of the zip.
    """
    rows = _query(_TIMES, collection, warehouse, uids).to_pylist()
    return {(row[UID], row["sha256"]): row["at"] for row in rows}


def _query(
    statement: str,
    collection: str,
    warehouse: Warehouse,
    added: Collection[str] | None,
    parameters: Mapping[str, str] | None = None,
) -> pa.Table:
    # Named, so that DuckDB opens the history of no other Collection.
    names = [collection, *moves.moved_series(collection, warehouse)]
    statement = statement.format(
        collections=", ".join(map(sql.literal, names)), added="" if added is None else _ADDED
    )
    tables = {"added": pa.table({UID: pa.array(added or (), pa.string())})}
    return warehouse.query(statement, parameters, tables=tables)


def _new_events(
    collection: str, warehouse: Warehouse, added: Collection[str] | None
) -> list[history.FetchEvent]:
    rows = _query(_UNRECORDED, collection, warehouse, added, {"collection": collection})
    return [
        history.FetchEvent(
            row[UID],
            "refetched" if row["is_again"] else "fetched",
            row["fetched_at"],
            row["sha256"],
            fingerprint_after=row["fingerprint"],
        )
        for row in rows.to_pylist()
    ]
