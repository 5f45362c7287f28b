"""An index release, opened: its rows in our columns, by SQL that the catalog declares.

The rows of a few Collections are read from the Parquet files alone, which takes a tenth of a second
each; for more, the Series of all Collections are read once, into a database on disk. A query then
takes milliseconds, and memory does not grow with the release.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import (
    COLLECTIONS,
    IDC_COLLECTIONS,
    IDC_FILES,
    IDC_INDEX,
    IDC_MADE,
    IDC_PRIOR_VERSIONS,
    IDC_READ,
    IDC_VERSIONS,
    SERIES,
    TCIA_DOI,
)
from tcia_assets.errors import BadValue, UsageError
from tcia_assets.sources import SourceRows
from tcia_assets.sources.idc.index_values import (
    REFUSED,
    refused_key,
    select,
    split_unreadable,
    texts_of_unreadable,
    typed,
    without_html,
)
from tcia_assets.sources.idc.release import check_columns, release_of, unusable
from tcia_assets.spec import IndexRows, Table
from tcia_assets.store import sql

_MEMORY = "96MB"
# All Series of the scope; those of them that are in the database.
_ALL, _LOADED = "all_series", SERIES.name
# What is read from the files before all Series are read into the database, in units of one look for
# a Series by its UID: together they take as long as that.
_FROM_FILES = 20
_ONE_SERIES, _ONE_COLLECTION, _MANY_SERIES = 1, 2, 10


class Index:
    """The Series of an index release. Safe to share among threads.

    Args:
        folder: The folder with its Parquet files.
        scratch: A folder for the database that is made from them.
        is_whole: Whether Series that others derived from TCIA's are included.
        place: Where the release is, for errors; the folder by default.

    Attributes:
        release: The version of the release, such as "25.0.5".
        digest: Identifies the files and the scope.

    Raises:
        UsageError: The files are not an index that this package can read; the text names the
            release, and the file or the column.
    """

    def __init__(self, folder: Path, scratch: Path, *, is_whole: bool, place: str = "") -> None:
        self._folder, self._place = folder, place or folder
        self.release = release_of(folder)
        self.digest = _digest(folder, self.release, is_whole=is_whole)
        for file in IDC_FILES:
            check_columns(folder / f"{file.name}.parquet", file, self._place, self.release)
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._names: frozenset[str] | None = None
        self._loaded: set[str] = set()
        self._from_files, self._is_loaded = 0, False
        self._database = sql.connect(scratch / "index.duckdb", memory_limit=_MEMORY)
        try:
            # The file has one row group, which only one thread can read; more of them would take
            # twice the processor time for nothing.
            self.query("SET GLOBAL threads = 1")
            self._make_views(is_whole=is_whole)
        except BaseException:
            self.close()
            raise

    @property
    def version(self) -> str:
        """The number of the IDC's version: the first part of the release."""
        return self.release.partition(".")[0]

    def rows(self, table: Table, key: str = "") -> SourceRows:
        """Return the rows of a partition; "" for a table without partitions.

        Raises:
            UsageError: The IDC has no such table.
            BadValue: A row has no key.
        """
        rows = _declaration(table)
        if not table.partitioned_by:
            return self._read(rows, _ALL)
        relation = table.name
        if _is_of_series(rows):
            self._load_collection(key)
            relation = _LOADED
        return self._read(rows, relation, f'"{table.partitioned_by}" = $key', {"key": key})

    def rows_of(self, table: Table, by: str, values: Iterable[str]) -> SourceRows:
        """Return the rows with these values in a column, whatever their partition."""
        condition, wanted = f'"{by}" IN (SELECT unnest($values))', list(dict.fromkeys(values))
        rows = _declaration(table)
        if not wanted:
            return self._read(rows, _LOADED, "false")
        # Mostly they are of one Collection, and one that was asked for.
        home = f'Collection = (SELECT Collection FROM {_LOADED} WHERE "{by}" = $values[1] LIMIT 1)'
        found = self._read(rows, _LOADED, f"{home} AND {condition}", {"values": wanted})
        if found.table.num_rows >= len(wanted):
            return found
        with self._loading:
            self._load_all_if_due(_MANY_SERIES)
        return self._read(rows, _ALL, condition, {"values": wanted})

    def find(self, uid: str, columns: str) -> dict[str, Any] | None:
        """Return some columns of a Series, separated by commas; None if the index lacks it."""
        statement = f"SELECT {columns} FROM {{}} WHERE {SERIES.key[0]} = $uid LIMIT 1"
        parameters = {"uid": uid}
        found = self.query(statement.format(_LOADED), parameters).to_pylist()
        if not found and not self._is_loaded:
            with self._loading:
                self._load_all_if_due(_ONE_SERIES)
            found = self.query(statement.format(_ALL), parameters).to_pylist()
        return found[0] if found else None

    def query(self, statement: str, parameters: Any = None) -> pa.Table:
        """Return the result of a query over `all_series` and the files of the release.

        Raises:
            UsageError: A file cannot be read.
        """
        with self._lock:
            cursor = self._database.cursor()
        with cursor:
            try:
                return sql.fetch_table(cursor, statement, parameters)
            except sql.SqlError as error:
                raise unusable(self._place, self.release, _first_line(error)) from error

    def gone_in(self, uids: Iterable[str]) -> dict[str, str]:
        """Return, for Series that only earlier releases had, the version that lacked each first."""
        rows = self.query(
            "SELECT SeriesInstanceUID AS uid, max(max_idc_version) + 1 AS gone "
            f"FROM {IDC_PRIOR_VERSIONS.name} WHERE SeriesInstanceUID IN (SELECT unnest($uids)) "
            f"AND SeriesInstanceUID NOT IN (SELECT SeriesInstanceUID FROM {IDC_INDEX.name}) "
            "GROUP BY ALL",
            {"uids": [*uids]},
        )
        return {row["uid"]: str(row["gone"]) for row in rows.to_pylist()}

    @property
    def released_on(self) -> date | None:
        """The day of the release; None if it does not say."""
        path = self._folder / f"{IDC_VERSIONS.name}.parquet"
        if not path.is_file():
            return None
        rows = self.query(
            "SELECT try_cast(version_timestamp AS DATE) AS day FROM read_parquet($path) "
            "WHERE idc_version = try_cast($version AS BIGINT)",
            {"path": str(path), "version": self.version},
        ).to_pylist()
        return rows[0]["day"] if rows else None

    def close(self) -> None:
        self._database.close()

    # --- From the files into the database ---------------------------------------------------------

    def _make_views(self, *, is_whole: bool) -> None:
        for file in IDC_FILES:
            path = sql.literal(str(self._folder / f"{file.name}.parquet"))
            self.query(f"CREATE VIEW {file.name} AS FROM read_parquet({path})")
        for rows in IDC_READ.values():
            values = typed(rows)
            if rows.table is SERIES:
                values |= {"collection_id": "i.collection_id", REFUSED: refused_key(rows)}
            scope = "true" if is_whole else f"starts_with({rows.doi}, {sql.literal(TCIA_DOI)})"
            # The others are small.
            name = f"VIEW {_ALL}" if rows.table is SERIES else f"TABLE {rows.table.name}"
            try:
                self.query(f"CREATE {name} AS {select(values, rows.origin)} WHERE {scope}")
            except UsageError:
                self._check_expressions(rows)  # it names the column
                raise
        self.query(f"CREATE TABLE {_LOADED} AS FROM {_ALL} LIMIT 0")

    def _check_expressions(self, rows: IndexRows) -> None:
        """Raise UsageError if a column cannot be made from what the files have."""
        for name, value in rows.columns.items():
            try:
                self.query(f"DESCRIBE {select({name: value}, rows.origin)}")
            except UsageError as error:
                problem = _first_line(error.__cause__ or error)
                raise unusable(
                    self._place,
                    self.release,
                    f"{rows.table.name}.{name} cannot be made from {value}: {problem}",
                ) from error

    def _load_collection(self, key: str) -> None:
        """Have the Series of a Collection in the database."""
        with self._loading:
            if self._is_loaded or key in self._loaded or key not in self._collections():
                return
            self._load_all_if_due(_ONE_COLLECTION)
            if not self._is_loaded:
                # By the name that it has in the file, so that all others are skipped.
                self.query(
                    f"INSERT INTO {_LOADED} FROM {_ALL} WHERE Collection = $key AND collection_id "
                    f"IN (SELECT collection_id FROM {IDC_COLLECTIONS.name} "
                    "WHERE collection_name = $key UNION ALL SELECT $key)",
                    {"key": key},
                )
                self._loaded.add(key)

    def _collections(self) -> frozenset[str]:
        if self._names is None:
            names = self._read(IDC_MADE[COLLECTIONS], _ALL).table["Collection"]
            self._names = frozenset(names.to_pylist())
        return self._names

    def _load_all_if_due(self, cost: int) -> None:
        self._from_files += cost
        if self._is_loaded or self._from_files <= _FROM_FILES:
            return
        # In the order of the release, which is by Collection: sorting again takes seconds.
        self.query(
            f"INSERT INTO {_LOADED} FROM {_ALL} WHERE Collection NOT IN (SELECT unnest($loaded))",
            {"loaded": sorted(self._loaded)},
        )
        self.query(f"CREATE OR REPLACE VIEW {_ALL} AS FROM {_LOADED}")
        self._is_loaded = True

    # --- Reading ----------------------------------------------------------------------------------

    def _read(
        self, rows: IndexRows, relation: str, condition: str = "true", parameters: Any = None
    ) -> SourceRows:
        names = list(rows.columns)
        values = {name: f'"{name}"' for name in names}
        values = (dict(rows.columns) if rows.table in IDC_MADE else values) | texts_of_unreadable(
            rows
        )
        if rows.table is SERIES:
            values[REFUSED] = f'"{REFUSED}"'
        statement = f"{select(values, relation)} WHERE {condition}{rows.grouping}"
        found = without_html(rows.table, self.query(statement, parameters))
        if rows.table is SERIES:
            self._check_keys(found)
        return SourceRows(
            found.select(names), promised=tuple(names), unreadable=split_unreadable(found, names)
        )

    def _check_keys(self, rows: pa.Table) -> None:
        """Raise BadValue if a value is missing or odd without which a row is not identified."""
        if rows[REFUSED].null_count == rows.num_rows:
            return
        row = rows.filter(pc.is_valid(rows[REFUSED])).slice(0, 1).to_pylist()[0]
        name = row[REFUSED]
        raise BadValue(
            f"{row[name]!r} is not {SERIES.column(name).kind.rule} (index release {self.release})",
            table=IDC_INDEX.name,
            column=name,
            value=row[name],
            key=row["SeriesInstanceUID"] or "without a key",
        )


def _digest(folder: Path, release: str, *, is_whole: bool) -> str:
    # Not only the version: files that a person changes keep it.
    found = (folder / f"{file.name}.parquet" for file in IDC_FILES)
    stats = [(path.name, path.stat()) for path in found if path.is_file()]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return sha256(repr((release, is_whole, files)).encode()).hexdigest()


def columns_of(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that an index release has."""
    return tuple(_declaration(table).columns)


def _declaration(table: Table) -> IndexRows:
    for declared in (IDC_READ, IDC_MADE):
        if table in declared:
            return declared[table]
    raise UsageError(
        f"the Imaging Data Commons has no {table.name.replace('_', ' ')}: set TCIA_SOURCE to nbia "
        "for these"
    )


def _is_of_series(rows: IndexRows) -> bool:
    return rows.table is SERIES or rows.table in IDC_MADE


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]
