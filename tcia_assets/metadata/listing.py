"""The life of each Series: what one more complete list of a Collection says about it.

What belongs here: the comparison of what is stored with what is listed now; pure. What does not:
asking the archive (`client.py`) and keeping the outcome (`warehouse.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES, instant
from tcia_assets.errors import UnknownReply, UsageError
from tcia_assets.store import sql
from tcia_assets.store.conform import align, conform, empty

_KEY = SERIES.key[0]
# What a fingerprint is made from is several times as long as the row.
_ROWS_AT_ONCE = 1 << 12
_LIFE = (
    "source",
    "fingerprint",
    "first_seen_at",
    "listed_since",
    "changed_at",
    "missing_since",
    "missing_snapshots",
    "missing_counted_at",
    "withdrawn_at",
    "moved_to",
    "changes",
)
# What the archive itself says of a Series: the table without its life.
LISTED = replace(SERIES, columns=tuple(c for c in SERIES.columns if c.name not in _LIFE))


@dataclass(frozen=True)
class Patience:
    """When a missing Series is due: after so many snapshots without it, so many hours apart."""

    snapshots: int = 3
    hours: int = 20

    @property
    def gap(self) -> timedelta:
        return timedelta(hours=self.hours)


@dataclass(frozen=True)
class Snapshot:
    """The partition after a complete list; each of its rows is counted once.

    `new`, `changed`, `reappeared` and `unchanged` are listed; one that reappears counts as that,
    whatever else changed. `missing`, `moved` and `withdrawn` are not listed, now or for longer; one
    that is now in another Collection counts as moved, and as nothing else. `due` are the UIDs of
    those missing for so long that only the archive's word on each is wanting for a withdrawal.
    `name` tells this snapshot from others: its instant, and a hash of all that it listed.
    """

    rows: pa.Table
    name: str = ""
    due: tuple[str, ...] = ()
    new: int = 0
    changed: int = 0
    reappeared: int = 0
    unchanged: int = 0
    missing: int = 0
    moved: int = 0
    withdrawn: int = 0


def merge(
    before: pa.Table | None,
    now_listed: pa.Table,
    *,
    at: datetime,
    source: str,
    only_adds: bool = False,
    patience: Patience = Patience(),
) -> Snapshot:
    """The stored partition after a complete list of its Collection; no row is ever lost.

    Where it `only_adds`, a Series that the list lacks is as it was. Nothing is withdrawn by a list
    alone: `withdrawn` is for those that are `due`.

    Raises:
        UnknownReply: nothing is listed where Series were known; that is no answer.
        DataError: the list breaks its declaration.
    """
    if at.tzinfo is None:
        raise UsageError(f"the time of a snapshot needs a time zone: {at.isoformat()}")
    listed = conform(LISTED, now_listed)
    known = align(SERIES, before) if before is not None else empty(SERIES)
    if known.num_rows and not listed.num_rows:
        raise UnknownReply(f"no Series are listed where {known.num_rows} were known")
    now = pa.scalar(at, instant.arrow_type)
    # First what is gone: to look for it takes as much memory as the rows that are made then.
    gone = known.filter(pc.invert(pc.is_in(known[_KEY], value_set=_values(listed[_KEY]))))
    present, counts = _present(known, listed, now, source)
    absent = align(SERIES, gone) if only_adds else _absent(gone, now, patience)
    rows = conform(SERIES, _since(pa.concat_tables([present, absent])))
    due = () if only_adds else tuple(absent.filter(_is_due(absent, patience))[_KEY].to_pylist())
    return Snapshot(rows, _name(present, at), due, **counts, **_standing(absent))


def withdrawn(rows: pa.Table, uids: Collection[str], *, at: datetime) -> pa.Table:
    """The rows, these Series withdrawn."""
    now = pa.scalar(at, instant.arrow_type)
    is_it = pc.is_in(rows[_KEY], value_set=pa.array(uids, pa.string()))
    return _set(rows, "withdrawn_at", pc.if_else(is_it, now, rows["withdrawn_at"]))


def moved(rows: pa.Table, homes: Mapping[str, str | None]) -> pa.Table:
    """The rows, these Series belonging to another Collection, or (None) to this one again."""
    uids, names = pa.array(homes.keys(), pa.string()), pa.array(homes.values(), pa.string())
    place = pc.index_in(rows[_KEY], value_set=uids)
    homes_now = pc.if_else(pc.is_valid(place), names.take(_values(place)), rows["moved_to"])
    return _set(rows, "moved_to", homes_now)


def lost(before: pa.Table | None, listed: pa.Table) -> tuple[int, int]:
    """How many Series were listed until now, and how many of these the list lacks."""
    if before is None:
        return 0, 0
    until_now = before[_KEY].filter(pc.is_null(before["missing_since"]))
    there = _count(pc.is_in(until_now, value_set=_values(listed[_KEY])))
    return len(until_now), len(until_now) - there


def fingerprints(rows: pa.Table) -> pa.Table:
    """SeriesInstanceUID and fingerprint of each row, in the order of the rows.

    The fingerprint is the MD5 of `<name>=<bytes>:<value>` of each value that is not null, by name;
    days and instants as numbers since the epoch. So it depends on no version, time zone or order
    of columns, and a column that is always null does not count.
    """
    # What a database of its own took for many rows goes back to the system when it is closed.
    with sql.scratch() if len(rows) <= _ROWS_AT_ONCE else sql.connect() as connection:
        slices = range(0, max(len(rows), 1), _ROWS_AT_ONCE)
        prints = [_prints(rows.slice(start, _ROWS_AT_ONCE), connection) for start in slices]
    pa.default_memory_pool().release_unused()
    return pa.table([rows[_KEY], pa.chunked_array(prints)], [_KEY, "fingerprint"])


def _prints(rows: pa.Table, connection: sql.Connection) -> pa.Array:
    names = sorted(name for name in FINGERPRINT_COLUMNS if name in rows.schema.names)
    # In Arrow, which joins all pieces of a row at once; in SQL each would copy those before it.
    pieces = [_piece(name, _plain(rows[name])) for name in names]
    nothing = pa.repeat(pa.scalar(""), len(rows))
    whole = pc.binary_join_element_wise(nothing, *pieces, "", null_handling="skip")
    connection.register("joined", pa.table([whole], ["whole"]))
    found = sql.fetch_table(connection, "SELECT md5(whole) AS fingerprint FROM joined")
    return _values(found["fingerprint"])


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As texts that are the same everywhere."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return values.cast(pa.string())


def _piece(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """What each value adds; null where it is."""
    sizes = pc.binary_length(values).cast(pa.string())
    return pc.binary_join_element_wise(f"{name}=", sizes, ":", values, "")


def _present(
    known: pa.Table, listed: pa.Table, now: pa.Scalar, source: str
) -> tuple[pa.Table, dict[str, int]]:
    """Rows of what is listed, and how many of them are new, changed, back or as they were."""
    place = _values(pc.index_in(listed[_KEY], value_set=_values(known[_KEY])))
    old = known.select(_LIFE).take(place)
    prints = fingerprints(listed)["fingerprint"]
    is_new = pc.is_null(place)
    is_same = pc.fill_null(pc.equal(prints, old["fingerprint"]), fill_value=False)
    is_back = pc.is_valid(old["missing_since"])
    nowhere = pa.scalar(None, pa.string())
    life = {
        "source": pa.repeat(pa.scalar(source), len(listed)),
        "fingerprint": prints,
        "first_seen_at": pc.fill_null(old["first_seen_at"], now),
        "listed_since": pc.if_else(pc.or_(is_new, is_back), now, old["listed_since"]),
        "changed_at": pc.fill_null(pc.if_else(is_same, old["changed_at"], now), now),
        "missing_snapshots": pa.repeat(pa.scalar(0, pa.int64()), len(listed)),
        # One that two Collections list belongs to where it came last.
        "moved_to": pc.if_else(is_back, nowhere, old["moved_to"]),
        "changes": old["changes"],
    }
    counts = {
        "new": _count(is_new),
        "reappeared": _count(is_back),
        "unchanged": _count(pc.and_(is_same, pc.invert(is_back))),
    }
    counts["changed"] = len(listed) - sum(counts.values())
    return align(SERIES, _with(listed, life)), counts


def _absent(gone: pa.Table, now: pa.Scalar, patience: Patience) -> pa.Table:
    """Rows of what is not listed: they stay, and say since when and how often."""
    times, counted_at = pc.fill_null(gone["missing_snapshots"], 0), gone["missing_counted_at"]
    gap = pa.scalar(patience.gap, pa.duration("us"))
    # Not counted further than needed: what is gone for long must not change with each snapshot. Nor
    # soon again: a dozen lists of one bad hour are one list.
    waits = pc.or_(
        pc.greater_equal(times, patience.snapshots),
        pc.fill_null(pc.greater(pc.add(counted_at, gap), now), fill_value=False),
    )
    settled = pc.or_(pc.is_valid(gone["withdrawn_at"]), pc.is_valid(gone["moved_to"]))
    stays = pc.or_(waits, pc.and_(settled, pc.is_valid(gone["missing_since"])))
    life = {
        "missing_since": pc.fill_null(gone["missing_since"], now),
        "missing_snapshots": pc.if_else(stays, times, pc.add(times, 1)),
        # By a clock that has been set back since, it would be counted never again.
        "missing_counted_at": pc.if_else(
            pc.or_kleene(pc.invert(stays), pc.greater(counted_at, now)), now, counted_at
        ),
    }
    return align(SERIES, _with(gone, life))


def _is_due(absent: pa.Table, patience: Patience) -> pa.ChunkedArray:
    enough = pc.greater_equal(absent["missing_snapshots"], patience.snapshots)
    open_ = pc.and_(pc.is_null(absent["withdrawn_at"]), pc.is_null(absent["moved_to"]))
    return pc.and_(enough, open_)


def _standing(absent: pa.Table) -> dict[str, int]:
    has_moved = pc.is_valid(absent["moved_to"])
    is_withdrawn = pc.and_(pc.is_valid(absent["withdrawn_at"]), pc.invert(has_moved))
    counts = {"moved": _count(has_moved), "withdrawn": _count(is_withdrawn)}
    # What a list lacks that only adds is not missing.
    is_gone = _count(pc.or_(pc.is_valid(absent["missing_since"]), has_moved))
    return counts | {"missing": is_gone - sum(counts.values())}


def _name(listed: pa.Table, at: datetime) -> str:
    # Long texts, not rows, which would take Python seconds; nor one, as long as the whole list.
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(listed), _ROWS_AT_ONCE):
        part = listed.slice(start, _ROWS_AT_ONCE)
        each = _values(pc.binary_join_element_wise(part[_KEY], part["fingerprint"], " "))
        whole = pa.ListArray.from_arrays(pa.array([0, len(each)], pa.int32()), each)
        digest.update(b"\n" if start else b"")
        digest.update(pc.binary_join(whole, "\n")[0].as_buffer())
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ} {digest.hexdigest()[:12]}"


def _since(rows: pa.Table) -> pa.Table:
    # Rows that were stored before there was this column.
    return _set(rows, "listed_since", pc.coalesce(rows["listed_since"], rows["first_seen_at"]))


def _set(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)


def _values(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _with(rows: pa.Table, columns: dict[str, pa.ChunkedArray | pa.Array]) -> pa.Table:
    kept = [name for name in rows.schema.names if name not in columns]
    return pa.table([*(rows[n] for n in kept), *columns.values()], [*kept, *columns])


def _count(flags: pa.ChunkedArray | pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)
