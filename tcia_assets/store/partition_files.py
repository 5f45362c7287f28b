"""The files of one partition: one, or several if its table has `rows_per_part`.

How a table grows by parts is in `series_parts.py`. Each file is replaced by one rename, so a reader
of the folder finds it in its old or its new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.errors import BadValue, DataError, shorten
from tcia_assets.spec import Table
from tcia_assets.store import digests, parquet_files, partitions
from tcia_assets.store.conform import check, empty
from tcia_assets.store.files import make_folder, publish_text, sha256_of

VERSION = Path("warehouse") / "VERSION"


@dataclass(frozen=True)
class WriteResult:
    """A written partition; `changed` is False if the rows on disk were the same already.

    `path` is its file, or the folder of its files.
    """

    path: Path
    rows: int
    bytes_on_disk: int
    changed: bool


class PartitionFiles:
    """The files of a partition below a data folder, by their numbers.

    Args:
        root: The data folder.
        table: The table.
        key: The partition's key; "" for an unpartitioned table.

    Raises:
        UsageError: No folder can have this key's name.
    """

    def __init__(self, root: Path, table: Table, key: str) -> None:
        self._root, self.table, self.key = root, table, key
        self._table_folder = partitions.table_folder(root, table)
        self._subfolder = partitions.subfolder(table, key)

    @property
    def folder(self) -> Path:
        """The folder of the files, whether or not it exists."""
        return partitions.file_of(self._table_folder, self.table, self.key).parent

    def path(self, number: int = 0) -> Path:
        """Return the path of a file, whether or not it exists."""
        return self.folder / partitions.part_name(number)

    def numbers(self) -> list[int]:
        """Return the numbers of the files, ascending."""
        return partitions.part_numbers(self._table_folder, self.table, self.key)

    def paths(self) -> list[Path]:
        """Return the paths of the files, by their numbers."""
        folder = self.folder
        return [folder / partitions.part_name(number) for number in self.numbers()]

    def digest(self) -> str:
        """Return a digest of the files as they were last written; "" if there are none.

        A file that an earlier version wrote has no record of it, and is read.
        """
        each = self.digests()
        if list(each) == [0]:
            return each[0]
        lines = "".join(f"{number} {recorded}\n" for number, recorded in each.items())
        return sha256(lines.encode()).hexdigest() if each else ""

    def digests(self) -> dict[int, str]:
        """Return the digest of each file as `digest`, by its number."""
        return {
            number: (digests.read(self.digest_path(number)) or (sha256_of(self.path(number)),))[-1]
            for number in self.numbers()
        }

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of a file; those that an older file lacks are null.

        Raises:
            DataError: The file is damaged.
        """
        return parquet_files.read_parquet(with_columns(self.table, columns), self.path(number))

    def row_count(self, number: int) -> int:
        """Return the number of rows of a file; 0 if it is not there.

        Raises:
            DataError: The file is damaged.
        """
        return parquet_files.count_rows(self.table, self.path(number))

    @contextmanager
    def reader(self) -> Iterator[Callable[[Sequence[str]], pa.Table]]:
        """Provide what reads columns of the first file, all of one version; empty if it is gone.

        Raises:
            DataError: The file is damaged.
        """
        path = self.path()
        if not path.exists():
            yield lambda columns: empty(with_columns(self.table, columns))
            return
        with parquet_files.open_parquet(self.table, path) as read:
            yield lambda columns: read(with_columns(self.table, columns))

    def read_to_rewrite(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a file as `read`, but only if it is as it was written.

        What is kept of its rows gets a new digest, by which damage could not be found any more.

        Raises:
            DataError: The file is damaged.
        """
        self.check_digest(number)
        return self.read(number, columns)

    def check_digest(self, number: int) -> None:
        """Raise DataError if a file differs from what was written; see `digests`."""
        path = self.path(number)
        if digests.is_changed(self.digest_path(number), path):
            problem = f"{path}: {parquet_files.CHANGED}; {parquet_files.remedy(self.table)}"
            raise DataError(problem, table=self.table.name)

    def read_batches(
        self,
        number: int,
        columns: Sequence[str] | None = None,
        rows_at_once: int = parquet_files.ROWS_PER_BATCH,
    ) -> Iterator[pa.Table]:
        """Yield some columns of a file, of any size, in tables of bounded size.

        Raises:
            DataError: The file is damaged.
        """
        table = with_columns(self.table, columns)
        return parquet_files.read_batches(table, self.path(number), rows_at_once)

    def write(
        self, number: int, rows: pa.Table | Iterable[pa.Table], made_from: str = ""
    ) -> WriteResult:
        """Replace a file; if its bytes would be the same, it stays.

        Args:
            number: Its number.
            rows: All its rows, as `conform` returns them; or several such tables, of which one is
                in memory at a time.
            made_from: What the rows were made from, which the file then says.

        Raises:
            DataError: The rows do not conform, or belong to another partition.
            StorageError: The file cannot be written, and is unchanged.
        """
        if isinstance(rows, pa.Table):
            self._check(rows)  # before a folder is made
        partitions.check_case(self._table_folder, self.table, self.key)
        partitions.rename_old_folder(self._table_folder, self.table, self.key)
        make_folder(self._table_folder / self._subfolder)
        mark_layout(self._root)
        path, written = self.path(number), []

        def write(draft: Path) -> None:
            checked = rows if isinstance(rows, pa.Table) else map(self._check, rows)
            written.append(parquet_files.write_parquet(self.table, checked, draft, made_from))

        changed = digests.publish_recorded(path, self.digest_path(number), write)
        return WriteResult(path, written[0], path.stat().st_size, changed)

    def _check(self, rows: pa.Table) -> pa.Table:
        check(self.table, rows)
        _check_key(self.table, rows, self.key)
        return rows

    def digest_path(self, number: int) -> Path:
        """Return the path of the file with the digests of a file."""
        return digests.digest_path(self._root, self.table, self.key, number)

    def remove(self, number: int) -> None:
        """Remove a file that is not needed any more."""
        digests.remove(self.digest_path(number))
        self.path(number).unlink(missing_ok=True)


def _check_key(table: Table, rows: pa.Table, key: str) -> None:
    """Raise BadValue if a row belongs to another partition."""
    if not table.partitioned_by:
        return
    others = rows[table.partitioned_by].filter(pc.not_equal(rows[table.partitioned_by], key))
    if len(others):
        problem = f"{shorten(str(others[0].as_py()))!r} does not belong in the partition {key!r}"
        raise BadValue(
            problem, table=table.name, column=table.partitioned_by, value=others[0].as_py()
        )


def mark_layout(root: Path) -> None:
    """Write the layout that this version uses, so that an older one does not write there."""
    if read_layout(root) < partitions.LAYOUT:
        publish_text(root / VERSION, f"{partitions.LAYOUT}\n")


def read_layout(root: Path) -> int:
    """Return the layout of a data folder; 0 before the first write."""
    try:
        return int((root / VERSION).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def with_columns(table: Table, columns: Sequence[str] | None) -> Table:
    """Return the table with some of its columns, in this order; by default all."""
    return _with_columns(table, tuple(columns)) if columns else table


@lru_cache(maxsize=1 << 8)
def _with_columns(table: Table, columns: tuple[str, ...]) -> Table:
    return replace(table, columns=tuple(map(table.column, columns)))
