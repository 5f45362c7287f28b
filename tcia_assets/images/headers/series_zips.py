"""Read rows from the zips in the manifest, only from those that changed, in bounded memory.

Which zips there are belongs here, how they are opened, and how a broken one is reported. What is
read from a member is in `image_rows.py` and `references.py`; whether a zip is good is decided
in `images.acceptance`.
"""

from __future__ import annotations

import lzma
import math
import time
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
_ZIPS_AT_ONCE = 1000

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


_LISTED = """
    SELECT SeriesInstanceUID, path, sha256, archive_bytes
    FROM image_archives SEMI JOIN wanted USING (SeriesInstanceUID)
    WHERE Collection = $collection AND path NOTNULL ORDER BY SeriesInstanceUID
"""


# SQL for the zips on disk of a Collection, also earlier copies of Series that changed; and for what
# is indexed. A Series and a SHA-256 are one number, so that a join holds no texts.
ZIPS = """(
    SELECT SeriesInstanceUID, hash(SeriesInstanceUID, sha256) AS zip
    FROM image_archives WHERE Collection = $collection AND path NOTNULL
)"""
INDEXED = """(
    SELECT *, hash(SeriesInstanceUID, archive_sha256) AS zip
    FROM indexed_zips WHERE Collection = $collection
)"""


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


class ListedZips:
    """Zips on disk of a Collection, by SeriesInstanceUID; few of them are objects at once.

    Args:
        collection: The Collection.
        warehouse: Where the manifest is, and the zips.
        series: The Series of the zips.
    """

    def __init__(self, collection: str, warehouse: Warehouse, series: Collection[str]) -> None:
        self._collection, self._archives = collection, warehouse.archives
        uids = pa.table({"SeriesInstanceUID": pa.array(sorted(series), pa.string())})
        self._rows = warehouse.query(_LISTED, {"collection": collection}, tables={"wanted": uids})

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __iter__(self) -> Iterator[ListedZip]:
        for batch in self._rows.to_batches(max_chunksize=_ZIPS_AT_ONCE):
            for row in batch.to_pylist():
                yield ListedZip(
                    self._archives,
                    name_at(row["path"]),
                    row["SeriesInstanceUID"],
                    self._collection,
                    row["sha256"],
                    row["archive_bytes"],
                )


def is_current(table: Table, collection: str, warehouse: Warehouse) -> bool:
    """Return whether the partition exists and has the columns that the table has now."""
    paths = warehouse.files(table, collection).paths()
    return bool(paths) and all(
        tuple(pq.read_schema(path).names) == table.column_names for path in paths
    )


def read_rows(
    tables: Sequence[Table],
    zips: ListedZips,
    read_zip: Callable[[zipfile.ZipFile, ListedZip], Iterator[tuple[Table, Row]]],
    report: ProgressCallback,
    *,
    until: float = math.inf,
    rows_at_once: int,
) -> Iterator[list[pa.Table]]:
    """Read rows from zips into one Arrow table for each table.

    Args:
        tables: The tables. If a zip cannot be read, the first one gets a row with the reason in
            `error` and no `entry_name`.
        zips: The zips to read.
        read_zip: Yields the rows of an open zip, each with its table.
        report: Called after each zip with the number of zips read and their total.
        until: Time of `time.monotonic()` after which no zip is begun.
        rows_at_once: About how many rows of the first table are in memory at a time.

    Yields:
        The rows of some zips, in the order of `tables`. Only a batch of them is held as Python
        objects.
    """
    batches = {table.name: _Batches(table) for table in tables}
    for done, series_zip in enumerate(zips, start=1):
        if time.monotonic() > until:
            break
        if batches[tables[0].name].count >= rows_at_once:
            yield [batches[table.name].to_table() for table in tables]
            batches = {table.name: _Batches(table) for table in tables}
        try:
            with series_zip.open() as zip_file:
                for table, row in read_zip(zip_file, series_zip):
                    batches[table.name].add(row | series_zip.common_columns)
        except READ_ERRORS as error:
            problem = escape_unprintable(f"the zip cannot be read: {error_text(error)}")
            batches[tables[0].name].add(series_zip.common_columns | {"error": problem})
        report(done, len(zips))
    if batches[tables[0].name].count:
        yield [batches[table.name].to_table() for table in tables]


class _Batches:
    """Rows of a table, converted to columns in batches."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[Row] = []
        self._parts = [empty(table)]
        self.count = 0

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self.count += 1
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
