"""Build tables from the zips in the manifest, and read only the zips that changed.

Which zips are read again belongs here, how they are opened, and how a broken one is reported. What
is read from a member is in `image_rows.py` and `references.py`; whether a zip is good is decided
in `images.acceptance`.
"""

from __future__ import annotations

import lzma
import math
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import escape_unprintable
from tcia_assets.images.zip_files import name_at, open_zip
from tcia_assets.progress import ProgressCallback
from tcia_assets.spec import Table
from tcia_assets.store.archives import Archives
from tcia_assets.store.conform import align, empty
from tcia_assets.store.warehouse import Warehouse

Row = dict[str, Any]

# Rows are converted to columns in batches of this size: as a dict, a row takes about 4 KB.
_BATCH_ROWS = 500

# What zipfile and the decompressors raise for a broken, encrypted or missing zip.
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
class ListedZip:
    """A zip as the manifest describes it."""

    archives: Archives
    name: str
    series_instance_uid: str
    collection: str
    sha256: str
    archive_bytes: int

    def open(self) -> AbstractContextManager[zipfile.ZipFile]:
        """Open it; see `open_zip`."""
        return open_zip(self.archives, self.name, self.sha256, self.archive_bytes)

    @property
    def common_columns(self) -> Row:
        """The values that every row read from this zip has."""
        return {
            "SeriesInstanceUID": self.series_instance_uid,
            "Collection": self.collection,
            "archive_sha256": self.sha256,
        }


def list_zips(collection: str, warehouse: Warehouse) -> list[ListedZip]:
    """Return the zips on disk of a Collection, including earlier copies of Series that changed."""
    names = ("SeriesInstanceUID", "path", "sha256", "archive_bytes")
    manifest = warehouse.read_or_empty(IMAGE_ARCHIVES, collection, names).to_pylist()
    return [
        ListedZip(
            warehouse.archives,
            name_at(row["path"]),
            row["SeriesInstanceUID"],
            collection,
            row["sha256"],
            row["archive_bytes"],
        )
        for row in manifest
        if row["path"]
    ]


def is_current(table: Table, collection: str, warehouse: Warehouse) -> bool:
    """Return whether the partition exists and has the columns that the table has now."""
    path = warehouse.path(table, collection)
    return path.is_file() and tuple(pq.read_schema(path).names) == table.column_names


def unchanged_rows(
    table: Table,
    collection: str,
    warehouse: Warehouse,
    zips: Iterable[ListedZip],
    must_reread: Callable[[pa.Table], pa.Array] | None = None,
) -> pa.Table:
    """Return the stored rows whose zip has the same SHA-256 as then.

    Args:
        table: A table with the columns SeriesInstanceUID, archive_sha256 and entry_name.
        collection: The partition.
        warehouse: Where the table is stored.
        zips: The zips of the Collection as they are now.
        must_reread: Takes the stored rows and returns a boolean array: True for rows that depend
            on more than the bytes of their zip. All rows of such a zip are left out.

    Returns:
        The rows. Zips that could not be read before are left out, to be tried again. Columns that
        the table did not have when it was stored are null.
    """
    stored = warehouse.read_or_empty(table, collection)
    zips = list(zips)
    series = pa.array([each.series_instance_uid for each in zips], pa.string())
    hashes = pa.array([each.sha256 for each in zips], pa.string())
    current = hashes.take(pc.index_in(stored["SeriesInstanceUID"], value_set=series))
    is_same = pc.fill_null(pc.equal(stored["archive_sha256"], current), fill_value=False)
    doubtful = pc.is_null(stored["entry_name"])
    if must_reread:
        doubtful = pc.or_(doubtful, must_reread(stored))
    reread = pc.unique(stored["SeriesInstanceUID"].filter(doubtful))
    is_reread = pc.is_in(stored["SeriesInstanceUID"], value_set=reread)
    return stored.filter(pc.and_not(is_same, is_reread))


def read_rows(
    tables: Sequence[Table],
    zips: Sequence[ListedZip],
    read_zip: Callable[[zipfile.ZipFile, ListedZip], Iterator[tuple[Table, Row]]],
    report: ProgressCallback,
    *,
    until: float = math.inf,
) -> list[pa.Table]:
    """Read rows from zips into one Arrow table for each table.

    Args:
        tables: The tables. If a zip cannot be read, the first one gets a row with the reason in
            `error` and no `entry_name`.
        zips: The zips to read.
        read_zip: Yields the rows of an open zip, each with its table.
        report: Called after each zip with the number of zips read and their total.
        until: Time of `time.monotonic()` after which no zip is begun.

    Returns:
        The rows, in the order of `tables`. Only a batch is held as Python objects at a time.
    """
    batches = {table.name: _Batches(table) for table in tables}
    for done, series_zip in enumerate(zips, start=1):
        if time.monotonic() > until:
            break
        try:
            with series_zip.open() as zip_file:
                for table, row in read_zip(zip_file, series_zip):
                    batches[table.name].add(row | series_zip.common_columns)
        except READ_ERRORS as error:
            problem = escape_unprintable(f"the zip cannot be read: {error_text(error)}")
            batches[tables[0].name].add(series_zip.common_columns | {"error": problem})
        report(done, len(zips))
    return [batches[table.name].to_table() for table in tables]


class _Batches:
    """Rows of a table, converted to columns in batches."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[Row] = []
        self._parts = [empty(table)]

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS:
            self._convert()

    def to_table(self) -> pa.Table:
        self._convert()
        return pa.concat_tables(self._parts)

    def _convert(self) -> None:
        rows = pa.Table.from_pylist(self._rows, schema=self._table.schema)
        self._parts.append(align(self._table, rows))
        self._rows = []


def error_text(error: BaseException) -> str:
    """Return the message of an error, or the name of its class if it has none."""
    return str(error) or type(error).__name__
