"""The history of each Series, `series_changes`: append change events, and query them.

Change events are derived in `events.py`. They are written first and the rows of `series` second. A
kill between the two leaves events beyond the count in the row's `changes`: the next write removes
them and derives them again, so nothing is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SERIES, SERIES_CHANGES
from tcia_assets.errors import DataError, UsageError
from tcia_assets.metadata.events import IMAGE_EVENTS
from tcia_assets.store.conform import align
from tcia_assets.store.row_parts import append_rows, keep_rows
from tcia_assets.store.warehouse import Warehouse

_KEY = SERIES.key[0]
_NOT_STORED = f"""
    SELECT DISTINCT ON ({_KEY}, event_id) * FROM new ANTI JOIN (
        SELECT {_KEY}, event_id FROM series_changes WHERE Collection = $collection
    ) USING ({_KEY}, event_id)
"""


@dataclass(frozen=True)
class FetchEvent:
    """The fetch of a Series' images.

    Attributes:
        series_instance_uid: The Series.
        event: "fetched" or "refetched".
        at: When.
        mark: Identifies this fetch among those of the Series, such as the SHA-256 of the zip; an
            event that is recorded twice is stored once.
        fingerprint_after: Fingerprint of the Series' row that the images were fetched for.
        fingerprint_before: That of the fetch before.
    """

    series_instance_uid: str
    event: str
    at: datetime
    mark: str
    fingerprint_after: str | None = None
    fingerprint_before: str | None = None


def record_fetch_events(
    collection: str, events: Iterable[FetchEvent], warehouse: Warehouse
) -> None:
    """Append fetch events to a Collection's history; those already stored stay as they are.

    Raises:
        UsageError: The event has another kind, or an instant without a time zone.
    """
    rows = [_row(collection, event) for event in events]
    if not rows:
        return
    new = pa.Table.from_pylist(rows, schema=SERIES_CHANGES.schema)
    with warehouse.lock(SERIES_CHANGES, collection):
        new = warehouse.query(_NOT_STORED, {"collection": collection}, tables={"new": new})
        if new.num_rows:
            append_rows(warehouse.files(SERIES_CHANGES, collection), align(SERIES_CHANGES, new))


def _row(collection: str, event: FetchEvent) -> dict[str, object]:
    if event.event not in IMAGE_EVENTS:
        raise UsageError(f"{event.event!r} is not one of {' and '.join(IMAGE_EVENTS)}")
    if event.at.tzinfo is None:
        raise UsageError(f"the time of an event needs a time zone: {event.at.isoformat()}")
    return {
        "Collection": collection,
        _KEY: event.series_instance_uid,
        "event_id": f"{event.event} {event.mark}",
        "event": event.event,
        "seen_at": event.at,
        "fingerprint_before": event.fingerprint_before,
        "fingerprint_after": event.fingerprint_after,
    }


def write_events(collection: str, before: pa.Table, events: pa.Table, warehouse: Warehouse) -> None:
    """Append life events to a Collection's history, and remove those left by a killed run.

    Must be called under the lock of the Collection's `series`, before the rows that count the
    events are written.

    Args:
        collection: The Collection.
        before: The rows of `series` as read under that lock.
        events: Rows of `series_changes`, as `diff_events` returns them.
        warehouse: Where they are stored.

    Raises:
        DataError: The rows of `series` are lost, but their history is not.
    """
    files = warehouse.files(SERIES_CHANGES, collection)
    with warehouse.lock(SERIES_CHANGES, collection):
        owned = pc.sum(before["changes"]).as_py() or 0
        numbers = warehouse.read_or_empty(SERIES_CHANGES, collection, ["number"])["number"]
        if len(numbers) - numbers.null_count > owned:
            _check_not_lost(numbers, before, collection)
            keep_rows(files, lambda stored: _is_owned(stored, before))
        if events.num_rows:
            append_rows(files, events)


def _check_not_lost(numbers: pa.ChunkedArray, before: pa.Table, collection: str) -> None:
    """Raise DataError if the rows of `series` are lost that these numbers of events belong to.

    If there are no rows, either the first run was killed, which left only "added" events, or the
    partition was removed.
    """
    if not before.num_rows and (pc.max(numbers).as_py() or 0) > 1:
        problem = (
            f"the Series of {collection!r} are missing, but their history exists; restore the "
            "partition from a copy, or also remove that of series_changes to start again"
        )
        raise DataError(problem, table=SERIES.name)


def _is_owned(stored: pa.Table, before: pa.Table) -> pa.ChunkedArray:
    """Return which events stay: fetch events, and life events that a row of `series` counts."""
    numbers = stored["number"]
    place = pc.index_in(stored[_KEY], value_set=before[_KEY].combine_chunks())
    counts = before["changes"].take(place.combine_chunks())
    is_counted = pc.fill_null(pc.less_equal(numbers, counts), fill_value=False)
    return pc.or_(pc.is_null(numbers), is_counted)


def events_since(
    moment: datetime,
    warehouse: Warehouse,
    *,
    collections: Sequence[str] = (),
    events: Sequence[str] = (),
) -> pa.Table:
    """Query `series_changes`, like the macro `changes_since`.

    Args:
        moment: Only events seen after it.
        warehouse: Where to look.
        collections: Only of these Collections, if any are named.
        events: Only these kinds of events, if any are named.

    Returns:
        Rows of `series_changes`, the newest last.
    """
    return warehouse.query(
        "SELECT * FROM changes_since($moment) WHERE "
        "(len($collections) = 0 OR list_contains($collections::VARCHAR[], Collection)) "
        "AND (len($events) = 0 OR list_contains($events::VARCHAR[], event)) "
        f"ORDER BY seen_at, Collection, {_KEY}, number, event_id",
        {"moment": moment, "collections": list(collections), "events": list(events)},
    )
