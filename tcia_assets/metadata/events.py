"""Derive change events: what happened to each Series between two states of `series`.

A row of `series` counts the events of its Series in `changes`; an event has its number in `number`.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import RESTORED_COLUMNS, SERIES, SERIES_CHANGES
from tcia_assets.metadata.listing import LISTED
from tcia_assets.metadata.other_sources import filtered
from tcia_assets.sources.names import systems_of
from tcia_assets.store import sql
from tcia_assets.store.conform import align, empty, is_same, replace_column

LIFE_EVENTS = ("added", "changed", "missing", "reappeared", "withdrawn", "moved")
IMAGE_EVENTS = ("fetched", "refetched")

_KEY = SERIES.key[0]
# The columns that an event can name in `changed_columns`: the source's own, and the source.
_NAMED = (*(name for name in RESTORED_COLUMNS if name in LISTED.column_names), "source")
# Where the objects are is no property of the Series.
_NO_CHANGE = ("aws_bucket",)
_OF_ADDED = ("Collection", _KEY, "first_seen_at", "fingerprint")


def diff_events(
    before: pa.Table, after: pa.Table, *, at: datetime, listing_id: str | None
) -> tuple[pa.Table, pa.Table]:
    """Compare two states of a partition of `series`.

    Each Series has at most one event. If several apply, it is the first of withdrawn, moved,
    reappeared, missing, changed. A higher count of missed listings is no event, nor is a different
    host, port or release of the source, nor a different bucket.

    Args:
        before: The stored rows; none before the first listing.
        after: The rows to be stored.
        at: When the change was seen.
        listing_id: The listing that showed it; None if no listing did.

    Returns:
        The rows to be stored, their events counted in `changes`; and the rows of `series_changes`.
    """
    if after.equals(before):
        return after, empty(SERIES_CHANGES)
    place = pc.index_in(after[_KEY], value_set=before[_KEY].combine_chunks()).combine_chunks()
    owned = before["changes"].take(place)
    # Null also in rows that were stored before there was a history.
    is_added = pc.is_null(owned)
    is_altered = pc.invert(is_added)
    if before.num_rows:
        is_altered = pc.and_(_differs(before, after, place), is_altered)
    has_event = pc.cast(pc.or_(is_added, is_altered), pa.int64())
    after = replace_column(after, "changes", pc.add(pc.fill_null(owned, 0), has_event))
    old = before.take(place.filter(is_altered))
    altered = _altered(old, after.filter(is_altered), at, listing_id)
    # Selected before filtering: the first listing of a large Collection would be copied whole.
    added = filtered(after.select(_OF_ADDED), is_added)
    return after, pa.concat_tables([_added(added, at, listing_id), altered])


def _differs(before: pa.Table, after: pa.Table, place: pa.Array) -> pa.ChunkedArray:
    """Return for each row whether a restored column differs; column by column, to save memory."""
    differs = pa.chunked_array([pa.repeat(pa.scalar(value=False), len(after))])
    for name in RESTORED_COLUMNS:
        if name in _NO_CHANGE:
            continue
        old, new = before[name].take(place), after[name]
        if name == "source":
            old, new = systems_of(old), systems_of(new)
        differs = pc.or_(differs, pc.invert(is_same(old, new)))
    return differs


def _added(rows: pa.Table, at: datetime, listing_id: str | None) -> pa.Table:
    # A Series stored before there was a history was added when it was first seen.
    is_now = pc.equal(rows["first_seen_at"], pa.scalar(at, rows["first_seen_at"].type))
    columns = {
        "Collection": rows["Collection"],
        _KEY: rows[_KEY],
        "seen_at": rows["first_seen_at"],
        "snapshot": pc.if_else(is_now, pa.scalar(listing_id, pa.string()), None),
        "fingerprint_after": rows["fingerprint"],
    }
    return align(SERIES_CHANGES, pa.table(columns), event_id="1 added", number=1, event="added")


def _altered(old: pa.Table, new: pa.Table, at: datetime, listing_id: str | None) -> pa.Table:
    if not new.num_rows:
        return empty(SERIES_CHANGES)
    names = (_KEY, "Collection", "changes", *RESTORED_COLUMNS)
    pairs = {f"old {name}": old[name] for name in RESTORED_COLUMNS} | {n: new[n] for n in names}
    with sql.connect(threads=1) as connection:
        connection.register("pairs", pa.table(pairs))
        rows = sql.fetch_table(connection, _EVENTS, {"at": at, "listing_id": listing_id})
    return align(SERIES_CHANGES, rows)


def _old(name: str) -> str:
    return sql.identifier(f"old {name}")


def _if_differs(name: str, then: str) -> str:
    return f"CASE WHEN {_old(name)} IS DISTINCT FROM {sql.identifier(name)} THEN {then} END"


def _json(prefix: str) -> str:
    """Return SQL for a JSON object of the columns that differ, null where a value is null."""
    fields = (
        _if_differs(
            name,
            f"{sql.literal(f'{chr(34)}{name}{chr(34)}:')} || "
            f"coalesce(to_json({sql.identifier(prefix + name)})::VARCHAR, 'null')",
        )
        for name in RESTORED_COLUMNS
    )
    return "'{' || concat_ws(',', " + ", ".join(fields) + ") || '}'"


_CHANGED = ", ".join(_if_differs(name, sql.literal(name)) for name in _NAMED)
_EVENTS = f"""
    WITH compared AS (
        SELECT *,
            CASE
                WHEN "old withdrawn_at" IS NULL AND withdrawn_at IS NOT NULL THEN 'withdrawn'
                WHEN moved_to IS NOT NULL AND "old moved_to" IS DISTINCT FROM moved_to THEN 'moved'
                WHEN ("old missing_since" IS NOT NULL AND missing_since IS NULL)
                    OR ("old moved_to" IS NOT NULL AND moved_to IS NULL) THEN 'reappeared'
                WHEN "old missing_since" IS NULL AND missing_since IS NOT NULL THEN 'missing'
                ELSE 'changed'
            END AS event,
            concat_ws(',', {_CHANGED}) AS names
        FROM pairs
    )
    SELECT
        Collection,
        SeriesInstanceUID,
        changes || ' ' || event AS event_id,
        changes AS number,
        event,
        $at::TIMESTAMPTZ AS seen_at,
        $listing_id::VARCHAR AS snapshot,
        CASE WHEN names = '' THEN []::VARCHAR[] ELSE string_split(names, ',') END
            AS changed_columns,
        {_json("old ")} AS before,
        {_json("")} AS after,
        "old fingerprint" AS fingerprint_before,
        fingerprint AS fingerprint_after
    FROM compared
"""
