"""Refresh `series_sizes` for Series that are new or changed: of a server, each is a request."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SERIES, SERIES_SIZES
from tcia_assets.metadata.budget import RequestBudget, alone_if_large
from tcia_assets.metadata.known_replies import KnownReply
from tcia_assets.metadata.other_sources import filtered
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.metadata.schema_change import check_columns
from tcia_assets.metadata.unreadable import record_unreadable, unreadable_rows
from tcia_assets.sources import Source, SourceRows
from tcia_assets.store.conform import align, conform, empty
from tcia_assets.store.warehouse import Warehouse

_UID = SERIES_SIZES.key[0]
# In place of that of a reply, where no size is pending.
_DIGEST = "sizes are requested singly"
_NEEDED = (_UID, "fingerprint", "FileSize", "missing_since", "moved_to")


def refresh_sizes(
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    budget: RequestBudget,
    *,
    accept_schema: bool = False,
    only: Collection[str] | None = None,
) -> RefreshResult:
    """Request the sizes of a Collection's Series that are not known for their current state.

    Sizes received before a failure are stored.

    Args:
        key: The Collection; its `series` must be stored.
        source: Where the sizes come from.
        warehouse: Where they are stored.
        at: The time of the refresh.
        budget: Limits the number of Series, where each is a request.
        accept_schema: Accept a column that lost all its values, or of which many values cannot be
            read.
        only: The Series to consider; all by default.
    """
    started = time.monotonic()
    known = KnownReply(SERIES_SIZES, key, source, warehouse, accept_schema=accept_schema)
    granted = None
    if only is None and known.digest:
        # A release has been asked for all of them.
        granted = 0 if source.release else budget.take(known.facts["pending"])
        if not granted:
            nothing = SourceRows(empty(SERIES_SIZES), digest=_DIGEST)
            return known.result(nothing, known.facts["counts"])
    count = warehouse.row_count(SERIES, key)
    with warehouse.lock(SERIES_SIZES, key), ExitStack() as alone:
        alone.enter_context(alone_if_large(count))
        before = warehouse.read_or_empty(SERIES_SIZES, key)
        pending = _pending(warehouse.read(SERIES, [key], columns=_NEEDED), before, only)
        if granted is None:
            # A release has all of them at hand.
            granted = len(pending) if source.release else budget.take(len(pending))
        chosen = pending.slice(0, granted)
        with nullcontext() if source.release else _waiting(alone, count):
            reply = source.series_sizes(chosen[_UID].to_pylist())
        unreadable = unreadable_rows(SERIES_SIZES, key, reply, at, accept=accept_schema)
        sizes = _sizes(reply.table, chosen, key, at)
        if not accept_schema:
            check_columns(SERIES_SIZES, key, before.select, _with_size(sizes), reply)
        known.forget()
        record_unreadable(SERIES_SIZES, key, unreadable, warehouse, partial(_is_received, sizes))
        rows = conform(SERIES_SIZES, _replace(before, sizes))
        written = warehouse.write(SERIES_SIZES, rows, key)
        facts = {
            "asked": len(chosen),
            "remaining": len(pending) - len(chosen),
            "unknown": rows["TotalSizeInBytes"].null_count,
        }
        if only is None and not reply.failure:
            _keep(known, reply, facts, facts["remaining"] + sizes["TotalSizeInBytes"].null_count)
    if reply.failure:
        raise reply.failure
    return RefreshResult.of_reply(
        SERIES_SIZES,
        key,
        replace(reply, seconds=time.monotonic() - started),
        written,
        rows_before=before.num_rows,
        facts=facts,
        unreadable=unreadable,
    )


def _keep(known: KnownReply, reply: SourceRows, facts: Mapping[str, int], pending: int) -> None:
    """Keep how many sizes are still pending, and the counts of a refresh that requests none."""
    counts = {**facts, "asked": 0, "remaining": pending}
    known.keep(replace(reply, digest=_DIGEST), {"pending": pending, "counts": counts})


@contextmanager
def _waiting(alone: ExitStack, rows: int) -> Iterator[None]:
    """Let others process a large table: a server may take minutes to reply."""
    alone.close()
    yield
    alone.enter_context(alone_if_large(rows))


def _pending(series: pa.Table, sizes: pa.Table, only: Collection[str] | None) -> pa.Table:
    """Return UID and fingerprint of the Series whose size is not known for their current state.

    `only` are those to consider; all by default. Those without a size in `series` come first,
    because only this request can give it.
    """
    belongs_here = pc.and_(pc.is_null(series["missing_since"]), pc.is_null(series["moved_to"]))
    listed = filtered(series, belongs_here)
    if only is not None:
        listed = listed.filter(pc.is_in(listed[_UID], value_set=pa.array(only, pa.string())))
    known = sizes.filter(pc.is_valid(sizes["TotalSizeInBytes"]))
    place = pc.index_in(listed[_UID], value_set=known[_UID].combine_chunks())
    is_known = pc.equal(known["fingerprint"].take(place), listed["fingerprint"])
    pending = filtered(listed, pc.invert(pc.fill_null(is_known, fill_value=False)))
    has_size = pc.is_valid(pending["FileSize"]).cast(pa.uint8())
    order = [("has_size", "ascending"), (_UID, "ascending")]
    return pending.append_column("has_size", has_size).sort_by(order).select([_UID, "fingerprint"])


def _sizes(replies: pa.Table, chosen: pa.Table, key: str, at: datetime) -> pa.Table:
    """Return the replies as rows of `series_sizes`, each with the fingerprint it is valid for."""
    place = pc.index_in(replies[_UID], value_set=chosen[_UID].combine_chunks())
    rows = replies.append_column("fingerprint", chosen["fingerprint"].take(place))
    return align(SERIES_SIZES, rows, Collection=key, fetched_at=at)


def _is_received(sizes: pa.Table, row_key: str) -> bool:
    """Return whether the row of a key of `unreadable_values` was received; there are few keys."""
    place: int = pc.index(sizes[_UID], json.loads(row_key)[_UID]).as_py()
    return place >= 0


def _with_size(sizes: pa.Table) -> pa.Table:
    """Return the rows with any value: a source may not have the size of a Series at all."""
    is_known = pc.or_(pc.is_valid(sizes["TotalSizeInBytes"]), pc.is_valid(sizes["ObjectCount"]))
    return filtered(sizes, is_known)


def _replace(before: pa.Table, new: pa.Table) -> pa.Table:
    """Return the stored sizes, with the new ones in place of those of the same Series."""
    is_replaced = pc.is_in(before[_UID], value_set=new[_UID].combine_chunks())
    return pa.concat_tables([before.filter(pc.invert(is_replaced)), new])
