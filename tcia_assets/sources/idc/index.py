"""An index release, opened: its rows in our columns, by SQL that the catalog declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import (
    IDC_FILES,
    IDC_INDEX,
    IDC_MADE,
    IDC_PRIOR_VERSIONS,
    IDC_READ,
    IDC_VERSIONS,
    SERIES,
)
from tcia_assets.errors import BadValue, UsageError
from tcia_assets.sources import SourceRows
from tcia_assets.sources.idc.index_database import (
    ALL,
    LOADED,
    MANY_SERIES,
    ONE_SERIES,
    IndexDatabase,
)
from tcia_assets.sources.idc.index_values import (
    REFUSED,
    select,
    split_unreadable,
    texts_of_unreadable,
    without_html,
)
from tcia_assets.sources.idc.release import check_columns, release_of
from tcia_assets.spec import IndexRows, Table

# Series of a Collection from which on they are sorted here, so many columns at a time.
_LARGE, _COLUMNS_AT_ONCE = 20_000, 2
# Values from which on rows are chosen by them here: a query with so many takes 100 MB for them.
_MANY = 1000
_KEY = SERIES.key[0]


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
        self._sizes: dict[str, int] | None = None
        self._database = IndexDatabase(
            folder, scratch, is_whole=is_whole, place=self._place, release=self.release
        )

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
            return self._read(rows, ALL)
        relation = table.name
        if _is_of_series(rows):
            if key in self._series_by_collection:
                self._database.load_collection(key)
            relation = LOADED
        return self._read(rows, relation, f'"{table.partitioned_by}" = $key', {"key": key})

    def rows_of(self, table: Table, by: str, values: Iterable[str]) -> SourceRows:
        """Return the rows with these values in a column, whatever their partition."""
        condition, wanted = f'"{by}" IN (SELECT unnest($values))', list(dict.fromkeys(values))
        rows = _declaration(table)
        if not wanted:
            return self._read(rows, LOADED, "false")
        # Mostly they are of one Collection, and one that was asked for.
        home = f'Collection = (SELECT Collection FROM {LOADED} WHERE "{by}" = $values[1] LIMIT 1)'
        if len(wanted) > _MANY:
            found = self._read(rows, LOADED, home, {"values": wanted[:1]}, chosen=(by, wanted))
        else:
            found = self._read(rows, LOADED, f"{home} AND {condition}", {"values": wanted})
        if found.table.num_rows >= len(wanted):
            return found
        self._database.load_all_if_due(MANY_SERIES)
        return self._read(rows, ALL, condition, {"values": wanted})

    def find(self, uid: str, columns: str) -> dict[str, Any] | None:
        """Return some columns of a Series, separated by commas; None if the index lacks it."""
        statement = f"SELECT {columns} FROM {{}} WHERE {SERIES.key[0]} = $uid LIMIT 1"
        parameters = {"uid": uid}
        found = self.query(statement.format(LOADED), parameters).to_pylist()
        if not found and not self._database.is_loaded:
            self._database.load_all_if_due(ONE_SERIES)
            found = self.query(statement.format(ALL), parameters).to_pylist()
        return found[0] if found else None

    def query(self, statement: str, parameters: Any = None) -> pa.Table:
        """Return the result of a query over `all_series` and the files of the release.

        Raises:
            UsageError: A file cannot be read.
        """
        return self._database.query(statement, parameters)

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

    @property
    def _series_by_collection(self) -> dict[str, int]:
        """The number of Series of each Collection."""
        if self._sizes is None:
            found = self.query(f"SELECT Collection, count(*) AS series FROM {ALL} GROUP BY ALL")
            self._sizes = dict(zip(*(each.to_pylist() for each in found.columns), strict=True))
        return self._sizes

    # --- Reading ----------------------------------------------------------------------------------

    def _read(
        self,
        rows: IndexRows,
        relation: str,
        condition: str = "true",
        parameters: Any = None,
        chosen: tuple[str, Sequence[str]] | None = None,
    ) -> SourceRows:
        names, found = list(rows.columns), self._found(rows, relation, condition, parameters)
        if chosen:
            name, texts = chosen
            found = found.filter(pc.is_in(found[name], value_set=pa.array(texts, pa.string())))
        if rows.table is SERIES:
            self._check_keys(found)
        return SourceRows(
            found.select(names), promised=tuple(names), unreadable=split_unreadable(found, names)
        )

    def _is_large(self, parameters: Any) -> bool:
        key = (parameters or {}).get("key", "")
        return self._series_by_collection.get(key, 0) > _LARGE if key else False

    def _sorted(
        self, values: Mapping[str, str], relation: str, condition: str, parameters: Any
    ) -> pa.Table:
        """Return rows of `series`, sorted by their key, a few columns at a time.

        All columns unsorted would take as much memory again. Rows of a query without an order are
        in that of the relation, which another database may have in another order.
        """
        with self._database.reading() as query:

            def read(names: Sequence[str]) -> pa.Table:
                some = {name: values[name] for name in names}
                return query(f"{select(some, relation)} WHERE {condition}", parameters)

            order, names = pc.sort_indices(read([_KEY])[_KEY]), list(values)
            columns: list[pa.ChunkedArray] = []
            for start in range(0, len(names), _COLUMNS_AT_ONCE):
                columns += read(names[start : start + _COLUMNS_AT_ONCE]).take(order).columns
        return pa.Table.from_arrays(columns, names=names)

    def _found(self, rows: IndexRows, relation: str, condition: str, parameters: Any) -> pa.Table:
        """Return the columns of rows, and those with the texts of what cannot be read."""
        values = dict(rows.columns)
        if rows.table not in IDC_MADE:
            values = {name: f'"{name}"' for name in values}
        values |= texts_of_unreadable(rows)
        if rows.table is SERIES:
            values[REFUSED] = f'"{REFUSED}"'
        if rows.table is SERIES and self._is_large(parameters):
            return self._sorted(values, relation, condition, parameters)
        statement = f"{select(values, relation)} WHERE {condition}{rows.grouping}"
        return without_html(rows.table, self.query(statement, parameters))

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
