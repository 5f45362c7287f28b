"""Compare Series with their stored rows where values cannot be read, or could not be before.

The images of such a Series are the same: only its listing is odd. So it has no change event, and
nothing is fetched again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES
from tcia_assets.metadata.fingerprints import fingerprints
from tcia_assets.store.conform import replace_column

_UID = SERIES.key[0]
# By SeriesInstanceUID, the columns whose values cannot be read.
UnreadableColumns = Mapping[str, Collection[str]]


def unreadable_columns(rows: pa.Table) -> dict[str, set[str]]:
    """Return the columns by Series, from rows of `unreadable_values`."""
    found: dict[str, set[str]] = {}
    for row in rows.to_pylist():
        if row["table_name"] == SERIES.name:
            found.setdefault(json.loads(row["row_key"])[_UID], set()).add(row["column_name"])
    return found


def kept_fingerprints(
    before: pa.Table, listed: pa.Table, now: UnreadableColumns, until_now: UnreadableColumns
) -> dict[str, str]:
    """Return the stored fingerprints of Series of which only unreadable values differ.

    A fingerprint without these values would make each of these Series a changed one.

    Args:
        before: The stored rows of `series`.
        listed: The rows of a listing, with all columns of fingerprints.
        now: What cannot be read in the listing.
        until_now: What could not be read in the one before it; it is null in `before`.
    """
    names = _compared(listed)
    old = {row[_UID]: row for row in _of(before, now, [_UID, *names, "fingerprint"])}
    kept = {}
    for row in _of(listed, now, [_UID, *names]):
        uid = row[_UID]
        compared = set(names) - set(now[uid]) - set(until_now.get(uid, ()))
        if uid in old and all(row[name] == old[uid][name] for name in compared):
            kept[uid] = old[uid]["fingerprint"]
    return kept


def newly_readable(
    before: pa.Table, listed: pa.Table, now: UnreadableColumns, until_now: UnreadableColumns
) -> set[str]:
    """Return the Series of which only values differ that could not be read since the first listing.

    Their fingerprints change, and yet they are no changed Series. Takes what `kept_fingerprints`
    takes.
    """
    uids, names = until_now.keys() - now.keys(), _compared(listed)
    old = {row[_UID]: row for row in _of(before, uids, [_UID, *names, "fingerprint"])}
    new = {row[_UID]: row for row in _of(listed, uids, [_UID, *names])}
    chosen = pc.is_in(before[_UID], value_set=pa.array(list(uids), pa.string()))
    computed = fingerprints(before.select([_UID, *names]).filter(chosen))
    # Of other values a part is in the fingerprint: the Series had them before.
    never_read = {
        uid
        for uid, fingerprint in zip(*(c.to_pylist() for c in computed.columns), strict=True)
        if fingerprint == old[uid]["fingerprint"]
    }
    return {
        uid
        for uid in never_read & new.keys()
        if all(old[uid][name] == new[uid][name] for name in set(names) - set(until_now[uid]))
    }


def without_unreadable(
    before: pa.Table,
    after: pa.Table,
    now: UnreadableColumns,
    until_now: UnreadableColumns,
    newly: Collection[str] = (),
) -> pa.Table:
    """Return the stored rows with the new values where only readability differs.

    Compared with them, a value that cannot be read is no change, and neither is one that can be
    read again and was the same before.

    Args:
        before: The stored rows of `series`.
        after: The rows to be stored.
        now: What cannot be read any more.
        until_now: What could not be read before.
        newly: Series as `newly_readable` returns them.
    """
    by_column: dict[str, set[str]] = {"fingerprint": set(newly)}
    same = _of_same_version(before, after, until_now) | set(newly)
    for uid in {*now, *until_now}:
        again = [
            name
            for name in until_now.get(uid, ())
            if uid in same or name not in FINGERPRINT_COLUMNS
        ]
        for name in {*now.get(uid, ()), *again}:
            by_column.setdefault(name, set()).add(uid)
    for name, uids in by_column.items():
        if uids:
            before = _take_over(before, after, name, uids)
    return before


def _compared(listed: pa.Table) -> list[str]:
    """Return the columns of fingerprints that the listing has.

    `series` may have more: a PatientID that the source does not list is filled in.
    """
    return [name for name in FINGERPRINT_COLUMNS if listed[name].null_count < listed.num_rows]


def _of(rows: pa.Table, uids: Iterable[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return some columns of the rows of these Series, dates and instants as numbers.

    Earlier versions of this package stored dates of the year 0, which Python has not.
    """
    chosen = pc.is_in(rows[_UID], value_set=pa.array(list(uids), pa.string()))
    found = rows.select(names).filter(chosen)
    found = pa.table([_comparable(column) for column in found.columns], names=names)
    return list(found.to_pylist())


def _comparable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_date(values.type):
        return values.cast(pa.int32())
    return values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values


def _of_same_version(before: pa.Table, after: pa.Table, uids: Iterable[str]) -> set[str]:
    """Return those of these Series whose fingerprint is the stored one."""
    old, new = (
        {(row[_UID], row["fingerprint"]) for row in _of(rows, uids, [_UID, "fingerprint"])}
        for rows in (before, after)
    )
    return {uid for uid, _ in old & new}


def _take_over(before: pa.Table, after: pa.Table, name: str, uids: Collection[str]) -> pa.Table:
    """Return the stored rows with the new values of a column for these Series."""
    keys = before[_UID].combine_chunks()
    place = pc.index_in(keys, value_set=after[_UID].combine_chunks())
    wanted = pc.is_in(keys, value_set=pa.array(list(uids), pa.string()))
    is_taken = pc.and_(wanted, pc.is_valid(place))
    new = after[name].combine_chunks().take(place)
    values = pc.if_else(is_taken, new, before[name].combine_chunks())
    return replace_column(before, name, values)
