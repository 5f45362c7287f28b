"""The Parquet files of partitions: how rows become bytes, and how they are read.

Where the files lie is in `partitions.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, whole_numbers
from tcia_assets.errors import DataError
from tcia_assets.spec import Table
from tcia_assets.store.conform import align, empty

# DuckDB opens a file once more for each row group that it reads. With one row group for nearly
# every partition, no query mixes two versions of a partition.
_ROWS_PER_GROUP = 1 << 20

ROWS_PER_BATCH = 1 << 16

# To begin each column with zstd takes longer than to write so few rows.
_FEW_ROWS = 1 << 11

CHANGED = "it was changed after it was written"
_MADE_FROM = b"made_from"


def write_parquet(
    table: Table, rows: pa.Table | Iterable[pa.Table], path: Path, made_from: str = ""
) -> int:
    """Write rows that conform to the table; equal rows give equal bytes.

    Args:
        table: The table.
        rows: The rows, or several tables of them, of which one is in memory at a time.
        path: The file.
        made_from: What the rows were made from, as `read_derived` returns it.

    Returns:
        How many rows there are.
    """
    schema, written = table.schema, 0
    if made_from:
        schema = schema.with_metadata({**schema.metadata, _MADE_FROM: made_from.encode()})
    options = {"compression": _codec(rows), "use_dictionary": _with_dictionary(table)}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for part in [rows] if isinstance(rows, pa.Table) else rows:
            written += part.num_rows
            for start in range(0, part.num_rows, _ROWS_PER_GROUP):
                # Combined, because Arrow ends a page where a chunk ends, and the bytes would
                # depend on it.
                group = part.slice(start, _ROWS_PER_GROUP).combine_chunks()
                group = pa.Table.from_arrays(group.columns, schema=schema)
                writer.write_table(group, _ROWS_PER_GROUP)
    return written


def _codec(rows: pa.Table | Iterable[pa.Table]) -> str:
    is_small = isinstance(rows, pa.Table) and rows.num_rows < _FEW_ROWS
    return "snappy" if is_small else "zstd"


def _with_dictionary(table: Table) -> bool | list[str]:
    """Return the columns that get a dictionary, or True for all.

    Lists of whole numbers get none: such numbers seldom repeat, and it makes them a quarter larger.
    """
    plain = {column.name for column in table.columns if column.kind is whole_numbers}
    return [name for name in table.column_names if name not in plain] if plain else True


class DerivedRows(NamedTuple):
    """Rows of a file that was made from another one.

    Attributes:
        made_from: What it was made from, as `write_parquet` got it; "" if it does not say.
        rows: The rows that were read; columns that the file lacks are null.
        is_current: Whether the file has the columns of its table, no more and no others.
    """

    made_from: str
    rows: pa.Table
    is_current: bool


def read_derived(table: Table, chosen: Table, path: Path) -> DerivedRows:
    """Read some columns of a small file, and what it was made from.

    Args:
        table: The table.
        chosen: The table with only the columns that are read.
        path: The file; one that is not there, or cannot be read, says nothing.
    """
    try:
        # Thousands of such files are read one after the other.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema = file.schema_arrow
            made_from = (schema.metadata or {}).get(_MADE_FROM, b"").decode()
            if made_from:
                names, is_current = set(schema.names), schema.equals(table.schema)
                present = [name for name in chosen.column_names if name in names]
                rows = file.read(present, use_threads=False)
                return DerivedRows(
                    made_from, rows if is_current else align(chosen, rows), is_current
                )
    except (OSError, pa.ArrowException):
        pass
    return DerivedRows("", empty(chosen), is_current=False)


def read_parquet(table: Table, path: Path) -> pa.Table:
    """Read the table's columns, exactly as declared; columns that the file lacks are null.

    Raises:
        DataError: The file is damaged.
    """
    with open_parquet(table, path) as read:
        return read(table)


@contextlib.contextmanager
def open_parquet(table: Table, path: Path) -> Iterator[Callable[[Table], pa.Table]]:
    """Provide what reads columns as `read_parquet`, all of the version that is there now.

    Raises:
        DataError: The file is damaged.
    """
    with _readable(table, path):
        file = pq.ParquetFile(path)

    def read(chosen: Table) -> pa.Table:
        with _readable(table, path):
            names = set(file.schema_arrow.names)  # each look at it makes the schema anew
            present = [name for name in chosen.column_names if name in names]
            # Threads for a small file cost as much again as reading it.
            is_large = file.metadata.num_rows > ROWS_PER_BATCH
            return align(chosen, file.read(present, use_threads=is_large))

    with file:
        yield read


def read_batches(
    table: Table, path: Path, rows_at_once: int = ROWS_PER_BATCH
) -> Iterator[pa.Table]:
    """Yield the table's columns as `read_parquet`, so that a file of any size takes little memory.

    Raises:
        DataError: The file is damaged.
    """
    with _readable(table, path), pq.ParquetFile(path) as file:
        names = set(file.schema_arrow.names)
        present = [name for name in table.column_names if name in names]
        for batch in file.iter_batches(rows_at_once, columns=present):
            yield align(table, pa.Table.from_batches([batch]))


def is_schema_file(path: Path) -> bool:
    """Return whether a file is a Parquet file without rows, as `partitions.SCHEMA_FILE` is."""
    try:
        return bool(pq.read_metadata(path).num_rows == 0)
    except (OSError, pa.ArrowException):
        return False


def is_current(table: Table, path: Path) -> bool:
    """Return whether a file has the columns of the table, no more and no others.

    Raises:
        DataError: The file is damaged.
    """
    with _readable(table, path):
        return bool(pq.read_schema(path).equals(table.schema))


def count_rows(table: Table, path: Path) -> int:
    """Return the number of rows in a file; 0 if it does not exist."""
    with _readable(table, path):
        return int(pq.read_metadata(path).num_rows) if path.is_file() else 0


@contextlib.contextmanager
def _readable(table: Table, path: Path) -> Iterator[None]:
    """Raise DataError, with the path and what to do, if the file is no valid Parquet."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's own errors have a number; Arrow also raises OSError for broken pages
        reason = " ".join(str(error).split()).rstrip(".")
        problem = f"{path} is not readable: {reason}; {remedy(table)}"
        raise DataError(problem, table=table.name) from error


def remedy(table: Table, *, is_lost: bool = False) -> str:
    """Return what to do about a partition that is damaged or lost."""
    if table.name == IMAGE_ARCHIVES.name:
        return "`tcia-assets verify --rebuild` rebuilds it from the zips"
    delete = "" if is_lost else "delete it and "
    if table.made_from in (IMAGE_ARCHIVES.name, IMAGES.name):
        return f"{delete}fetch its Collection: it is made again from the zips"
    return f"restore it from a copy, or {delete}refresh its Collection"
