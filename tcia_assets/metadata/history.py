"""What became of each Series, event by event: `series_changes`.

What belongs here: the events that lie between two states of a Collection's `series`, and the one
way in which they are kept. What does not: what a list means (`snapshot.py`), and the SQL that asks
the history (`warehouse.py`).

A row of `series` says in `changes` how many events of its life there are, and each event which one
it is. Events are kept first and their row second, so a kill in between leaves events that no row
owns yet: the next one who writes takes them out, and finds again what is still so. Nothing is lost
and nothing is there twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import RESTORED_COLUMNS, SERIES, SERIES_CHANGES
from tcia_assets.errors import DataError, UsageError
from tcia_assets.metadata.listing import LISTED
from tcia_assets.store import sql
from tcia_assets.store.conform import align, empty
from tcia_assets.store.warehouse import Warehouse

OF_LIFE = ("added", "changed", "missing", "reappeared", "withdrawn", "moved")
OF_IMAGES = ("fetched", "refetched")

_KEY = SERIES.key[0]
_ID = SERIES_CHANGES.column("event_id").name
# What an event names as changed: what the archive says, and which archive that is.
_NAMED = (*(name for name in RESTORED_COLUMNS if name in LISTED.column_names), "source")


@dataclass(frozen=True)
class Fetched:
    """What became of a Series' images: `event` is "fetched" or "refetched", `at` when.

    `mark` tells this fetching of the Series from its others, such as the SHA-256 of the zip: the
    same event told twice is one. The fingerprints are those of the Series' rows that the images
    were, and are now, fetched for.
    """

    series_instance_uid: str
    event: str
    at: datetime
    mark: str
    fingerprint_after: str | None = None
    fingerprint_before: str | None = None


# --- Keeping ------------------------------------------------------------------------------------


def record(collection: str, events: Iterable[Fetched], warehouse: Warehouse) -> None:
    """Keeps what became of images of a Collection's Series; what is known already stays as it is.

    Raises:
        UsageError: an event that is none of images, or an instant without a time zone.
    """
    rows = [_row(collection, event) for event in events]
    if not rows:
        return
    with warehouse.update(SERIES_CHANGES, collection) as partition:
        stored = partition.rows
        new = pa.Table.from_pylist(rows, schema=SERIES_CHANGES.schema)
        new = new.filter(pc.invert(_is_in(new, stored)))
        if new.num_rows:
            partition.rows = pa.concat_tables([stored, new])


def fetched(collection: str, warehouse: Warehouse) -> dict[str, set[str]]:
    """The marks of what is known to have become of images, by SeriesInstanceUID."""
    stored = warehouse.read_or_empty(SERIES_CHANGES, collection, (_KEY, _ID, "event"))
    of_images = stored.filter(pc.is_in(stored["event"], value_set=pa.array(OF_IMAGES)))
    marks: dict[str, set[str]] = {}
    for uid, told_id in zip(of_images[_KEY].to_pylist(), of_images[_ID].to_pylist(), strict=True):
        marks.setdefault(uid, set()).add(told_id.partition(" ")[2])
    return marks


def _row(collection: str, event: Fetched) -> dict[str, object]:
    if event.event not in OF_IMAGES:
        raise UsageError(f"{event.event!r} is none of {' and '.join(OF_IMAGES)}")
    if event.at.tzinfo is None:
        raise UsageError(f"the time of an event needs a time zone: {event.at.isoformat()}")
    return {
        "Collection": collection,
        _KEY: event.series_instance_uid,
        _ID: f"{event.event} {event.mark}",
        "event": event.event,
        "seen_at": event.at,
        "fingerprint_before": event.fingerprint_before,
        "fingerprint_after": event.fingerprint_after,
    }


def _is_in(rows: pa.Table, others: pa.Table) -> pa.Array:
    first, second = (
        pc.binary_join_element_wise(t[_KEY], t[_ID], " ").combine_chunks() for t in (rows, others)
    )
    return pc.is_in(first, value_set=second)


def keep(collection: str, before: pa.Table | None, events: pa.Table, warehouse: Warehouse) -> None:
    """The history of a Collection is what `before` owns of it, and these events of its life.

    To be called by whoever holds the lock of the Collection's `series` and has read `before` under
    it, before the rows that own the events are written.

    Raises:
        DataError: the rows of `series` are gone and their history is not.
    """
    with warehouse.update(SERIES_CHANGES, collection) as partition:
        owned = pc.sum(before["changes"]).as_py() or 0 if before is not None else 0
        numbers = partition.read(["number"])["number"]
        has_orphans = len(numbers) - numbers.null_count > owned
        if not has_orphans and not events.num_rows:
            return
        stored = partition.rows
        if has_orphans:
            stored = stored.filter(_is_owned(stored, before, collection))
        partition.rows = pa.concat_tables([stored, events])


def _is_owned(stored: pa.Table, before: pa.Table | None, collection: str) -> pa.ChunkedArray:
    """Whether a row of `series` owns the event: all that is of images, and of life its first ones.

    Where there are no rows at all, either the first run was killed, which left what was added and
    nothing else, or somebody took them away.
    """
    numbers = stored["number"]
    if before is None and (pc.max(numbers).as_py() or 0) > 1:
        problem = (
            f"the Series of {collection!r} are not there, but their history is; put the partition "
            "back from a copy, or remove the one of series_changes as well, to start anew"
        )
        raise DataError(problem, table=SERIES.name)
    known = empty(SERIES) if before is None else align(SERIES, before)
    place = pc.index_in(stored[_KEY], value_set=known[_KEY].combine_chunks())
    limits = known["changes"].take(place.combine_chunks())
    owned = pc.fill_null(pc.less_equal(numbers, limits), fill_value=False)
    return pc.or_(pc.is_null(numbers), owned)


# --- Finding ------------------------------------------------------------------------------------


def told(
    before: pa.Table | None, after: pa.Table, *, at: datetime, snapshot: str | None
) -> tuple[pa.Table, pa.Table]:
    """The rows of `series` as they own their events, and the events between the two states.

    Each row has one event at most: what is most of withdrawn, moved, reappeared, missing, changed.
    Counting how often a Series was missing is none.
    """
    known = align(SERIES, before) if before is not None else empty(SERIES)
    if after.equals(known):
        return after, empty(SERIES_CHANGES)
    place = pc.index_in(after[_KEY], value_set=known[_KEY].combine_chunks()).combine_chunks()
    owned = known["changes"].take(place)
    # Also rows that were stored before there was a history.
    is_added = pc.is_null(owned)
    is_altered = pc.and_(_differs(known, after, place), pc.invert(is_added))
    happened = pc.cast(pc.or_(is_added, is_altered), pa.int64())
    changes = pc.add(pc.fill_null(owned, 0), happened)
    after = after.set_column(
        after.schema.get_field_index("changes"), after.schema.field("changes"), changes
    )
    altered = _altered(known.take(place.filter(is_altered)), after.filter(is_altered), at, snapshot)
    # Of all columns, the first load of a large Collection would be held once more.
    added = after.select(_OF_ADDED).filter(is_added)
    return after, pa.concat_tables([_added(added, at, snapshot), altered])


def _differs(known: pa.Table, after: pa.Table, place: pa.Array) -> pa.ChunkedArray:
    """For each row whether any restored column is another; column by column, to save memory."""
    differs = pa.chunked_array([pa.repeat(pa.scalar(value=False), len(after))])
    for name in RESTORED_COLUMNS:
        old, new = known[name].take(place), after[name]
        same = pc.or_(
            pc.fill_null(pc.equal(old, new), fill_value=False),
            pc.and_(pc.is_null(old), pc.is_null(new)),
        )
        differs = pc.or_(differs, pc.invert(same))
    return differs


_OF_ADDED = ("Collection", _KEY, "first_seen_at", "fingerprint")


def _added(rows: pa.Table, at: datetime, snapshot: str | None) -> pa.Table:
    # One that was stored before there was a history was added when it was first seen.
    is_now = pc.equal(rows["first_seen_at"], pa.scalar(at, rows["first_seen_at"].type))
    facts = {
        "Collection": rows["Collection"],
        _KEY: rows[_KEY],
        _ID: pa.repeat(pa.scalar("1 added"), len(rows)),
        "number": pa.repeat(pa.scalar(1, pa.int64()), len(rows)),
        "event": pa.repeat(pa.scalar("added"), len(rows)),
        "seen_at": rows["first_seen_at"],
        "snapshot": pc.if_else(is_now, pa.scalar(snapshot, pa.string()), None),
        "fingerprint_after": rows["fingerprint"],
    }
    return align(SERIES_CHANGES, pa.table(facts))


def _altered(old: pa.Table, new: pa.Table, at: datetime, snapshot: str | None) -> pa.Table:
    if not new.num_rows:
        return empty(SERIES_CHANGES)
    names = (_KEY, "Collection", "changes", *RESTORED_COLUMNS)
    pairs = {f"old {name}": old[name] for name in RESTORED_COLUMNS} | {n: new[n] for n in names}
    with sql.connect() as connection:
        connection.register("pairs", pa.table(pairs))
        rows = sql.fetch_table(connection, _EVENTS, {"at": at, "snapshot": snapshot})
    return align(SERIES_CHANGES, rows)


def _old(name: str) -> str:
    return sql.identifier(f"old {name}")


def _if_other(name: str, then: str) -> str:
    return f"CASE WHEN {_old(name)} IS DISTINCT FROM {sql.identifier(name)} THEN {then} END"


def _json(prefix: str) -> str:
    """The columns that differ as a JSON object, null where a value is."""
    fields = (
        _if_other(
            name,
            f"{sql.literal(f'{chr(34)}{name}{chr(34)}:')} || "
            f"coalesce(to_json({sql.identifier(prefix + name)})::VARCHAR, 'null')",
        )
        for name in RESTORED_COLUMNS
    )
    return "'{' || concat_ws(',', " + ", ".join(fields) + ") || '}'"


_CHANGED = ", ".join(_if_other(name, sql.literal(name)) for name in _NAMED)
_EVENTS = f"""
    WITH seen AS (
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
        $snapshot::VARCHAR AS snapshot,
        CASE WHEN names = '' THEN []::VARCHAR[] ELSE string_split(names, ',') END
            AS changed_columns,
        {_json("old ")} AS before,
        {_json("")} AS after,
        "old fingerprint" AS fingerprint_before,
        fingerprint AS fingerprint_after
    FROM seen
"""


# --- Asking -------------------------------------------------------------------------------------


def since(
    moment: datetime,
    warehouse: Warehouse,
    *,
    collections: Sequence[str] = (),
    events: Sequence[str] = (),
) -> pa.Table:
    """Rows of `series_changes` seen after a moment, as the macro `changes_since`, the newest last.

    Only those of these Collections, and of these events, where any are named.
    """
    return warehouse.query(
        "SELECT * FROM changes_since($moment) WHERE "
        "(len($collections) = 0 OR list_contains($collections::VARCHAR[], Collection)) "
        "AND (len($events) = 0 OR list_contains($events::VARCHAR[], event)) "
        f"ORDER BY seen_at, Collection, {_KEY}, number, {_ID}",
        {"moment": moment, "collections": list(collections), "events": list(events)},
    )


# --- Where images may lie -----------------------------------------------------------------------


def moved_into(collection: str, warehouse: Warehouse) -> dict[str, list[str]]:
    """By UID, the Collections from which Series came to this one: their images may lie there."""
    rows = warehouse.query(
        f"SELECT {_KEY} AS uid, list(Collection ORDER BY Collection) AS earlier FROM {SERIES.name} "
        f"WHERE moved_to = $collection GROUP BY {_KEY}",
        {"collection": collection},
    )
    return dict(zip(rows["uid"].to_pylist(), rows["earlier"].to_pylist(), strict=True))
