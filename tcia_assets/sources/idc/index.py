"""An index release, opened: its rows in our columns, by SQL that the catalog declares.

The files are read once, into a database on disk: a query of one partition then takes milliseconds,
and memory does not grow with the release.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import (
    IDC_FILES,
    IDC_INDEX,
    IDC_PRIOR_VERSIONS,
    IDC_ROWS,
    IDC_SERIES,
    SERIES,
    TCIA_DOI,
)
from tcia_assets.errors import BadValue, UsageError, quote_first
from tcia_assets.sources import SourceRows, UnreadableValues
from tcia_assets.spec import MAX_UID_LENGTH, UID_PATTERN, IndexFile, Table
from tcia_assets.store import sql

# What each file says of its release, in its own metadata.
_VERSION = "idc_index_data_version"
_UNREADABLE = "unreadable "
_MEMORY = "256MB"
# Our types in SQL, and which of their values are meant.
_SQL = {
    "day": ("DATE", "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"),
    "whole": ("BIGINT", "IS NOT NULL"),
    "count": ("BIGINT", ">= 0"),
    "size": ("BIGINT", ">= 0"),
}
_KEYS = ("Collection", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


class Index:
    """The Series of an index release.

    Args:
        folder: The folder with its Parquet files.
        scratch: A folder for the database that is made from them.
        is_whole: Whether Series that others derived from TCIA's are included.

    Attributes:
        release: The version of the release, such as "25.0.5".

    Raises:
        UsageError: The files are not an index that this package can read; the text names the file,
            the column and the release.
    """

    def __init__(self, folder: Path, scratch: Path, *, is_whole: bool) -> None:
        self.release = release_of(folder)
        for file in IDC_FILES:
            _check_columns(folder, file, self.release)
        self._lock = threading.Lock()
        self._database = sql.connect(scratch / "index.duckdb", memory_limit=_MEMORY)
        try:
            self._load(folder, is_whole=is_whole)
        except sql.SqlError as error:
            self.close()
            raise _unreadable(folder, str(error).splitlines()[0]) from error

    @property
    def version(self) -> str:
        """The number of the IDC's version: the first part of the release."""
        return self.release.partition(".")[0]

    def rows(self, table: Table, key: str = "") -> SourceRows:
        """Return the rows of a partition; "" for a table without partitions."""
        parameters = {"key": key} if table.partitioned_by else None
        where = f' WHERE "{table.partitioned_by}" = $key' if table.partitioned_by else ""
        return self._read(table, where, parameters)

    def rows_of(self, table: Table, by: str, values: Iterable[str]) -> SourceRows:
        """Return the rows with these values in a column, whatever their partition."""
        return self._read(
            table, f' WHERE "{by}" IN (SELECT unnest($values))', {"values": [*values]}
        )

    def query(self, statement: str, parameters: Any = None) -> pa.Table:
        """Return the result of a query over `series` and the files of the release."""
        with self._lock:
            cursor = self._database.cursor()
        with cursor:
            return sql.fetch_table(cursor, statement, parameters)

    def close(self) -> None:
        self._database.close()

    def _load(self, folder: Path, *, is_whole: bool) -> None:
        for file in IDC_FILES:
            path = sql.literal(str(folder / f"{file.name}.parquet"))
            self._database.execute(f"CREATE VIEW {file.name} AS FROM read_parquet({path})")
        scope = "true" if is_whole else f"starts_with(i.source_DOI, {sql.literal(TCIA_DOI)})"
        columns = ", ".join(
            part for name, value in IDC_SERIES.columns.items() for part in _typed(name, value)
        )
        self._database.execute(
            # In the order of the release, which is by Collection: sorting again takes seconds.
            f"CREATE TABLE series AS SELECT {columns} FROM {IDC_SERIES.origin} WHERE {scope}"
        )
        self._check_keys()

    def _check_keys(self) -> None:
        """Raise BadValue if a value is missing or odd without which a row is not identified."""
        is_uid = f"length({{0}}) <= {MAX_UID_LENGTH} AND regexp_full_match({{0}}, '{UID_PATTERN}')"
        for name in _KEYS:
            good = is_uid.format(name) if name.endswith("UID") else f"{name} <> ''"
            odd = self.query(
                f"SELECT {name} AS value, Collection, SeriesInstanceUID AS uid FROM series "
                f"WHERE NOT coalesce({good}, false) LIMIT 1"
            ).to_pylist()
            for row in odd:
                raise BadValue(
                    f"{row['value']!r} is not {SERIES.column(name).kind.rule} "
                    f"(index release {self.release})",
                    table=IDC_INDEX.name,
                    column=name,
                    key=row["uid"] or "without a key",
                )

    def _read(self, table: Table, where: str, parameters: Any) -> SourceRows:
        names = list(columns_of(table))
        # In the table are also the texts of values that cannot be read.
        origin = SERIES.name if table is SERIES else f"({IDC_ROWS[table].sql})"
        found = self.query(f"SELECT * FROM {origin}{where}", parameters)
        return SourceRows(
            found.select(names), promised=tuple(names), unreadable=_split(found, names)
        )


def columns_of(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that an index release has."""
    return tuple((IDC_SERIES if table is SERIES else IDC_ROWS[table]).columns)


def release_of(folder: Path) -> str:
    """Return the version of the index release in a folder, such as "25.0.5".

    Raises:
        UsageError: There is none, or its file cannot be read.
    """
    path = folder / f"{IDC_INDEX.name}.parquet"
    if not path.is_file():
        raise _unreadable(folder, f"it has no file {path.name}")
    statement = (
        "SELECT value::VARCHAR AS v FROM parquet_kv_metadata($path) WHERE key::VARCHAR = $key"
    )
    try:
        with sql.scratch() as connection:
            found = sql.fetch_table(connection, statement, {"path": str(path), "key": _VERSION})
    except sql.SqlError as error:
        raise _unreadable(folder, str(error).splitlines()[0]) from error
    if not found.num_rows:
        raise _unreadable(folder, f"{path.name} does not say which release it is of ({_VERSION})")
    # As git describes it: the tag, commits since then, and the newest of these.
    return str(found["v"][0].as_py()).partition("-")[0]


def _check_columns(folder: Path, file: IndexFile, release: str) -> None:
    path = folder / f"{file.name}.parquet"
    if not path.is_file():
        raise _unreadable(folder, f"release {release} has no file {path.name}")
    try:
        with sql.scratch() as connection:
            described = sql.fetch_table(
                connection, f"DESCRIBE FROM read_parquet({sql.literal(str(path))})"
            )
    except sql.SqlError as error:
        raise _unreadable(folder, str(error).splitlines()[0]) from error
    missing = sorted(set(file.columns) - set(described["column_name"].to_pylist()))
    if missing:
        raise _unreadable(
            folder, f"{path.name} of release {release} has no column {quote_first(missing)}"
        )


def _unreadable(folder: Path, problem: str) -> UsageError:
    return UsageError(
        f"the index of the Imaging Data Commons in {folder} cannot be used: {problem}; set "
        "TCIA_IDC_INDEX to another folder or URL, or install another version of idc-index-data"
    )


def _typed(name: str, value: str) -> list[str]:
    """Return the column's typed value, and its text where it is not of the column's kind."""
    kind = SERIES.column(name).kind.name
    if kind not in _SQL:
        return [f'({value})::VARCHAR AS "{name}"']
    type_name, meant = _SQL[kind]
    cast = f"try_cast({value} AS {type_name})"
    typed = f"CASE WHEN {cast} {meant} THEN {cast} END"
    odd = f"CASE WHEN ({typed}) IS NULL THEN nullif(({value})::VARCHAR, '') END"
    return [f'{typed} AS "{name}"', f'{odd} AS "{_UNREADABLE}{name}"']


def _split(found: pa.Table, names: list[str]) -> dict[str, UnreadableValues]:
    """Return what is null in the rows because it is not of its column's kind, by column."""
    unreadable = {}
    for name in names:
        if _UNREADABLE + name not in found.column_names:
            continue
        texts = found[_UNREADABLE + name]
        if texts.null_count < len(texts):
            mask = pc.is_valid(texts)
            values = len(texts) - texts.null_count + len(texts) - found[name].null_count
            rows = found.select(names).filter(mask)
            unreadable[name] = UnreadableValues(rows, texts.filter(mask), values)
    return unreadable


def gone_in(index: Index, uids: Iterable[str]) -> dict[str, str]:
    """Return, for Series that earlier releases had, the version in which each was gone."""
    rows = index.query(
        f"SELECT SeriesInstanceUID AS uid, max(max_idc_version) + 1 AS gone "
        f"FROM {IDC_PRIOR_VERSIONS.name} WHERE SeriesInstanceUID IN (SELECT unnest($uids)) "
        "GROUP BY ALL",
        {"uids": [*uids]},
    )
    return {row["uid"]: str(row["gone"]) for row in rows.to_pylist()}
