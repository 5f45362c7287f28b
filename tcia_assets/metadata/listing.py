"""Merge a listing, a complete list of a Collection's Series, into the stored rows of `series`.

Pure functions over Arrow tables: requests and writes are in `refresh_series.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SERIES, instant
from tcia_assets.errors import UnknownReply, UsageError
from tcia_assets.metadata.absence import (
    DEFAULT_POLICY,
    WithdrawalPolicy,
    absent_counts,
    count_absence,
    is_due,
)
from tcia_assets.metadata.fingerprints import fingerprints
from tcia_assets.metadata.other_sources import (
    IDENTITY,
    Rebased,
    is_of_other_family,
    is_same_content,
    is_same_version,
    kept_values,
    rebased_rows,
)
from tcia_assets.store.conform import align, conform, count_true, replace_column

_KEY = SERIES.key[0]
_ROWS_AT_ONCE = 1 << 12
# Returns for each row of `series` whether a listing should have it.
Expects = Callable[[pa.Table], pa.ChunkedArray]
# The columns that this package maintains; they are behind those that a source returns.
_OURS = SERIES.column_names[SERIES.column_names.index("source") :]
# The table `series` as a source lists it: without the columns that this package maintains.
LISTED = replace(SERIES, columns=tuple(c for c in SERIES.columns if c.name not in _OURS))


@dataclass(frozen=True)
class MergeResult:
    """The partition of `series` after a listing, and how many rows are in which state.

    Each row is counted once.

    Attributes:
        rows: The partition.
        listing_id: Identifies the listing: its instant, and a hash of all that it listed.
        due: UIDs of Series absent for so long that only a probe of each must still confirm that
            it is withdrawn.
        new: Listed for the first time.
        changed: Listed with a changed fingerprint.
        reappeared: Listed again after an absence, changed or not.
        unchanged: Listed as before.
        missing: Not listed, in this listing or for longer.
        moved: Not listed, and moved to a different Collection.
        withdrawn: Not listed, and withdrawn.
        elsewhere: Not listed, and not expected in this listing: another source has listed them.
        rebased: Series with a new fingerprint that are not changed; see `Rebased`.
    """

    rows: pa.Table
    listing_id: str = ""
    due: tuple[str, ...] = ()
    rebased: Rebased = field(default_factory=Rebased)
    new: int = 0
    changed: int = 0
    reappeared: int = 0
    unchanged: int = 0
    missing: int = 0
    moved: int = 0
    withdrawn: int = 0
    elsewhere: int = 0


def _expect_all(rows: pa.Table) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(pa.scalar(value=True), len(rows))])


def merge(
    before: pa.Table,
    listed: pa.Table,
    *,
    at: datetime,
    source: str,
    only_adds: bool = False,
    policy: WithdrawalPolicy = DEFAULT_POLICY,
    fingerprints_kept: Mapping[str, str] = MappingProxyType({}),
    not_changed: Collection[str] = (),
    promised: Collection[str] = (),
    expects: Expects = _expect_all,
) -> MergeResult:
    """Merge a listing into the stored partition; no row is ever removed.

    A listing alone withdraws nothing: it only makes Series due. Of a Series that another source has
    listed before, the values stay that this one does not have, and a mere difference between two
    sources is no change (see `other_sources.py`).

    Args:
        before: The stored rows of `series`; none before the first listing.
        listed: The rows of the listing, with any columns of `LISTED`.
        at: When it was requested, with a time zone.
        source: The name of the source, for the column `source`.
        only_adds: Leave Series that the listing lacks as they are.
        policy: When an absent Series is due.
        fingerprints_kept: Fingerprints by UID, in place of those of the listed values.
        not_changed: UIDs of Series that are not changed although their fingerprints differ.
        promised: The columns that the source has; by default all of them.
        expects: Returns for each stored row whether this listing should have it, as
            `Source.expects`. The absence of others means nothing.

    Raises:
        UnknownReply: Nothing is listed although Series are known, which is taken for an error.
        DataError: The listing breaks its declaration.
    """
    if at.tzinfo is None:
        raise UsageError(f"the time of a listing needs a time zone: {at.isoformat()}")
    listed = conform(LISTED, listed)
    known = align(SERIES, before)
    if known.num_rows and not listed.num_rows:
        raise UnknownReply(f"no Series are listed, although {known.num_rows} are known")
    now = pa.scalar(at, instant.arrow_type)
    # First the absent ones: finding them takes as much memory as the rows that are made then.
    unlisted = known.filter(pc.invert(_is_listed(known, listed)))
    is_expected = expects(unlisted)
    others, unlisted = unlisted.filter(pc.invert(is_expected)), unlisted.filter(is_expected)
    hashes = _fingerprints(listed, fingerprints_kept)
    left_out = [c for c in LISTED.column_names if promised and c not in promised]
    present, rebased, counts = _present(known, listed, hashes, now, source, not_changed, left_out)
    absent = unlisted if only_adds else count_absence(unlisted, now, policy)
    # A table in one piece is not copied when it is written.
    parts = [part for part in (present, absent, others) if part.num_rows] or [present]
    rows = conform(SERIES, _with_listed_since(pa.concat_tables(parts)))
    due = () if only_adds else tuple(absent.filter(is_due(absent, policy))[_KEY].to_pylist())
    counts |= absent_counts(pa.concat_tables([absent, others]))
    counts["elsewhere"] = rows.num_rows - sum(counts.values())
    return MergeResult(rows, _listing_id(present, at), due, rebased, **counts)


def find_absent(before: pa.Table, listed: pa.Table) -> pa.Table:
    """Return the rows of Series that were listed until now and that the listing lacks."""
    was_listed = pc.is_null(before["missing_since"])
    return before.filter(pc.and_(was_listed, pc.invert(_is_listed(before, listed))))


def mark_withdrawn(
    rows: pa.Table,
    uids: Collection[str],
    *,
    at: datetime,
    releases: Mapping[str, str] = MappingProxyType({}),
) -> pa.Table:
    """Return the rows of `series` with these Series withdrawn.

    Args:
        rows: The rows.
        uids: The Series.
        at: When they were found to be.
        releases: The release that first lacked each, for a source with releases.
    """
    now = pa.scalar(at, instant.arrow_type)
    is_withdrawn = pc.is_in(rows[_KEY], value_set=pa.array(uids, pa.string()))
    withdrawn_at = pc.if_else(is_withdrawn, now, rows["withdrawn_at"])
    rows = replace_column(rows, "withdrawn_at", withdrawn_at)
    if not releases:
        return rows
    place = _array(pc.index_in(rows[_KEY], value_set=pa.array(releases.keys(), pa.string())))
    names = pa.array(releases.values(), pa.string()).take(place)
    found = pc.coalesce(names, _array(rows["withdrawn_in_release"]))
    return replace_column(rows, "withdrawn_in_release", pa.chunked_array([found]))


def mark_moved(rows: pa.Table, homes: Mapping[str, str | None]) -> pa.Table:
    """Return the rows of `series` with these Series moved to the named Collections.

    None as the name marks a Series as belonging to its own Collection again.
    """
    uids, names = pa.array(homes.keys(), pa.string()), pa.array(homes.values(), pa.string())
    place = pc.index_in(rows[_KEY], value_set=uids)
    moved_to = pc.if_else(pc.is_valid(place), names.take(_array(place)), rows["moved_to"])
    return replace_column(rows, "moved_to", moved_to)


def count_lost(before: pa.Table, listed: pa.Table) -> tuple[int, int]:
    """Return how many Series were listed until now, and how many of them the listing lacks."""
    until_now = before.select([_KEY]).filter(pc.is_null(before["missing_since"]))
    return len(until_now), len(until_now) - count_true(_is_listed(until_now, listed))


def _is_listed(rows: pa.Table, listed: pa.Table) -> pa.ChunkedArray:
    """Return whether the listing has the Series of each row."""
    # For no rows, as before the first listing, the keys of the listing need not be hashed.
    keys = listed[_KEY] if rows.num_rows else listed[_KEY].slice(0, 0)
    return pc.is_in(rows[_KEY], value_set=_array(keys))


def _present(
    known: pa.Table,
    listed: pa.Table,
    hashes: pa.ChunkedArray | pa.Array,
    now: pa.Scalar,
    source: str,
    not_changed: Collection[str],
    left_out: Collection[str],
) -> tuple[pa.Table, Rebased, dict[str, int]]:
    """Return the rows of the listed Series, and how many are new, changed, back or unchanged.

    Values of columns that the source leaves out stay as they were stored.
    """
    place = _array(pc.index_in(listed[_KEY], value_set=_array(known[_KEY])))
    old = known.select(_OURS).take(place)
    is_new = pc.is_null(place)
    is_same = pc.fill_null(pc.equal(hashes, old["fingerprint"]), fill_value=False)
    is_rebased = is_of_other_family(old["source"], source)
    if known.num_rows and (left_out or pc.any(is_rebased).as_py()):
        compared = known.select(IDENTITY).take(place)
        is_rebased = pc.and_(is_rebased, is_same_version(compared, listed))
        is_kept = is_same_content(compared, listed)
        listed = kept_values(listed, known, place, left_out, is_kept)
    rebased = rebased_rows(listed, hashes, old["fingerprint"], is_rebased)
    is_same = pc.or_(is_same, is_rebased)
    if not_changed:
        exempt = pc.is_in(listed[_KEY], value_set=pa.array(list(not_changed), pa.string()))
        is_same = pc.or_(is_same, exempt)
    is_back = pc.is_valid(old["missing_since"])
    ours = {
        "fingerprint": hashes,
        "first_seen_at": pc.fill_null(old["first_seen_at"], now),
        "listed_since": pc.if_else(pc.or_(is_new, is_back), now, old["listed_since"]),
        "changed_at": pc.fill_null(pc.if_else(is_same, old["changed_at"], now), now),
        # A Series listed by two Collections belongs to the one that began to list it last.
        "moved_to": pc.if_else(is_back, pa.scalar(None, pa.string()), old["moved_to"]),
        "changes": old["changes"],
    }
    counts = {
        "new": count_true(is_new),
        "reappeared": count_true(is_back),
        "unchanged": count_true(pc.and_(is_same, pc.invert(is_back))),
    }
    counts["changed"] = len(listed) - sum(counts.values())
    rows = align(SERIES, _with_columns(listed, ours), source=source, missing_snapshots=0)
    return rows, rebased, counts


def _fingerprints(listed: pa.Table, kept: Mapping[str, str]) -> pa.ChunkedArray | pa.Array:
    hashes = fingerprints(listed)["fingerprint"]
    if not kept:
        return hashes
    place = pc.index_in(listed[_KEY], value_set=pa.array(kept.keys(), pa.string()))
    return pc.coalesce(pa.array(kept.values(), pa.string()).take(_array(place)), _array(hashes))


def _listing_id(listed: pa.Table, at: datetime) -> str:
    # Hashed in long texts: row by row takes Python seconds, and one text is as long as the listing.
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(listed), _ROWS_AT_ONCE):
        part = listed.slice(start, _ROWS_AT_ONCE)
        lines = _array(pc.binary_join_element_wise(part[_KEY], part["fingerprint"], " "))
        one_list = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
        digest.update(b"\n" if start else b"")
        digest.update(pc.binary_join(one_list, "\n")[0].as_buffer())
    return listing_id(at, digest.hexdigest()[:12])


def listing_id(at: datetime, content: str) -> str:
    """Return the ID of a listing: its instant, and a hash of all that it listed."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ} {content}"


def content_of(listing_id: str) -> str:
    """Return the hash of all that a listing listed, from its ID."""
    return listing_id.rpartition(" ")[2]


def _with_listed_since(rows: pa.Table) -> pa.Table:
    # Rows that were stored before this column existed.
    listed_since = pc.coalesce(rows["listed_since"], rows["first_seen_at"])
    return replace_column(rows, "listed_since", listed_since)


def _array(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _with_columns(rows: pa.Table, columns: dict[str, pa.ChunkedArray | pa.Array]) -> pa.Table:
    kept = [name for name in rows.schema.names if name not in columns]
    return pa.table([*(rows[n] for n in kept), *columns.values()], [*kept, *columns])
