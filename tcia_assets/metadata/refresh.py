"""One partition of a metadata table: asked anew, checked, written. Knows nothing of Dagster.

What belongs here: which question fills which table, and what is kept of what was known before.
What does not: many partitions at once, events, settings (`defs/`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog
from tcia_assets.errors import MissingColumn, UnknownName, UnknownReply
from tcia_assets.metadata import attribution, history, listing, plausibility
from tcia_assets.sources import ProbeResult, Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.conform import align, conform
from tcia_assets.store.warehouse import Warehouse, WriteResult

_LONGEST_KEY = 200
# Percent-encoded, with the dimension before it, it is a folder's name: 255 bytes at most.
_LONGEST_FOLDER = 230
# A table is in memory several times while it is merged and written. Two large ones at once would
# only double that, for Arrow and DuckDB use all cores for one.
_one_large_at_a_time = threading.Lock()
_LARGE = 20_000  # rows
# Dagster takes any key; these break its range syntax, its multi-partitions, or a path.
_UNFIT_CHARACTERS = frozenset("|,[]")


@dataclass(frozen=True)
class Refreshed:
    """What came of asking: what is stored now, what it cost, and what a person may want to know."""

    table: Table
    key: str
    written: WriteResult
    rows_before: int
    requests: int
    received_bytes: int
    seconds: float
    unclaimed: tuple[str, ...] = ()
    facts: Mapping[str, int | bool | str] = field(default_factory=dict)


class Allowance:
    """A number of requests that the partitions of one run share."""

    def __init__(self, requests: int) -> None:
        self._left, self._lock = requests, threading.Lock()

    def take(self, wanted: int) -> int:
        """As many of the wanted as are left; they are spent with that."""
        with self._lock:
            granted = max(0, min(wanted, self._left))
            self._left -= granted
            return granted


class Budget:
    """What a run may ask of single Series: for their sizes, and whether missing ones are gone."""

    def __init__(self, sizes: int, probes: int = 0) -> None:
        self.sizes, self.probes = Allowance(sizes), Allowance(probes)


def refresh(
    table: Table,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    budget: Budget,
) -> Refreshed:
    """Asks for one partition and stores it; where anything fails, what was stored stays.

    `key` is "" for a table without partitions. `budget` bounds the questions about single Series.
    """
    if table is catalog.SERIES:
        return _refresh_series(key, source, warehouse, at, budget.probes)
    if table is catalog.SERIES_SIZES:
        return _refresh_sizes(key, source, warehouse, at, budget.sizes)
    filters = {table.partitioned_by: key} if table.partitioned_by else {}
    reply = (
        _ask_list(key, source, warehouse)
        if table is catalog.SHARED_LISTS
        else source.rows(table, key)
    )
    with _alone_if_large(reply.table):
        rows = conform(table, reply.table, **filters)
        before = warehouse.rows(table, key)
        written = warehouse.write(table, rows, key)
    return _refreshed(table, key, written, before, reply)


def _ask_list(name: str, source: Source, warehouse: Warehouse) -> SourceRows:
    """The Series on a shared list; the archive answers nothing for an unknown and an empty one."""
    table = catalog.SHARED_LISTS
    try:
        return source.rows(table, name)
    except UnknownReply:
        stored = warehouse.keys(table)
        if name in stored:
            raise
        source.rows(catalog.COLLECTIONS)  # raises if the source returns nothing at all
        raise UnknownName("shared list (or it is empty)", name, stored) from None


def fit_for_partition(name: str) -> bool:
    """Whether a Collection's or list's name can be a partition key as it is.

    >>> [fit_for_partition(n) for n in ("CT Lymph Nodes", "a|b", "..", "", "肺" * 56)]
    [True, False, False, False, False]
    """
    return (
        0 < len(name) <= _LONGEST_KEY
        and len(quote(name, safe="")) <= _LONGEST_FOLDER
        and name.isprintable()
        and name not in {".", ".."}
        and not _UNFIT_CHARACTERS & set(name)
    )


def allowed(
    listed: Iterable[str], allow_list: tuple[str, ...], stored: Iterable[str] = ()
) -> list[str]:
    """The listed Collections that may become partitions.

    An allow-list that names a Collection that is neither listed nor `stored` is a slip. One that
    was listed once and is not now may be back tomorrow.
    """
    names = list(listed)
    for name in allow_list:
        if name not in {*names, *stored}:
            raise UnknownName("Collection (TCIA_COLLECTIONS)", name, names)
    return [name for name in names if fit_for_partition(name) and name in (allow_list or names)]


# --- Series -------------------------------------------------------------------------------------


def _refresh_series(
    key: str, source: Source, warehouse: Warehouse, at: datetime, probes: Allowance
) -> Refreshed:
    reply = source.rows(catalog.SERIES, key)
    listed = conform(listing.LISTED, reply.table)
    # The largest Collection is 100 MB a copy; the rows as they came are not needed any more.
    reply = replace(reply, table=reply.table.schema.empty_table())
    # Reading, merging and writing must be one step: two runs would each count a missing Series.
    with warehouse.lock(catalog.SERIES, key):
        with _alone_if_large(listed):
            before = _stored(warehouse, catalog.SERIES, key)
            if before is not None:
                _demand_columns(before, reply)
            compared = _compare(before, listed, key, source, warehouse, at)
        del listed
        probed = _probe(compared.seen, key, source, probes)
        with _alone_if_large(compared.seen.rows):
            written, events = _store(before, compared, probed, key, source, warehouse, at)
    if warehouse.has(catalog.IMAGE_ARCHIVES, key):
        # Licences change without the images, and their files lie next to these.
        attribution.write_collection(key, warehouse)
    if probed.failure:
        raise probed.failure
    facts = _facts(compared, probed, events)
    done = _refreshed(catalog.SERIES, key, written, compared.until_now, reply, facts)
    return replace(
        done,
        requests=done.requests + probed.requests,
        received_bytes=done.received_bytes + probed.size_bytes,
    )


@dataclass(frozen=True)
class _Compared:
    """A list beside what was stored: `lost` are those of `until_now` listed ones that it lacks."""

    seen: listing.Snapshot
    verdict: plausibility.Verdict
    listed: int
    until_now: int
    lost: int
    newest_release: date | None


def _compare(
    before: pa.Table | None,
    listed: pa.Table,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> _Compared:
    patience = listing.Patience(
        source.settings.withdrawal_snapshots, source.settings.withdrawal_hours
    )
    until_now, lost = listing.lost(before, listed)
    earlier = plausibility.snapshots(warehouse, key, at)
    verdict = plausibility.judge(len(listed), until_now, lost, earlier, at, patience)
    seen = listing.merge(
        before,
        listed,
        at=at,
        source=source.name,
        only_adds=not verdict.plausible,
        patience=patience,
    )
    newest = pc.max(listed["DateReleased"]).as_py()
    return _Compared(seen, verdict, len(listed), until_now, lost, newest)


def _probe(seen: listing.Snapshot, key: str, source: Source, probes: Allowance) -> ProbeResult:
    """Probe the Series that are due, within the budget."""
    most = probes.take(len(seen.due))
    if not most:
        return ProbeResult()
    rows = seen.rows.select(["SeriesInstanceUID", "StudyInstanceUID", "missing_since"])
    is_due = pc.is_in(rows["SeriesInstanceUID"], value_set=pa.array(seen.due, pa.string()))
    listed = rows.filter(pc.is_null(rows["missing_since"]))
    return source.probe(key, rows.filter(is_due), listed, most)


def _store(
    before: pa.Table | None,
    compared: _Compared,
    probed: ProbeResult,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> tuple[WriteResult, int]:
    """Keeps the events, then the rows that own them, then that the list was compared."""
    rows = compared.seen.rows
    if probed.gone:
        rows = listing.withdrawn(rows, probed.gone, at=at)
    if probed.elsewhere:
        rows = listing.moved(rows, probed.elsewhere)
    rows, events = history.told(before, rows, at=at, snapshot=compared.seen.name)
    history.keep(key, before, events, warehouse)
    changes = events.num_rows
    del events  # of a first load, as many as rows
    written = warehouse.write(catalog.SERIES, rows, key)
    plausibility.note(
        key,
        compared.seen,
        compared.verdict,
        at=at,
        listed=compared.listed,
        lost=compared.lost,
        changes=changes,
        newest_release=compared.newest_release,
        source=source.name,
        warehouse=warehouse,
    )
    return written, changes


def _facts(compared: _Compared, probed: ProbeResult, events: int) -> dict[str, int | bool | str]:
    seen, found = compared.seen, len(probed.gone) + len(probed.elsewhere)
    return {
        "known": seen.rows.num_rows - seen.moved - len(probed.elsewhere),
        "listed_before": compared.until_now,
        "listed": compared.listed,
        "new": seen.new,
        "changed": seen.changed,
        "missing": seen.missing - found,
        "reappeared": seen.reappeared,
        "withdrawn": seen.withdrawn + len(probed.gone),
        "moved": seen.moved + len(probed.elsewhere),
        "events": events,
        "plausible": compared.verdict.plausible,
        "implausible_because": compared.verdict.reason or "nothing",
        "due": len(seen.due),
        "asked_singly": probed.probed,
    }


def _demand_columns(before: pa.Table, reply: SourceRows) -> None:
    """Raises where a column that was filled is in no row any more and an unknown field is there.

    The archive renames its columns now and then. Taken for null, that would be a change of every
    Series of every Collection.
    """
    if not reply.unclaimed:
        return
    for name in sorted(set(reply.promised) - set(reply.table.column_names)):
        filled = before.num_rows - before[name].null_count
        if filled:
            raise MissingColumn(
                f"no row has it, and {filled} of {before.num_rows} stored rows do; has it become "
                f"one of {', '.join(reply.unclaimed)}? No column claims these",
                table=catalog.SERIES.name,
                column=name,
            )


# --- Sizes: one question a Series, so only for those that are new or changed ---------------------


def _refresh_sizes(
    key: str, source: Source, warehouse: Warehouse, at: datetime, sizes: Allowance
) -> Refreshed:
    started, table = time.monotonic(), catalog.SERIES_SIZES
    with warehouse.update(table, key) as partition:
        before = partition.rows
        listed = warehouse.read(catalog.SERIES, [key], columns=_TOLD)
        pending = _pending(listed, before)
        asked = _by_uid(pending.slice(0, sizes.take(len(pending))))
        replies = source.series_sizes(list(asked))
        partition.rows = rows = _replaced(before, _sizes(replies.table, asked, key, at))
    if replies.failure:
        raise replies.failure
    facts = {
        "asked": len(asked),
        "remaining": len(pending) - len(asked),
        "unknown": rows["TotalSizeInBytes"].null_count,
    }
    written, seconds = partition.written, time.monotonic() - started
    cost = replies.requests, replies.size_bytes, seconds
    return Refreshed(
        table,
        key,
        written,
        before.num_rows,
        *cost,
        unclaimed=replies.unclaimed,
        facts=facts,
    )


_UID = catalog.SERIES_SIZES.key[0]
_TOLD = (_UID, "fingerprint", "FileSize", "missing_since", "moved_to")


def _pending(series: pa.Table, sizes: pa.Table) -> pa.Table:
    """UID and fingerprint of the Series at home here whose size is not known as they are now.

    Those of which `getSeries` told no size come first: it is they that need the question.
    """
    is_here = pc.and_(pc.is_null(series["missing_since"]), pc.is_null(series["moved_to"]))
    listed = series.filter(is_here)
    known = sizes.filter(pc.is_valid(sizes["TotalSizeInBytes"]))
    place = pc.index_in(listed[_UID], value_set=known[_UID].combine_chunks())
    known_for = known["fingerprint"].take(place)
    is_known = pc.fill_null(pc.equal(known_for, listed["fingerprint"]), fill_value=False)
    pending = listed.filter(pc.invert(is_known))
    told = pc.is_valid(pending["FileSize"]).cast(pa.uint8())
    order = [("told", "ascending"), (_UID, "ascending")]
    return pending.append_column("told", told).sort_by(order).select([_UID, "fingerprint"])


def _by_uid(pending: pa.Table) -> dict[str, str]:
    uids, marks = (column.to_pylist() for column in pending.columns)
    return dict(zip(uids, marks, strict=True))


def _sizes(answers: pa.Table, asked: dict[str, str], key: str, at: datetime) -> pa.Table:
    """The answers as rows of the table: for which Series as it then was, and when."""
    marks = [asked[uid] for uid in answers["SeriesInstanceUID"].to_pylist()]
    instants = pa.array([at] * len(marks), catalog.FETCHED_AT.kind.arrow_type)
    return align(
        catalog.SERIES_SIZES,
        answers.append_column("fingerprint", pa.array(marks, pa.string())).append_column(
            "fetched_at", instants
        ),
        Collection=key,
    )


def _replaced(before: pa.Table, fresh: pa.Table) -> pa.Table:
    """The stored sizes with the fresh ones in place of older ones."""
    uids = fresh["SeriesInstanceUID"].combine_chunks()
    kept = before.filter(pc.invert(pc.is_in(before["SeriesInstanceUID"], value_set=uids)))
    return pa.concat_tables([kept, fresh])


# --- What all have in common --------------------------------------------------------------------


def _alone_if_large(rows: pa.Table) -> AbstractContextManager[Any]:
    return _one_large_at_a_time if rows.num_rows > _LARGE else nullcontext()


def _stored(warehouse: Warehouse, table: Table, key: str) -> pa.Table | None:
    return warehouse.read(table, [key]) if warehouse.has(table, key) else None


def _refreshed(
    table: Table,
    key: str,
    written: WriteResult,
    rows_before: int,
    reply: SourceRows,
    facts: Mapping[str, int | bool | str] | None = None,
) -> Refreshed:
    return Refreshed(
        table,
        key,
        written,
        rows_before,
        reply.requests,
        reply.size_bytes,
        reply.seconds,
        reply.unclaimed,
        facts or {},
    )
