"""Compare the rows of one source with the stored rows of another one.

A mirror can change from one source to another and back. Both write the values of one Series
differently, and each has some that the other lacks. So

- a difference between two sources is a change only if the Series is another version of itself:
  other counts or sizes, a later submission, another ID of its version;
- values of columns that the new source does not have stay, as long as the Series has the same
  content;
- rows that only the other source has stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import DESCRIPTION_URI, IMAGE_ARCHIVES, SERIES, SERIES_SIZES, SNAPSHOTS
from tcia_assets.sources import Source
from tcia_assets.sources.names import family_of, is_of_family
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform, replace_column
from tcia_assets.store.warehouse import Warehouse

_UID = SERIES.key[0]
_VERSION_ID = "crdc_series_uuid"
# Columns that decide whether, and by whom, a Series is expected to be listed.
_EXPECTED_BY = ("missing_since", "moved_to", "source", DESCRIPTION_URI.name)
# Columns that identify the version of a Series, in all sources that have them.
IDENTITY = ("ImageCount", "FileSize", "MaxSubmissionTimestamp", _VERSION_ID)
_DAY_US = 86_400_000_000
_REBASED = pa.schema(
    [(_UID, pa.string()), ("old", pa.string()), ("new", pa.string()), (_VERSION_ID, pa.string())]
)


@dataclass(frozen=True)
class Rebased:
    """Series whose fingerprint is different because another source describes them now.

    Attributes:
        rows: SeriesInstanceUID, its `old` and `new` fingerprint, and crdc_series_uuid.
    """

    rows: pa.Table = field(default_factory=_REBASED.empty_table)

    @property
    def uids(self) -> list[str]:
        """The SeriesInstanceUIDs."""
        found: list[str] = self.rows[_UID].to_pylist()
        return found


def is_of_other_family(stored: pa.ChunkedArray, source: str) -> pa.ChunkedArray:
    """Return whether each stored row is from a source of another family; false for no row."""
    return pc.invert(is_of_family(stored, source))


def is_same_version(stored: pa.Table, listed: pa.Table) -> pa.ChunkedArray:
    """Return whether rows, side by side, describe one version of a Series as far as is known."""
    return pc.and_(is_same_content(stored, listed), _agrees(stored, listed, _VERSION_ID))


def is_same_content(stored: pa.Table, listed: pa.Table) -> pa.ChunkedArray:
    """As `is_same_version`, by what describes the objects: count, bytes, last submission.

    A submission of the same day, or an earlier one, is none: only some sources have the time.
    """
    same = pc.and_(_agrees(stored, listed, "ImageCount"), _agrees(stored, listed, "FileSize"))
    old, new = (
        pc.divide(rows["MaxSubmissionTimestamp"].cast(pa.int64()), _DAY_US)
        for rows in (stored, listed)
    )
    return pc.and_(same, pc.fill_null(pc.less_equal(new, old), fill_value=True))


def _agrees(stored: pa.Table, listed: pa.Table, name: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(stored[name], listed[name]), fill_value=True)


def kept_values(
    listed: pa.Table,
    stored: pa.Table,
    place: pa.Array,
    names: Collection[str],
    is_kept: pa.ChunkedArray | None = None,
) -> pa.Table:
    """Return the listed rows with the stored values of columns that the source does not have.

    Args:
        listed: The listed rows, with these columns.
        stored: The stored rows.
        place: For each listed row the place of the stored one; null for none.
        names: The columns.
        is_kept: For each listed row whether its stored values stay; by default all do.
    """
    for name in names:
        old = stored[name].take(place)
        if is_kept is not None:
            old = pc.if_else(is_kept, old, pa.scalar(None, old.type))
        values = pc.coalesce(listed[name], old)
        listed = replace_column(listed, name, values)
    return listed


def rebased_rows(
    listed: pa.Table,
    hashes: pa.ChunkedArray | pa.Array,
    old: pa.ChunkedArray,
    is_rebased: pa.ChunkedArray,
) -> Rebased:
    """Return the Series of which only the source, and so the fingerprint, is another one."""
    rows = pa.table([listed[_UID], old, hashes, listed[_VERSION_ID]], schema=_REBASED)
    return Rebased(rows.filter(is_rebased))


def rebase_fingerprints(rebased: Rebased, key: str, warehouse: Warehouse) -> None:
    """Replace the fingerprints of re-based Series in the manifest and in `series_sizes`.

    So neither a zip nor a size is requested again. Must be called before the rows of `series` are
    written: a run that is killed in between is completed by the next one.
    """
    if not rebased.rows.num_rows:
        return
    for table in (IMAGE_ARCHIVES, SERIES_SIZES):
        if warehouse.has(table, key):
            with warehouse.update(table, key) as partition:
                rows = _with_new_fingerprints(partition.rows, rebased.rows)
                if not rows.equals(partition.rows):
                    partition.rows = rows


def as_listed_now(before: pa.Table, after: pa.Table, rebased: Rebased) -> pa.Table:
    """Return the stored rows of `series` with the new source's values of re-based Series.

    Compared with them, the difference between two sources is no change event; that a Series is
    listed again, or not, still is one.
    """
    if not rebased.rows.num_rows:
        return before
    names = SERIES.column_names[: SERIES.column_names.index("fingerprint") + 1]
    place = pc.index_in(before[_UID], value_set=after[_UID].combine_chunks())
    is_rebased = pc.is_in(before[_UID], value_set=rebased.rows[_UID].combine_chunks())
    new = after.select(names).take(place.combine_chunks())
    for name in names:
        before = replace_column(before, name, pc.if_else(is_rebased, new[name], before[name]))
    return before


def _with_new_fingerprints(stored: pa.Table, rebased: pa.Table) -> pa.Table:
    place = pc.index_in(stored[_UID], value_set=rebased[_UID].combine_chunks())
    pairs = rebased.take(place.combine_chunks())
    is_meant = pc.fill_null(pc.equal(stored["fingerprint"], pairs["old"]), fill_value=False)
    stored = replace_column(
        stored, "fingerprint", pc.if_else(is_meant, pairs["new"], stored["fingerprint"])
    )
    if _VERSION_ID not in stored.column_names:
        return stored
    is_unknown = pc.and_(is_meant, pc.is_null(stored[_VERSION_ID]))
    return replace_column(
        stored, _VERSION_ID, pc.if_else(is_unknown, pairs[_VERSION_ID], stored[_VERSION_ID])
    )


# --- Tables of which each source lists its own rows -----------------------------------------------


def of_family(rows: pa.Table, source: str) -> pa.Table:
    """Return the stored rows of `series` that are from a source of this one's family."""
    return filtered(rows, is_of_family(rows["source"], source))


def filtered(rows: pa.Table, is_meant: pa.ChunkedArray) -> pa.Table:
    """Return these rows: if they are all, the table itself, as the largest is 100 MB a copy."""
    return rows if pc.all(is_meant, min_count=0).as_py() else rows.filter(is_meant)


def is_first_of_family(table: Table, key: str, source: Source, warehouse: Warehouse) -> bool:
    """Return whether a Collection was last compared with a source of another family, if ever.

    Args:
        table: The table; false for one without Collections.
        key: The partition.
        source: The source that has answered now.
        warehouse: Where listings are recorded.
    """
    if table.partitioned_by != SNAPSHOTS.partitioned_by:
        return False
    rows = warehouse.read_or_empty(SNAPSHOTS, key, ["taken_at", "source"])
    if not rows.num_rows:
        return False
    newest = rows.sort_by("taken_at")["source"][-1].as_py()
    return newest is not None and family_of(newest) != family_of(source.name)


def with_stored(
    table: Table,
    key: str,
    rows: pa.Table,
    promised: Sequence[str],
    source: Source,
    warehouse: Warehouse,
) -> pa.Table:
    """Return the rows of a Collection's table with what only other sources have.

    These are the values of columns that this source does not have, and the rows of Patients or
    Studies whose Series this source does not list.

    Args:
        table: `patients` or `studies`.
        key: The Collection.
        rows: The rows that the source lists.
        promised: The columns that the source has.
        source: The source.
        warehouse: Where the other rows are.
    """
    stored = warehouse.read_to_rewrite(table, key)
    identity = next(name for name in table.key if name != table.partitioned_by)
    place = pc.index_in(rows[identity], value_set=stored[identity].combine_chunks())
    left_out = [name for name in table.column_names if promised and name not in promised]
    left_out = [name for name in left_out if name not in table.key]
    rows = kept_values(rows, stored, place.combine_chunks(), left_out)
    absent = stored.filter(
        pc.invert(pc.is_in(stored[identity], value_set=rows[identity].combine_chunks()))
    )
    if not absent.num_rows:
        return rows
    series = warehouse.read_or_empty(SERIES, key, [identity, *_EXPECTED_BY])
    is_here = pc.and_(pc.is_null(series["missing_since"]), pc.is_null(series["moved_to"]))
    of_others = series.filter(pc.and_(is_here, pc.invert(source.expects(series))))
    stays = pc.is_in(absent[identity], value_set=of_others[identity].combine_chunks())
    return conform(table, pa.concat_tables([rows, absent.filter(stays)]))
