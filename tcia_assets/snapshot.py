"""The life of each Series: what one more complete list of a Collection says about it.

What belongs here: the comparison of what is stored with what is listed now; pure. What does not:
asking the archive (`client.py`) and keeping the outcome (`warehouse.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import sql
from tcia_assets.catalog import FINGERPRINTED, SERIES, instant
from tcia_assets.conform import align, conform, empty
from tcia_assets.errors import UnknownReply, UsageError

# Complete lists without a Series after which it counts as withdrawn.
SNAPSHOTS_UNTIL_WITHDRAWN = 3

_KEY = SERIES.key[0]
_LIFE = (
    "source",
    "fingerprint",
    "first_seen_at",
    "changed_at",
    "missing_since",
    "missing_snapshots",
    "withdrawn_at",
)
# What the archive itself says of a Series: the table without its life.
LISTED = replace(SERIES, columns=tuple(c for c in SERIES.columns if c.name not in _LIFE))


@dataclass(frozen=True)
class Snapshot:
    """The partition after a complete list; each of its rows is counted once.

    `new`, `changed`, `reappeared` and `unchanged` are listed; one that reappears counts as that,
    whatever else changed. `missing` and `withdrawn` are not listed, now or for longer.
    """

    rows: pa.Table
    new: int = 0
    changed: int = 0
    reappeared: int = 0
    unchanged: int = 0
    missing: int = 0
    withdrawn: int = 0


def merge(before: pa.Table | None, now_listed: pa.Table, *, at: datetime, source: str) -> Snapshot:
    """The stored partition after a complete list of its Collection; no row is ever lost.

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
    now = pa.scalar(at, instant.arrow)
    present, counts = _present(known, listed, now, source)
    absent = _absent(known, listed, now)
    withdrawn = len(absent) - absent["withdrawn_at"].null_count
    return Snapshot(
        conform(SERIES, pa.concat_tables([present, absent])),
        **counts,
        missing=len(absent) - withdrawn,
        withdrawn=withdrawn,
    )


def fingerprints(rows: pa.Table) -> pa.Table:
    """SeriesInstanceUID and fingerprint of each row, in the order of the rows.

    The fingerprint is the MD5 of `<name>=<bytes>:<value>` of each value that is not null, by name;
    days and instants as numbers since the epoch. So it depends on no version, time zone or order
    of columns, and a column that is always null does not count.
    """
    names = sorted(name for name in FINGERPRINTED if name in rows.schema.names)
    encoded = pa.table([rows[_KEY], *(_plain(rows[name]) for name in names)], [_KEY, *names])
    pieces = " || ".join(_piece(name) for name in names) or "''"
    with sql.connect() as connection:
        connection.register("encoded", encoded)
        statement = f"SELECT {_KEY}, md5({pieces}) AS fingerprint FROM encoded"
        return sql.fetch_table(connection, statement)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts and whole numbers: what prints the same everywhere."""
    if pa.types.is_date(values.type):
        return values.cast(pa.int32())
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.int64())
    return values


def _piece(name: str) -> str:
    value = f"CAST({sql.identifier(name)} AS VARCHAR)"
    head = sql.literal(f"{name}=")
    return f"coalesce({head} || strlen({value}) || ':' || {value}, '')"


def _present(
    known: pa.Table, listed: pa.Table, now: pa.Scalar, source: str
) -> tuple[pa.Table, dict[str, int]]:
    """Rows of what is listed, and how many of them are new, changed, back or as they were."""
    place = pc.index_in(listed[_KEY], value_set=known[_KEY].combine_chunks()).combine_chunks()
    old = known.select(_LIFE).take(place)
    prints = fingerprints(listed)["fingerprint"]
    is_new = pc.is_null(place)
    is_same = pc.fill_null(pc.equal(prints, old["fingerprint"]), fill_value=False)
    is_back = pc.is_valid(old["missing_since"])
    life = {
        "source": pa.repeat(pa.scalar(source), len(listed)),
        "fingerprint": prints,
        "first_seen_at": pc.fill_null(old["first_seen_at"], now),
        "changed_at": pc.fill_null(pc.if_else(is_same, old["changed_at"], now), now),
        "missing_snapshots": pa.repeat(pa.scalar(0, pa.int64()), len(listed)),
    }
    counts = {
        "new": _count(is_new),
        "reappeared": _count(is_back),
        "unchanged": _count(pc.and_(is_same, pc.invert(is_back))),
    }
    counts["changed"] = len(listed) - sum(counts.values())
    return align(SERIES, _with(listed, life)), counts


def _absent(known: pa.Table, listed: pa.Table, now: pa.Scalar) -> pa.Table:
    """Rows of what was known and is not listed: they stay, and say since when and how often."""
    gone = known.filter(pc.invert(pc.is_in(known[_KEY], value_set=listed[_KEY].combine_chunks())))
    # Not counted further: what has been withdrawn for long must not change with each snapshot.
    times = pc.min_element_wise(
        pc.add(pc.fill_null(gone["missing_snapshots"], 0), 1), SNAPSHOTS_UNTIL_WITHDRAWN
    )
    due = pc.greater_equal(times, SNAPSHOTS_UNTIL_WITHDRAWN)
    life = {
        "missing_since": pc.fill_null(gone["missing_since"], now),
        "missing_snapshots": times,
        "withdrawn_at": pc.if_else(
            due, pc.fill_null(gone["withdrawn_at"], now), gone["withdrawn_at"]
        ),
    }
    return align(SERIES, _with(gone, life))


def _with(rows: pa.Table, columns: dict[str, pa.ChunkedArray | pa.Array]) -> pa.Table:
    kept = [name for name in rows.schema.names if name not in columns]
    return pa.table([*(rows[n] for n in kept), *columns.values()], [*kept, *columns])


def _count(flags: pa.ChunkedArray | pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)
