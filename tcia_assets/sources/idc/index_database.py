"""The database of an index release: from its Parquet files into tables, by SQL of the catalog.

The Series of a few Collections are read from the files alone, which takes a tenth of a second each;
for more, those of all Collections are read once, into a database on disk. A query then takes
milliseconds, and memory does not grow with the release.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import IDC_COLLECTIONS, IDC_FILES, IDC_READ, SERIES, TCIA_DOI
from tcia_assets.errors import UsageError
from tcia_assets.sources.idc.index_values import REFUSED, refused_key, select, typed
from tcia_assets.sources.idc.release import unusable
from tcia_assets.spec import IndexRows
from tcia_assets.store import sql

# What reading all Series takes, and what queries over them take. What DuckDB took for the first
# is not released before that database is closed.
_TO_LOAD, _TO_QUERY = "96MB", "48MB"
# All Series of the scope; those of them that are in the database.
ALL, LOADED = "all_series", SERIES.name
# What is read from the files before all Series are read into the database, in units of one look for
# a Series by its UID: together they take as long as that.
_FROM_FILES = 20
ONE_SERIES, ONE_COLLECTION, MANY_SERIES = 1, 2, 10


class IndexDatabase:
    """The tables and views of an index release. Safe to share among threads.

    Args:
        folder: The folder with its Parquet files.
        scratch: A folder for the databases that are made from them.
        is_whole: Whether Series that others derived from TCIA's are included.
        place: Where the release is, for errors.
        release: Its version.

    Raises:
        UsageError: A table cannot be made from what the files have.
    """

    def __init__(
        self, folder: Path, scratch: Path, *, is_whole: bool, place: Path | str, release: str
    ) -> None:
        self._folder, self._scratch = folder, scratch
        self._is_whole, self._place, self._release = is_whole, place, release
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._loaded: set[str] = set()
        self._running: Counter[sql.Connection] = Counter()
        self._from_files, self.is_loaded = 0, False
        self._database = self._make("index.duckdb")

    def query(self, statement: str, parameters: Any = None) -> pa.Table:
        """Return the result of a query over `all_series` and the files of the release.

        Raises:
            UsageError: A file cannot be read.
        """
        with self.reading() as query:
            return query(statement, parameters)

    @contextmanager
    def reading(self) -> Iterator[Callable[[str, Any], pa.Table]]:
        """Provide `query`, as it is now whatever is loaded meanwhile: rows keep their order."""
        with self._cursor() as cursor:
            yield partial(self._run, cursor)

    def load_collection(self, key: str) -> None:
        """Have the Series of a Collection in the database."""
        with self._loading:
            if self.is_loaded or key in self._loaded:
                return
            self._load_all_if_due(ONE_COLLECTION)
            if not self.is_loaded:
                # By the name that it has in the file, so that all others are skipped.
                self.query(
                    f"INSERT INTO {LOADED} FROM {ALL} WHERE Collection = $key AND collection_id "
                    f"IN (SELECT collection_id FROM {IDC_COLLECTIONS.name} "
                    "WHERE collection_name = $key UNION ALL SELECT $key)",
                    {"key": key},
                )
                self._loaded.add(key)

    def load_all_if_due(self, cost: int) -> None:
        """Have all Series in the database, if reading them from the files has cost as much."""
        with self._loading:
            self._load_all_if_due(cost)

    def close(self) -> None:
        self._database.close()

    def _load_all_if_due(self, cost: int) -> None:
        self._from_files += cost
        if self.is_loaded or self._from_files <= _FROM_FILES:
            return
        name = "all.duckdb"
        with self._make(name) as database:
            # In the order of the release, which is by Collection: sorting again takes seconds.
            self._run(database, f"INSERT INTO {LOADED} FROM {ALL}")
            self._run(database, f"CREATE OR REPLACE VIEW {ALL} AS FROM {LOADED}")
        whole = self._open(name, _TO_QUERY)
        with self._lock:
            self._database, before = whole, self._database
        self._close_unused(before)
        self.is_loaded = True

    @contextmanager
    def _cursor(self) -> Iterator[sql.Connection]:
        with self._lock:
            database = self._database
            cursor = database.cursor()
            self._running[database] += 1
        try:
            with cursor:
                yield cursor
        finally:
            with self._lock:
                self._running[database] -= 1
            self._close_unused(database)

    def _close_unused(self, database: sql.Connection) -> None:
        """Close a database that was replaced, unless a query runs: its cursor would be closed."""
        with self._lock:
            is_used = database is self._database or self._running[database]
        if not is_used:
            database.close()

    def _open(self, name: str, memory: str) -> sql.Connection:
        # The file has one row group, which only one thread can read; more of them would take
        # twice the processor time for nothing.
        return sql.connect(self._scratch / name, memory_limit=memory, threads=1)

    def _make(self, name: str) -> sql.Connection:
        for left in (name, f"{name}.wal"):  # by one that failed half-way, as on a full disk
            (self._scratch / left).unlink(missing_ok=True)
        database = self._open(name, _TO_LOAD)
        try:
            self._make_views(database)
        except BaseException:
            database.close()
            raise
        return database

    def _make_views(self, database: sql.Connection) -> None:
        for file in IDC_FILES:
            path = sql.literal(str(self._folder / f"{file.name}.parquet"))
            self._run(database, f"CREATE VIEW {file.name} AS FROM read_parquet({path})")
        for rows in IDC_READ.values():
            values = typed(rows)
            if rows.table is SERIES:
                values |= {"collection_id": "i.collection_id", REFUSED: refused_key(rows)}
            is_tcia = f"starts_with({rows.doi}, {sql.literal(TCIA_DOI)})"
            scope = "true" if self._is_whole else is_tcia
            # The others are small.
            made = f"VIEW {ALL}" if rows.table is SERIES else f"TABLE {rows.table.name}"
            try:
                self._run(database, f"CREATE {made} AS {select(values, rows.origin)} WHERE {scope}")
            except UsageError:
                self._check_expressions(database, rows)  # it names the column
                raise
        self._run(database, f"CREATE TABLE {LOADED} AS FROM {ALL} LIMIT 0")

    def _check_expressions(self, database: sql.Connection, rows: IndexRows) -> None:
        """Raise UsageError if a column cannot be made from what the files have."""
        for name, value in rows.columns.items():
            try:
                self._run(database, f"DESCRIBE {select({name: value}, rows.origin)}")
            except UsageError as error:
                problem = _first_line(error.__cause__ or error)
                raise unusable(
                    self._place,
                    self._release,
                    f"{rows.table.name}.{name} cannot be made from {value}: {problem}",
                ) from error

    def _run(self, database: sql.Connection, statement: str, parameters: Any = None) -> pa.Table:
        try:
            return sql.fetch_table(database, statement, parameters)
        except sql.SqlError as error:
            raise unusable(self._place, self._release, _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
