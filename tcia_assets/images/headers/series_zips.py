"""Tables whose rows are read from the zips of the manifest, at the cost of what changed.

What belongs here: which zips are read again, how they are opened, and what becomes of one that is
broken. What does not: what is read from a member (`image_rows.py`, `references.py`), and whether a
zip is good (`acceptance`).
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import escape_unprintable
from tcia_assets.progress import ProgressCallback
from tcia_assets.spec import Table
from tcia_assets.store.conform import align, empty
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]

# Rows are made into columns this many at a time; as a dict one takes some 4 KB.
_ROWS_AT_ONCE = 500

# What zipfile and those whom it asks raise where a zip is broken, encrypted or gone.
READ_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class SeriesZip:
    """A zip as the manifest describes it."""

    path: Path
    series_instance_uid: str
    collection: str
    sha256: str
    archive_bytes: int

    @property
    def facts(self) -> Row:
        """What each row that is read from it has."""
        return {
            "SeriesInstanceUID": self.series_instance_uid,
            "Collection": self.collection,
            "archive_sha256": self.sha256,
        }


def list_zips(collection: str, warehouse: Warehouse) -> list[SeriesZip]:
    """The zips of a Collection, also earlier copies where a newer one could not be had."""
    names = ("SeriesInstanceUID", "path", "sha256", "archive_bytes")
    manifest = warehouse.read_or_empty(IMAGE_ARCHIVES, collection, names).to_pylist()
    return [
        SeriesZip(
            warehouse.root / row["path"],
            row["SeriesInstanceUID"],
            collection,
            row["sha256"],
            row["archive_bytes"],
        )
        for row in manifest
        if row["path"]
    ]


def is_current(table: Table, collection: str, warehouse: Warehouse) -> bool:
    """Whether the partition is there, with the columns that the table has now."""
    path = warehouse.path(table, collection)
    return path.is_file() and tuple(pq.read_schema(path).names) == table.names


def unchanged_rows(
    table: Table,
    collection: str,
    warehouse: Warehouse,
    archives: Iterable[SeriesZip],
    is_unsure: Callable[[pa.Table], pa.Array] | None = None,
) -> pa.Table:
    """The stored rows of zips that are as they were.

    `is_unsure` marks rows that depend on more than the bytes of their zip: that is read again, as
    is one that could not be read. So is all that was stored when the table had other columns.
    """
    if not is_current(table, collection, warehouse):
        return empty(table)
    stored = warehouse.read(table, [collection])
    archives = list(archives)
    series = pa.array([archive.series_instance_uid for archive in archives], pa.string())
    hashes = pa.array([archive.sha256 for archive in archives], pa.string())
    now = hashes.take(pc.index_in(stored["SeriesInstanceUID"], value_set=series))
    same = pc.fill_null(pc.equal(stored["archive_sha256"], now), fill_value=False)
    unsure = pc.is_null(stored["entry_name"])
    if is_unsure:
        unsure = pc.or_(unsure, is_unsure(stored))
    again = pc.unique(stored["SeriesInstanceUID"].filter(unsure))
    return stored.filter(pc.and_not(same, pc.is_in(stored["SeriesInstanceUID"], value_set=again)))


def read_rows(
    tables: Sequence[Table],
    archives: Sequence[SeriesZip],
    rows_of: Callable[[zipfile.ZipFile, SeriesZip], Iterator[tuple[Table, Row]]],
    report: ProgressCallback,
) -> list[pa.Table]:
    """What `rows_of` finds in each zip, a table each; more rows than fit are never held as rows.

    A zip that cannot be read is a row of the first table, with the reason in `error` and no
    `entry_name`. `report` is told after each zip how many are read, of how many.
    """
    collected = {table.name: _Collected(table) for table in tables}
    for done, archive in enumerate(archives, start=1):
        try:
            with _opened(archive) as opened:
                for table, row in rows_of(opened, archive):
                    collected[table.name].add(row | archive.facts)
        except READ_ERRORS as error:
            problem = escape_unprintable(f"the zip cannot be read: {error_text(error)}")
            collected[tables[0].name].add(archive.facts | {"error": problem})
        report(done, len(archives))
    return [collected[table.name].table() for table in tables]


class _Collected:
    """Rows of a table, made into columns before they are many."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[Row] = []
        self._parts = [empty(table)]

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._combine()

    def table(self) -> pa.Table:
        self._combine()
        return pa.concat_tables(self._parts)

    def _combine(self) -> None:
        rows = pa.Table.from_pylist(self._rows, schema=self._table.schema)
        self._parts.append(align(self._table, rows))
        self._rows = []


def _opened(archive: SeriesZip) -> zipfile.ZipFile:
    size = archive.path.stat().st_size
    if size != archive.archive_bytes:
        problem = f"it has {size} bytes, and {archive.archive_bytes} in image_archives"
        raise ValueError(problem)
    return zipfile.ZipFile(archive.path)


def error_text(error: BaseException) -> str:
    """What an error says, be it only its name."""
    return str(error) or type(error).__name__
