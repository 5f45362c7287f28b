"""Queries that found nothing, and need not run again while the files that they read are the same.

    <root>/warehouse/.clean/<name>    what the query and these files were like

A query that finds rows is run each time. One that compares with the time of day may be kept if rows
can only leave its result as time passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import ACQUISITION_VIEW, IMAGES, SERIES, TABLES
from tcia_assets.spec import Table
from tcia_assets.store.files import publish_hint
from tcia_assets.store.marks import code_digest
from tcia_assets.store.partitions import SCHEMA_FILE, table_folder
from tcia_assets.store.warehouse import Warehouse

_TABLES = {table.name: table for table in TABLES}
_READ_BY = _TABLES | {"current_series": SERIES, ACQUISITION_VIEW: IMAGES}


class CleanQueries:
    """Queries over whole tables of a warehouse, for as long as nothing is written to it.

    Args:
        warehouse: The warehouse.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._stamps: dict[str, str] = {}

    def find(self, name: str, statement: str) -> pa.Table | None:
        """Return the rows of a query; None if it found none, now or when the files were the same.

        Args:
            name: The name of the query, which can be that of a file.
            statement: The query. It reads tables and views by their names.

        Raises:
            UsageError, DataError: As `Warehouse.query`.
            StorageError: What was found cannot be remembered.
        """
        path = self._path(name)
        # Before the query: what is written meanwhile is looked at by the next one.
        stamp = self.stamp(statement)
        if _read(path) == stamp:
            return None
        rows = self._warehouse.query(statement)
        if rows.num_rows:
            return rows
        if not self._warehouse.is_read_only:
            publish_hint(path, stamp)
        return None

    def is_clean(self, name: str, statement: str) -> bool:
        """Return whether a query found nothing when the files were the same; it is not run."""
        return _read(self._path(name)) == self.stamp(statement)

    def _path(self, name: str) -> Path:
        return self._warehouse.root / "warehouse" / ".clean" / name

    def stamp(self, statement: str) -> str:
        """Return what changes with a query, or with a file that it reads."""
        digest = sha256(f"{code_digest()} {statement}".encode())
        for table in tables_in(statement):
            if table.name not in self._stamps:
                folder = table_folder(self._warehouse.root, table)
                files = repr(sorted(_files(str(folder))))
                self._stamps[table.name] = sha256(files.encode()).hexdigest()
            digest.update(self._stamps[table.name].encode())
        return digest.hexdigest()


def tables_in(statement: str) -> list[Table]:
    """Return the tables that a query may read, by the names in it.

    >>> [table.name for table in tables_in("SELECT * FROM current_series JOIN studies USING (a)")]
    ['studies', 'series']
    """
    words = set(re.findall(r"\w+", statement.lower()))
    found = {_READ_BY[word].name for word in words & _READ_BY.keys()}
    return [table for table in TABLES if table.name in found]


def _files(folder: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield path, inode, size and time of each Parquet file with rows below a table's folder."""
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(entry.path)
        elif entry.name.endswith(".parquet") and entry.name != SCHEMA_FILE:
            stat = entry.stat()
            yield entry.path, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _entries(folder: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
