"""Refresh `series`: merge a new listing of a Collection, with its events and its verdict.

What is written, and in this order: new fingerprints of Series that only another source describes
differently, the change events, the rows that count them, the record of the listing. A run killed in
between is repaired by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES, UNREADABLE_VALUES
from tcia_assets.metadata import attribution, history, listing, plausibility
from tcia_assets.metadata.absence import WithdrawalPolicy
from tcia_assets.metadata.budget import RequestBudget, computing_on
from tcia_assets.metadata.events import diff_events
from tcia_assets.metadata.known_replies import KnownReply
from tcia_assets.metadata.other_sources import (
    as_listed_now,
    filtered,
    of_family,
    rebase_fingerprints,
)
from tcia_assets.metadata.patient_ids import fill_patient_ids
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.metadata.repeated_listing import facts_to_keep, record_again
from tcia_assets.metadata.schema_change import check_columns
from tcia_assets.metadata.unreadable import record_unreadable, row_key_of, unreadable_rows
from tcia_assets.metadata.unreadable_series import (
    UnreadableColumns,
    kept_fingerprints,
    newly_readable,
    unreadable_columns,
    without_unreadable,
)
from tcia_assets.sources import ProbeResult, Source, SourceRows
from tcia_assets.sources.names import FOLDER, family_of
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse, WriteResult

_UID = SERIES.key[0]
_COUNTED = (_UID, "changes")


def refresh_series(
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    probes: RequestBudget,
    *,
    accept_schema: bool = False,
) -> RefreshResult:
    """Refresh a Collection's Series; see `refresh.refresh`.

    Series that have been absent for long are probed, each with one request, within the budget. If a
    probe fails, the listing is stored and the error raised.
    """
    known = KnownReply(SERIES, key, source, warehouse, accept_schema=accept_schema)
    reply = source.rows(SERIES, key, known=known.digest)
    if reply.is_known:
        return record_again(key, known, reply, source, warehouse, at)
    unreadable = unreadable_rows(SERIES, key, reply, at, accept=accept_schema)
    run = _Refresh(key, source, warehouse, at, unreadable, reply.promised)
    with computing_on(reply.table.num_rows):
        listed = conform(listing.LISTED, reply.table)
        # The largest Collection is 100 MB a copy; the rows as received are not needed any more.
        reply = replace(reply, table=reply.table.schema.empty_table())
    # Reading, merging and writing are one step: two runs would each count a missing Series. Not
    # `update`, because the listing is recorded after the rows are written, under the same lock.
    with warehouse.lock(SERIES, key):
        with computing_on(listed.num_rows):
            before = warehouse.read_to_rewrite(SERIES, key)
            if not accept_schema:
                check_columns(SERIES, key, of_family(before, source.name).select, listed, reply)
            compared = run.compare(before, listed)
        del listed
        known.forget()
        probed = run.probe(compared.merged, probes)
        # Not while a core is held: who requests sizes may hold their lock for minutes.
        rebase_fingerprints(compared.merged.rebased, key, warehouse)
        # Three slots, because memory that is not used any more is given back at the end of each.
        count = compared.merged.rows.num_rows
        with computing_on(count):
            rows, events = run.diff(before, compared, probed)
            before = before.select(_COUNTED)  # all of it is as large as the rows to be written
        with computing_on(count):
            changes = run.write_events(before, compared, events)
            del events  # after the first listing of a Collection, as many as rows
        with computing_on(count):
            written = run.write(compared, rows, changes)
        facts = _facts(compared, probed, changes)
        is_settled = not probed.failure and _is_settled(compared, facts)
        known.keep(reply, facts_to_keep(compared.record, facts), is_settled=is_settled)
    if warehouse.has(IMAGE_ARCHIVES, key):
        # Licences can change without the images, and their files are next to the zips.
        attribution.write_collection(key, warehouse)
    if probed.failure:
        raise probed.failure
    return RefreshResult.of_reply(
        SERIES,
        key,
        replace(reply, cost=reply.cost + probed.cost),
        written,
        rows_before=compared.until_now,
        facts=facts,
        unreadable=unreadable,
    )


def add_series(
    key: str,
    reply: SourceRows,
    studies: pa.Table,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> None:
    """Add single Series to a Collection, or replace their rows; others stay as they are.

    No listing is recorded, so nothing follows from what is not in the reply.

    Args:
        key: The Collection.
        reply: Rows of these Series, all in this Collection.
        studies: StudyInstanceUID and PatientID of their Studies, for Series that lack the latter.
        source: Where the rows come from.
        warehouse: Where they are stored.
        at: The time of the request, with a time zone.

    Raises:
        DataError: The rows break their declaration.
        StorageError: The file cannot be written, or the partition is locked by another run.
    """
    unreadable = unreadable_rows(SERIES, key, reply, at)
    run = _Refresh(key, source, warehouse, at, unreadable, reply.promised, is_whole=False)
    listed = conform(listing.LISTED, reply.table)
    with warehouse.lock(SERIES, key):
        before = warehouse.read_to_rewrite(SERIES, key)
        compared = run.compare(before, listed, studies)
        rebase_fingerprints(compared.merged.rebased, key, warehouse)
        rows, events = run.diff(before, compared, ProbeResult())
        run.write(compared, rows, run.write_events(before, compared, events))
    if warehouse.has(IMAGE_ARCHIVES, key):
        attribution.write_collection(key, warehouse)


@dataclass(frozen=True)
class _Comparison:
    """A listing compared with the stored rows.

    Attributes:
        merged: The rows to be stored, before any probe.
        until_now: Number of Series that were listed until now.
        record: The row of `snapshots` for the listing; its `changes` are not counted yet. Empty if
            there is no whole listing.
        unread: The columns that cannot be read, by Series.
        unread_before: Those that could not be read when the Series was last listed.
        newly: Series that are not changed, although values can be read of them that never could.
        unlisted: The Series of `unread_before` that the listing lacks; their rows stay as they are.
        lacks_patients: Whether the listing has Series without a PatientID.
    """

    merged: listing.MergeResult
    until_now: int
    record: dict[str, Any]
    unread: UnreadableColumns
    unread_before: UnreadableColumns
    newly: Collection[str]
    unlisted: frozenset[str]
    lacks_patients: bool


@dataclass(frozen=True)
class _Refresh:
    """The refresh of the Collection `key` at a moment.

    `unreadable` has the rows of `unreadable_values` for the new listing, `promised` the columns
    that the source has. If the listing is not whole, it is no evidence about Series that it lacks,
    and is not recorded.
    """

    key: str
    source: Source
    warehouse: Warehouse
    at: datetime
    unreadable: pa.Table
    promised: Sequence[str]
    is_whole: bool = True

    def compare(
        self, before: pa.Table, listed: pa.Table, studies: pa.Table | None = None
    ) -> _Comparison:
        """Judge a listing and merge it into the stored rows."""
        settings, source = self.source.settings, self.source.name
        policy = WithdrawalPolicy(settings.withdrawal_snapshots, settings.withdrawal_hours)
        expected = filtered(before, self.source.expects(before))
        until_now, lost = listing.count_lost(expected, listed)
        earlier = plausibility.past_listings(self.warehouse, self.key, self.at)
        unexplained = lost - self._count_explained(expected, listed)
        verdict = plausibility.judge(len(listed), until_now, unexplained, earlier, self.at, policy)
        unread = unreadable_columns(self.unreadable)
        unread_before = unreadable_columns(
            self.warehouse.read_or_empty(UNREADABLE_VALUES, self.key)
        )
        own = of_family(before, source)
        newly = newly_readable(own, listed, unread, unread_before) if unread_before else ()
        merged = listing.merge(
            before,
            listed,
            at=self.at,
            source=source,
            only_adds=not (self.is_whole and verdict.plausible),
            policy=WithdrawalPolicy.of_release() if self.source.release else policy,
            fingerprints_kept=kept_fingerprints(own, listed, unread, unread_before),
            not_changed=newly,
            promised=self.promised,
            expects=self.source.expects,
        )
        rows = fill_patient_ids(merged.rows, before, self.key, self.warehouse, studies)
        merged = replace(merged, rows=rows)
        unlisted = frozenset(unread_before) - frozenset(_listed_of(listed, unread_before))
        record = self._record(listed, lost, verdict, merged.listing_id) if self.is_whole else {}
        lacks_patients = bool(listed["PatientID"].null_count)
        return _Comparison(
            merged, until_now, record, unread, unread_before, newly, unlisted, lacks_patients
        )

    def _record(
        self, listed: pa.Table, lost: int, verdict: plausibility.Verdict, listing_id: str
    ) -> dict[str, Any]:
        """Return the row of `snapshots` for a listing, without its `changes`."""
        return {
            "Collection": self.key,
            "taken_at": self.at,
            "snapshot": listing_id,
            "listed": len(listed),
            "lost": lost,
            "plausible": verdict.plausible,
            "reason": verdict.reason or None,
            "newest_release": pc.max(listed["DateReleased"]).as_py(),
            "source": self.source.name,
            "release": self.source.release or None,
        }

    def _count_explained(self, expected: pa.Table, listed: pa.Table) -> int:
        """Return of how many Series that a release, or a folder, lacks it says what became of them.

        However many these are, it is plausible that it lacks them.
        """
        if not (self.source.release or family_of(self.source.name) == FOLDER):
            return 0
        absent = listing.find_absent(expected, listed)
        if not absent.num_rows:
            return 0
        found = self.source.probe(self.key, absent, listed, absent.num_rows)
        return len(found.gone) + len(found.elsewhere)

    def probe(self, merged: listing.MergeResult, probes: RequestBudget) -> ProbeResult:
        """Probe the Series that are due, within the budget; a release sends no requests."""
        due = len(merged.due)
        limit = due if self.source.release else probes.take(due)
        if not limit:
            return ProbeResult()
        rows = merged.rows.select(["SeriesInstanceUID", "StudyInstanceUID", "missing_since"])
        is_due = pc.is_in(rows["SeriesInstanceUID"], value_set=pa.array(merged.due, pa.string()))
        listed = rows.filter(pc.is_null(rows["missing_since"]))
        return self.source.probe(self.key, rows.filter(is_due), listed, limit)

    def diff(
        self, before: pa.Table, compared: _Comparison, probed: ProbeResult
    ) -> tuple[pa.Table, pa.Table]:
        """Return the rows to be stored, with what probes found, and the events."""
        rows = compared.merged.rows
        listing_id = compared.merged.listing_id if self.is_whole else None
        if probed.gone:
            releases = self.source.gone_in(probed.gone)
            rows = listing.mark_withdrawn(rows, probed.gone, at=self.at, releases=releases)
        if probed.elsewhere:
            rows = listing.mark_moved(rows, probed.elsewhere)
        comparable = without_unreadable(
            before, rows, compared.unread, compared.unread_before, compared.newly
        )
        comparable = as_listed_now(comparable, rows, compared.merged.rebased)
        return diff_events(comparable, rows, at=self.at, listing_id=listing_id)

    def write_events(self, before: pa.Table, compared: _Comparison, events: pa.Table) -> int:
        """Write the events and what must be stored before them; return how many events there are.

        Of the rows before, the columns that count their events are needed.
        """
        unlisted = {row_key_of(SERIES, {_UID: uid}) for uid in compared.unlisted}
        # Before the nulls that it explains: a killed run leaves none without a record.
        record_unreadable(
            SERIES, self.key, self.unreadable, self.warehouse, lambda each: each not in unlisted
        )
        history.write_events(self.key, before, events, self.warehouse)
        return int(events.num_rows)

    def write(self, compared: _Comparison, rows: pa.Table, changes: int) -> WriteResult:
        """Write the rows, and the record of the listing with its number of events."""
        written = self.warehouse.write(SERIES, rows, self.key)
        if self.is_whole:
            plausibility.record_listing(compared.record | {"changes": changes}, self.warehouse)
        return written


def _is_settled(compared: _Comparison, facts: Mapping[str, int | bool | str]) -> bool:
    """Return whether the same listing, compared once more, could have no other result.

    Absences are counted and probed until they are settled, PatientIDs completed from what other
    tables have; values that cannot be read, and rows of another source, are compared by rules of
    their own.
    """
    is_odd = compared.unread or compared.unread_before or compared.merged.rebased.rows.num_rows
    is_open = facts["missing"] or compared.lacks_patients
    return bool(facts["plausible"]) and not (is_odd or is_open)


def _listed_of(listed: pa.Table, uids: Iterable[str]) -> Iterable[str]:
    """Return those of these Series that are listed."""
    chosen = pa.array(list(uids), pa.string())
    if not len(chosen):
        return []
    is_listed = pc.is_in(chosen, value_set=listed[_UID].combine_chunks())
    found: list[str] = chosen.filter(is_listed).to_pylist()
    return found


def _facts(compared: _Comparison, probed: ProbeResult, events: int) -> dict[str, int | bool | str]:
    merged, record = compared.merged, compared.record
    found = len(probed.gone) + len(probed.elsewhere)
    return {
        "known": merged.rows.num_rows - merged.moved - len(probed.elsewhere),
        "listed_before": compared.until_now,
        "listed": record["listed"],
        "new": merged.new,
        "changed": merged.changed,
        "missing": merged.missing - found,
        "reappeared": merged.reappeared,
        "withdrawn": merged.withdrawn + len(probed.gone),
        "moved": merged.moved + len(probed.elsewhere),
        "elsewhere": merged.elsewhere,
        "events": events,
        "plausible": record["plausible"],
        "implausible_because": record["reason"] or "nothing",
        "due": len(merged.due),
        "asked_singly": probed.probed,
    }
