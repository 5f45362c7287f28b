"""The tables on disk: Parquet partitions, and DuckDB views over them.

This module is the one way to them; how a partition is stored is in `partition_files.py`, how the
views are built in `views.py` and queried in `queries.py`, what a table's rows must be in
`conform.py`.

    <root>/warehouse/...      the partitions, and their digests (`digests.py`)
    <root>/warehouse.duckdb   the views
    <root>/.locks/<table>/... the locks of partitions
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import TABLES
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.settings import Settings
from tcia_assets.spec import Table
from tcia_assets.store import parquet_files, partitions, sql
from tcia_assets.store.archives import Archives, open_archives
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.partition_files import (
    PartitionFiles,
    WriteResult,
    read_layout,
    with_columns,
)
from tcia_assets.store.queries import Queries
from tcia_assets.store.table_check import VerifiedTables, verify_tables
from tcia_assets.store.views import Views

__all__ = ["PartitionUpdate", "Warehouse", "WriteResult"]


class PartitionUpdate:
    """A partition under its lock; assign `rows` to replace it when `Warehouse.update` ends.

    `written` is the result of that; it is there only after the end, and only if rows were assigned.
    """

    written: WriteResult

    def __init__(self, warehouse: Warehouse, table: Table, key: str) -> None:
        self._warehouse, self._table, self._key = warehouse, table, key
        self._rows: pa.Table | None = None
        self.is_assigned = False

    @property
    def rows(self) -> pa.Table:
        """The stored rows, read when first used, or those assigned since."""
        if self._rows is None:
            self._rows = self.read()
        return self._rows

    @rows.setter
    def rows(self, rows: pa.Table) -> None:
        self._rows, self.is_assigned = rows, True

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return some columns of the stored rows."""
        return self._warehouse.read_to_rewrite(self._table, self._key, columns)


class Warehouse:
    """The tables below a data folder, and their only writer.

    A reader finds each partition complete, in its old or its new version, whatever happens to its
    writers.

    Args:
        root: The data folder (TCIA_DATA_DIR); it need not exist yet.
        archives: Where the zips of Series are; by default the folder `archives` in the data folder.
        read_only: Never build the views: if those on disk are not current, views in memory are
            used, which need a file of each table.

    Raises:
        UsageError: DuckDB cannot read below this path, or a newer version has written there.
    """

    def __init__(
        self, root: Path | str, *, archives: Archives | None = None, read_only: bool = False
    ) -> None:
        # Resolved, so that the views are the same by whichever path the folder is reached.
        self.root = Path(root).resolve()
        self.archives = archives or FolderArchives(self.root / "archives")
        if "\\" in str(self.root):
            raise UsageError(f"DuckDB cannot read below a path with a backslash: {self.root}")
        self._check_layout()
        self._views, self._read_only = Views(self.root), read_only
        self._queries = Queries(self._views, may_build=not read_only)

    @classmethod
    def of(cls, settings: Settings, *, read_only: bool = False) -> Warehouse:
        """Return the warehouse in the data folder of the settings, with their store of zips."""
        root = settings.root.resolve()
        archives = open_archives(settings.archives_url, root, settings.cache_bytes)
        return cls(root, archives=archives, read_only=read_only)

    def __reduce__(self) -> tuple[Callable[[Path], Warehouse], tuple[Path]]:
        """Pickle the places only: a connection does not survive in another process."""
        made = partial(Warehouse, archives=self.archives, read_only=self._read_only)
        return made, (self.root,)

    def _check_layout(self) -> None:
        layout = read_layout(self.root)
        if layout > partitions.LAYOUT:
            raise UsageError(
                f"{self.root} was written by a newer version of tcia_assets (layout {layout}; this "
                f"one knows up to {partitions.LAYOUT}): upgrade it"
            )

    def migrate(self, *, dry_run: bool = False) -> int:
        """Rename the folders of an earlier layout.

        Nothing is read or written, and a process that reads meanwhile finds either name.

        Args:
            dry_run: Only count them.

        Returns:
            How many there are.

        Raises:
            StorageError: A folder cannot be renamed. The others are, and may be.
        """
        found = 0
        for table in TABLES:
            folder = partitions.table_folder(self.root, table)
            for key in self.keys(table):
                if dry_run:
                    found += self.path(table, key).parent.name != partitions.subfolder(table, key)
                else:
                    found += partitions.rename_old_folder(folder, table, key)
        return found

    def outdated(self) -> list[tuple[Table, str]]:
        """Return table and key of each partition that was written when its table had other columns.

        They are read as they are, with nulls for columns that they lack. But other readers of
        Parquet take the columns of a table's first file for those of all.

        Raises:
            DataError: A file is damaged.
        """
        return [
            (table, key)
            for table in TABLES
            for key in (self.keys(table) if table.partitioned_by else [""] * self.has(table))
            if not all(parquet_files.is_current(table, p) for p in self.files(table, key).paths())
        ]

    def rewrite(self, table: Table, key: str) -> None:
        """Write a partition with the columns that its table has now; its values stay.

        Raises:
            Busy: Another run has held its lock for ten minutes.
            DataError, StorageError: It cannot be read or written, and is unchanged.
        """
        files = self.files(table, key)
        with self.lock(table, key):
            for number in files.numbers():
                files.write(number, conform(table, files.read_to_rewrite(number)))

    @property
    def is_read_only(self) -> bool:
        """Whether nothing may be written below the data folder."""
        return self._read_only

    @property
    def database(self) -> Path:
        """The DuckDB file with the views."""
        return self._views.database

    # --- Partitions -------------------------------------------------------------------------------

    def path(self, table: Table, key: str = "") -> Path:
        """Return the path of a partition's first file, whether or not it exists.

        Raises:
            UsageError: No folder can have this key's name.
        """
        return partitions.file_of(partitions.table_folder(self.root, table), table, key)

    def has(self, table: Table, key: str = "") -> bool:
        """Return whether the partition exists."""
        return bool(self.files(table, key).numbers())

    def files(self, table: Table, key: str = "") -> PartitionFiles:
        """Return the files of a partition, of which a table with `rows_per_part` has several.

        Raises:
            UsageError: No folder can have this key's name.
        """
        return PartitionFiles(self.root, table, key)

    def keys(self, table: Table) -> list[str]:
        """Return the keys of the existing partitions, sorted; none for an unpartitioned table."""
        return partitions.keys_in(partitions.table_folder(self.root, table), table)

    def row_count(self, table: Table, key: str = "") -> int:
        """Return the number of rows of a partition; 0 if it does not exist."""
        return sum(parquet_files.count_rows(table, p) for p in self.files(table, key).paths())

    def read(
        self, table: Table, keys: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read a table, exactly as declared; columns that an older file lacks are null.

        Args:
            table: The table.
            keys: The partitions to read; all by default.
            columns: The columns to read; all by default.

        Returns:
            The rows, in the order of the keys.

        Raises:
            UnknownName: One of the named partitions does not exist.
            DataError: A file is damaged.
        """
        if keys is None:
            keys = self.keys(table) if table.partitioned_by else [""] * self.has(table)
        parts = [part for key in keys for part in self._read(table, key, columns)]
        return pa.concat_tables(parts) if parts else empty(with_columns(table, columns))

    def read_or_empty(
        self, table: Table, key: str = "", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read one partition; no rows if it does not exist."""
        if self.has(table, key):
            return pa.concat_tables(self._read(table, key, columns))
        return empty(with_columns(table, columns))

    def read_to_rewrite(
        self, table: Table, key: str = "", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read one partition as `read_or_empty`, of which rows are to be written again.

        Raises:
            DataError: A file is damaged, or is not as it was written.
        """
        files = self.files(table, key)
        parts = [files.read_to_rewrite(number, columns) for number in files.numbers()]
        return pa.concat_tables(parts) if parts else empty(with_columns(table, columns))

    def write(self, table: Table, rows: pa.Table, key: str = "") -> WriteResult:
        """Replace a partition; if the rows are equal to those on disk, the file stays.

        Args:
            table: The table.
            rows: All rows of the partition, as `conform` returns them.
            key: The partition's key; "" for an unpartitioned table.

        Returns:
            Where the partition is, its size, and whether it was changed.

        Raises:
            DataError: The rows do not conform, or belong to another partition.
            StorageError: The file cannot be written. The partition is unchanged.
            UsageError: The partition has several files.
        """
        files = self.files(table, key)
        if more := [number for number in files.numbers() if number]:
            raise UsageError(
                f"{table.name} of {key!r} has {len(more)} more files, which one file cannot replace"
            )
        return files.write(0, rows)

    def verify(self, keys: Sequence[str] | None = None) -> VerifiedTables:
        """Compare the file of each partition with the digest that was recorded when it was written.

        Args:
            keys: The partitions to check; by default all, and the tables without partitions.

        Returns:
            How many partitions were checked, and a line for each that is damaged, gone or foreign.
        """
        return verify_tables(self.root, keys)

    @contextlib.contextmanager
    def update(self, table: Table, key: str = "") -> Iterator[PartitionUpdate]:
        """Rewrite a partition under its lock: read it, change it, and write it at the end.

        Nothing is written if the body raises, or assigns no rows. What it assigns need not be
        sorted or unique: it is passed through `conform`.

            with warehouse.update(SERIES_SIZES, "LCTSC") as partition:
                partition.rows = pa.concat_tables([partition.rows, new])

        Raises:
            Busy: Another run has held the lock for ten minutes.
            DataError, StorageError: As `write`.
        """
        with self.lock(table, key):
            partition = PartitionUpdate(self, table, key)
            yield partition
            if partition.is_assigned:
                partition.written = self.write(table, conform(table, partition.rows), key)

    def lock(
        self, table: Table, key: str = "", *, part: str = "", wait: float = 600.0
    ) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of a partition, in order to read it, change it and write it.

        `read` and `write` alone do not take it. It is not reentrant: a thread that takes it twice
        waits for itself. The system releases it when the process ends, however it ends.

        Args:
            table: The table.
            key: The partition's key.
            part: Names work on the partition that has a lock of its own.
            wait: How many seconds to wait for another holder.

        Raises:
            Busy: It is still held elsewhere after `wait` seconds.
            StorageError: The file system takes the partition for another one.
        """
        partitions.check_case(partitions.table_folder(self.root, table), table, key)
        folder = self.root / ".locks" / table.name / part
        path = folder / f"{partitions.subfolder(table, key) or 'table'}.lock"
        return hold_lock(path, f"{table.name} of {key!r}" if key else table.name, wait=wait)

    def _read(self, table: Table, key: str, columns: Sequence[str] | None = None) -> list[pa.Table]:
        """Return the rows of each file of a partition."""
        files = self.files(table, key)
        numbers = files.numbers()
        if not numbers:
            raise UnknownName(f"partition of {table.name}", key, self.keys(table))
        return [files.read(number, columns) for number in numbers]

    def _check_readable(self) -> None:
        """Raise DataError, with the path and what to do, if a partition cannot be read."""
        for table in TABLES:
            for key in self.keys(table) if table.partitioned_by else [""] * self.has(table):
                # Another process may remove a partition meanwhile.
                with contextlib.suppress(UnknownName):
                    self._read(table, key)

    # --- Queries ----------------------------------------------------------------------------------

    def query(
        self,
        statement: str,
        parameters: Any = None,
        *,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Run SQL over the views and return the rows.

        Args:
            statement: The SQL.
            parameters: Values for the statement's placeholders, as DuckDB takes them.
            tables: Arrow tables that the statement can use under these names.

        Returns:
            The rows.

        Raises:
            UsageError: DuckDB refuses the statement; the text has DuckDB's reason.
            DataError: A partition's file is damaged.
            Stopped: `stop` was called.
        """
        return self._queries.run(statement, parameters, tables or {}, self._check_readable)

    def stop(self) -> None:
        """End each running `query`, in any thread, with Stopped, and refuse new ones."""
        self._queries.stop()

    def select_from(self, table: Table, keys: Sequence[str]) -> str:
        """Return SQL for the rows of some partitions, all of which exist.

        A view opens each file of its table, also if the statement names partitions.
        """
        folders = [self.files(table, key).folder for key in keys]
        return self._views.statements.select_from(table, folders)

    def connect(self) -> sql.Connection:
        """Open a read-only connection to the views; it never waits for a writer.

        A statement may fail if a partition is replaced while DuckDB opens its file, which it opens
        twice. `query` runs such a statement again.
        """
        return self._views.connect(may_build=not self._read_only)

    def ensure_views(self) -> None:
        """Rebuild `warehouse.duckdb` unless it has the views of this root and this version.

        Raises:
            StorageError: The file cannot be written.
        """
        self._views.ensure()
