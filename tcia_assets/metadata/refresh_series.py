"""Refresh `series`: merge a new listing of a Collection, with its events and its verdict.

What is written, and in this order: the change events, the rows that count them, the record of the
listing. A run killed in between is repaired by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.errors import MissingColumn
from tcia_assets.metadata import attribution, history, listing, plausibility
from tcia_assets.metadata.budget import RequestBudget, alone_if_large
from tcia_assets.metadata.events import diff_events
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sources import ProbeResult, Source, SourceRows
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse, WriteResult


def refresh_series(
    key: str, source: Source, warehouse: Warehouse, at: datetime, probes: RequestBudget
) -> RefreshResult:
    """Refresh a Collection's Series; see `refresh.refresh`.

    Series that have been absent for long are probed, each with one request, within the budget. If a
    probe fails, the listing is stored and the error raised.
    """
    reply = source.rows(SERIES, key)
    listed = conform(listing.LISTED, reply.table)
    # The largest Collection is 100 MB a copy; the rows as received are not needed any more.
    reply = replace(reply, table=reply.table.schema.empty_table())
    # Reading, merging and writing are one step: two runs would each count a missing Series.
    with warehouse.lock(SERIES, key):
        with alone_if_large(listed):
            before = warehouse.read_or_empty(SERIES, key)
            _check_columns(before, reply)
            compared = _compare(before, listed, key, source, warehouse, at)
        del listed
        probed = _probe(compared.merged, key, source, probes)
        with alone_if_large(compared.merged.rows):
            written, events = _write(before, compared, probed, key, source, warehouse, at)
    if warehouse.has(IMAGE_ARCHIVES, key):
        # Licences can change without the images, and their files are next to the zips.
        attribution.write_collection(key, warehouse)
    if probed.failure:
        raise probed.failure
    facts = _facts(compared, probed, events)
    result = RefreshResult.of(SERIES, key, written, compared.until_now, reply, facts)
    return replace(
        result,
        requests=result.requests + probed.requests,
        received_bytes=result.received_bytes + probed.size_bytes,
    )


@dataclass(frozen=True)
class _Comparison:
    """A listing compared with the stored rows.

    Attributes:
        merged: The rows to be stored, before any probe.
        verdict: Whether the listing is plausible.
        listed: Number of Series that it lists.
        until_now: Number of Series that were listed until now.
        lost: Number of these that it lacks.
        newest_release: The latest DateReleased in it.
    """

    merged: listing.MergeResult
    verdict: plausibility.Verdict
    listed: int
    until_now: int
    lost: int
    newest_release: date | None


def _compare(
    before: pa.Table,
    listed: pa.Table,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> _Comparison:
    policy = listing.WithdrawalPolicy(
        source.settings.withdrawal_snapshots, source.settings.withdrawal_hours
    )
    until_now, lost = listing.count_lost(before, listed)
    earlier = plausibility.past_listings(warehouse, key, at)
    verdict = plausibility.judge(len(listed), until_now, lost, earlier, at, policy)
    merged = listing.merge(
        before,
        listed,
        at=at,
        source=source.name,
        only_adds=not verdict.plausible,
        policy=policy,
    )
    newest = pc.max(listed["DateReleased"]).as_py()
    return _Comparison(merged, verdict, len(listed), until_now, lost, newest)


def _probe(
    merged: listing.MergeResult, key: str, source: Source, probes: RequestBudget
) -> ProbeResult:
    """Probe the Series that are due, within the budget."""
    limit = probes.take(len(merged.due))
    if not limit:
        return ProbeResult()
    rows = merged.rows.select(["SeriesInstanceUID", "StudyInstanceUID", "missing_since"])
    is_due = pc.is_in(rows["SeriesInstanceUID"], value_set=pa.array(merged.due, pa.string()))
    listed = rows.filter(pc.is_null(rows["missing_since"]))
    return source.probe(key, rows.filter(is_due), listed, limit)


def _write(
    before: pa.Table,
    compared: _Comparison,
    probed: ProbeResult,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> tuple[WriteResult, int]:
    """Write the events, the rows and the record of the listing; return the number of events too."""
    rows, listing_id = compared.merged.rows, compared.merged.listing_id
    if probed.gone:
        rows = listing.mark_withdrawn(rows, probed.gone, at=at)
    if probed.elsewhere:
        rows = listing.mark_moved(rows, probed.elsewhere)
    rows, events = diff_events(before, rows, at=at, listing_id=listing_id)
    history.write_events(key, before, events, warehouse)
    changes = events.num_rows
    del events  # after the first listing of a Collection, as many as rows
    written = warehouse.write(SERIES, rows, key)
    plausibility.record_listing(
        key,
        compared.verdict,
        listing_id=listing_id,
        at=at,
        listed=compared.listed,
        lost=compared.lost,
        changes=changes,
        newest_release=compared.newest_release,
        source=source.name,
        warehouse=warehouse,
    )
    return written, changes


def _facts(compared: _Comparison, probed: ProbeResult, events: int) -> dict[str, int | bool | str]:
    merged, found = compared.merged, len(probed.gone) + len(probed.elsewhere)
    return {
        "known": merged.rows.num_rows - merged.moved - len(probed.elsewhere),
        "listed_before": compared.until_now,
        "listed": compared.listed,
        "new": merged.new,
        "changed": merged.changed,
        "missing": merged.missing - found,
        "reappeared": merged.reappeared,
        "withdrawn": merged.withdrawn + len(probed.gone),
        "moved": merged.moved + len(probed.elsewhere),
        "events": events,
        "plausible": compared.verdict.plausible,
        "implausible_because": compared.verdict.reason or "nothing",
        "due": len(merged.due),
        "asked_singly": probed.probed,
    }


def _check_columns(before: pa.Table, reply: SourceRows) -> None:
    """Raise MissingColumn if a column lost all its values while an unknown field appeared.

    Sources rename their columns now and then. Read as null, that would be a change of every Series.
    """
    if not reply.unclaimed:
        return
    for name in sorted(set(reply.promised) - set(reply.table.column_names)):
        filled = before.num_rows - before[name].null_count
        if filled:
            raise MissingColumn(
                f"no row has a value, and {filled} of {before.num_rows} stored rows have one; was "
                f"it renamed to one of {', '.join(reply.unclaimed)}? No column claims these",
                table=SERIES.name,
                column=name,
            )
