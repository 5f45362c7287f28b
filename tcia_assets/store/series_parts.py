"""A partition that grows by parts: each of its files has all rows of some Series.

A change costs the files that it touches, each of at most about `Table.rows_per_part` rows:

- Rows of Series that the partition does not have go to the smallest file, or to a new one if that
  is full. For a few of them no large file is written again (`Table.rows_written_again`), unless
  there are many small ones already.
- Rows of a Series that it has replace those in its file.

Each file is replaced by one rename, and no Series moves to a different file. So a reader finds the
rows of each Series once, whatever it reads the folder with, and whenever a writer is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.store.conform import conform, empty
from tcia_assets.store.partition_files import PartitionFiles, WriteResult, with_columns

SERIES = "SeriesInstanceUID"
# A file of more times the limit is not read at once.
_LARGE = 4
# As many files less than half full a partition may have before they are filled further.
_MOST_SMALL_FILES = 40


def part_to_fill(row_counts: Mapping[int, int], count: int, limit: int, written_again: int) -> int:
    """Return the number of the file that new rows go to: the smallest, or a new one.

    Args:
        row_counts: The number of rows of each file, by its number.
        count: The number of new rows.
        limit: About how many rows a file has at most.
        written_again: As `Table.rows_written_again`.
    """
    smallest = min(row_counts, key=lambda number: row_counts[number], default=0)
    stored = row_counts.get(smallest, 0)
    small_files = sum(rows <= limit // 2 for rows in row_counts.values())
    is_costly = written_again and stored > max(written_again, count)
    is_too_large = is_costly and small_files < _MOST_SMALL_FILES
    return max(row_counts) + 1 if stored and (is_too_large or stored + count > limit) else smallest


class SeriesParts:
    """The files of a partition, and which Series each has; its lock is held meanwhile.

    Args:
        files: The files; their table has a column SeriesInstanceUID.
        rows_per_part: About how many rows a file has at most; by default as the table declares.
    """

    def __init__(self, files: PartitionFiles, rows_per_part: int | None = None) -> None:
        self.files = files
        self.limit = rows_per_part or files.table.rows_per_part
        self.row_counts = {number: self.count_rows(number) for number in files.numbers()}
        self.changed = False

    def count_rows(self, number: int) -> int:
        """Return the number of rows of a stored file."""
        return self.files.row_count(number)

    def series_of(self, number: int) -> pa.ChunkedArray:
        """Return the Series of a stored file, each once for each of its rows, or at least once."""
        return self.files.read(number, [SERIES])[SERIES]

    def on_write(self, number: int, rows: pa.Table | None) -> None:
        """Handle that a file was written; `rows` are None if they are too many to be held."""

    @property
    def row_count(self) -> int:
        """The number of rows of all files."""
        return sum(self.row_counts.values())

    def written(self) -> WriteResult:
        """Return what is stored now, and whether this object has changed anything."""
        size = sum(path.stat().st_size for path in self.files.paths())
        return WriteResult(self.files.folder, self.row_count, size, self.changed)

    def locate(self, series: Iterable[str]) -> dict[str, list[int]]:
        """Return, for those of these Series that are stored, the numbers of their files.

        It is one, unless somebody copied a file.
        """
        wanted = pa.array(sorted(set(series)), pa.string())
        found: dict[str, list[int]] = {}
        for number in self.row_counts if len(wanted) else ():
            stored = self.series_of(number)
            for uid in stored.filter(pc.is_in(stored, value_set=wanted)).unique().to_pylist():
                found.setdefault(uid, []).append(number)
        return found

    def read_series(self, series: Iterable[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return some columns of the stored rows of some Series; SeriesInstanceUID is one."""
        places = self.locate(series)
        found = [empty(with_columns(self.files.table, columns))]
        for number in sorted({numbers[0] for numbers in places.values()}):
            here = [uid for uid, numbers in places.items() if numbers[0] == number]
            found.append(_of_series(self.files.read(number, columns), here))
        return pa.concat_tables(found)

    def replace(self, rows: pa.Table, gone: Iterable[str] = ()) -> None:
        """Store the rows of some Series in place of those that they had.

        Args:
            rows: All rows of these Series, in any order; new Series have at most a file's rows.
            gone: Series whose rows are removed, unless there are new ones.

        Raises:
            DataError: The rows do not conform to the table, or a file to be changed is damaged.
            StorageError: A file cannot be written; it is unchanged, others may be changed.
        """
        series = set(pc.unique(rows[SERIES]).to_pylist())
        places = self.locate(series.union(gone))
        new = _of_series(rows, series - places.keys()) if places else rows
        target = self._target(new.num_rows) if new.num_rows or not self.row_counts else None
        touched = {number for numbers in places.values() for number in numbers}
        for number in sorted(touched if target is None else touched | {target}):
            here = [uid for uid, numbers in places.items() if number in numbers]
            first = [uid for uid in here if places[uid][0] == number]
            added = [_of_series(rows, first), *([new] if number == target else [])]
            self._write(number, here, added)

    def _target(self, count: int) -> int:
        """Return the number of the file that so many new rows go to."""
        return part_to_fill(self.row_counts, count, self.limit, self.files.table.rows_written_again)

    def _write(self, number: int, removed: list[str], added: list[pa.Table]) -> None:
        """Write the rows of a file without those of some Series, and with others."""
        is_large = self.row_counts.get(number, 0) > _LARGE * self.limit
        rows = None if is_large else self._sorted(number, removed, added)
        stream = self._stream(number, removed, added) if rows is None else rows
        written = self.files.write(number, stream)
        self.changed |= written.changed
        self.row_counts[number] = written.rows
        self.on_write(number, rows)

    def _sorted(self, number: int, removed: list[str], added: list[pa.Table]) -> pa.Table:
        parts = added
        if number in self.row_counts:
            parts = [_without(self.files.read_to_rewrite(number), removed), *added]
        return conform(self.files.table, pa.concat_tables(parts))

    def _stream(self, number: int, removed: list[str], added: list[pa.Table]) -> Iterator[pa.Table]:
        """Yield the rows of a file of an earlier version, too large for memory.

        They are sorted within each table only.
        """
        self.files.check_digest(number)
        for batch in self.files.read_batches(number):
            yield conform(self.files.table, _without(batch, removed))
        yield conform(self.files.table, pa.concat_tables(added))


def _without(rows: pa.Table, series: list[str]) -> pa.Table:
    return rows.filter(pc.invert(_is_in(rows, series))) if series else rows


def _of_series(rows: pa.Table, series: Iterable[str] | pa.Array) -> pa.Table:
    return rows.filter(_is_in(rows, series))


def _is_in(rows: pa.Table, series: Iterable[str] | pa.Array) -> pa.ChunkedArray:
    if not isinstance(series, pa.Array):
        series = pa.array(sorted(series), pa.string())
    return pc.is_in(rows[SERIES], value_set=series)
