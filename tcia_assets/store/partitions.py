"""Parquet files of partitions: where they lie, how rows become bytes, how they are read.

Relative to the data folder:

    warehouse/<table>/<key>/part-0.parquet      a partition; the key is percent-encoded
    warehouse/<table>/<key>/part-<n>.parquet    further rows, if the table has `rows_per_part`
    warehouse/<table>/part-0.parquet            a table without partitions
    warehouse/VERSION                           the layout that writers use

Layout 1 had folders called `Collection=<key>`, from which some readers make a second column. They
are read as they are, and renamed when their partition is written, or by `migrate`. Layout 2 had one
file a partition.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES
from tcia_assets.errors import BadValue, DataError, StorageError, UsageError, shorten
from tcia_assets.spec import Table
from tcia_assets.store import files
from tcia_assets.store.conform import align

PART = "part-0.parquet"
# A file without rows, which the views need. The underscore hides it from pyarrow's datasets, the
# suffix shows it to the views.
SCHEMA_FILE = "_schema.parquet"
LAYOUT = 3
_PART = re.compile(r"part-([0-9]+)\.parquet", re.ASCII)

# DuckDB opens a file once more for each row group that it reads. With one row group for nearly
# every partition, no query mixes two versions of a partition.
_ROWS_PER_GROUP = 1 << 20

ROWS_PER_BATCH = 1 << 16

# The length in bytes that most file systems allow for one name.
_MAX_NAME_BYTES = 255

CHANGED = "it was changed after it was written"
_INVALID_KEYS = {"", ".", ".."}
_MADE_FROM = b"made_from"


def table_folder(root: Path, table: Table) -> Path:
    """Return the folder of a table's partitions."""
    return _folder(root, table.name)


# Joining paths took a tenth of a refresh: each partition is looked for twenty times.
@lru_cache(maxsize=1 << 10)
def _folder(root: Path, name: str) -> Path:
    return root / "warehouse" / name


def subfolder(table: Table, key: str) -> str:
    """Return the name of a partition's folder; "" for a table without partitions.

    Raises:
        UsageError: No folder can have the key's name.
    """
    return _subfolder(table.name, table.partitioned_by, key)


@lru_cache(maxsize=1 << 14)
def _subfolder(table: str, partitioned_by: str, key: str) -> str:
    if not partitioned_by:
        if key:
            raise UsageError(f"{table} has no partitions, so none called {key!r}")
        return ""
    if key in _INVALID_KEYS:
        raise UsageError(f"a partition of {table} cannot be called {key!r}")
    try:
        name = quote(key, safe="")
    except UnicodeEncodeError as error:
        raise UsageError(f"{key!r} is not valid text: {error.reason}") from error
    if name.startswith((".", "_")):  # readers leave out folders with such names
        name = f"%{ord(name[0]):02X}{name[1:]}"
    # Folders of layout 1 are looked for too.
    if len(partitioned_by) + len("=") + len(name) + len(".lock") > _MAX_NAME_BYTES:
        raise UsageError(f"the folder of {key!r} would have a name of {len(name)} bytes: too long")
    return name


def keys_in(folder: Path, table: Table) -> list[str]:
    """Return the keys of the partitions in a table's folder, sorted."""
    if not (table.partitioned_by and folder.is_dir()):
        return []
    start = _old_prefix(table)
    keys = {unquote(f.name.removeprefix(start)) for f in folder.glob("*/")} - _INVALID_KEYS
    return sorted(key for key in keys if part_numbers(folder, table, key))


def part_numbers(folder: Path, table: Table, key: str) -> list[int]:
    """Return the numbers of a partition's files, ascending; none if it does not exist."""
    first = file_of(folder, table, key)
    if not table.rows_per_part:
        return [0] if first.is_file() else []
    names = (_PART.fullmatch(name) for name in _names_in(first.parent))
    return sorted(int(name[1]) for name in names if name and name[0] == part_name(int(name[1])))


def part_name(number: int) -> str:
    """Return the name of a partition's file with this number."""
    return f"part-{number}.parquet"


def part_number(path: Path) -> int:
    """Return the number of a partition's file."""
    found = _PART.fullmatch(path.name)
    return int(found[1]) if found else 0


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def file_of(folder: Path, table: Table, key: str) -> Path:
    """Return the path of a partition's first file below its table's folder, in either layout.

    Raises:
        UsageError: No folder can have the key's name.
    """
    path, old = _places(folder, table.name, table.partitioned_by, key)
    is_old = bool(key) and not path.is_file() and old.is_file()
    return old if is_old else path


@lru_cache(maxsize=1 << 14)
def _places(folder: Path, name: str, partitioned_by: str, key: str) -> tuple[Path, Path]:
    """Return the paths of a partition's first file in the layout of today and in layout 1."""
    path = folder / _subfolder(name, partitioned_by, key) / PART
    return path, folder / f"{partitioned_by}={quote(key, safe='')}" / PART


def check_case(folder: Path, table: Table, key: str) -> None:
    """Raise StorageError if a partition's folder is that of another key, where case is ignored."""
    if table.partitioned_by:
        files.check_case(folder / subfolder(table, key))
        files.check_case(folder / f"{_old_prefix(table)}{quote(key, safe='')}")


def rename_old_folder(folder: Path, table: Table, key: str) -> bool:
    """Give a partition's folder of layout 1 the name of today; return whether there was one."""
    path = file_of(folder, table, key)
    new = folder / subfolder(table, key)
    if path.parent == new or not path.is_file():
        return False
    try:
        path.parent.rename(new)
    except OSError as error:
        if file_of(folder, table, key).parent == new:
            return False  # another process was faster
        problem = f"{path.parent} cannot be renamed: {error.strerror or error}"
        raise StorageError(problem) from error
    return True


def _old_prefix(table: Table) -> str:
    return f"{table.partitioned_by}="


def foreign_files(root: Path, table: Table, known: Collection[Path]) -> list[Path]:
    """Return the Parquet files in a table's folder that are none of its partitions, sorted.

    Views read them too.
    """
    folder = table_folder(root, table)
    ours = {*known, folder / SCHEMA_FILE}
    return sorted(path for path in folder.rglob("*.parquet") if path not in ours)


def is_schema_file(path: Path) -> bool:
    """Return whether a file is a Parquet file without rows, as `SCHEMA_FILE` is."""
    try:
        return bool(pq.read_metadata(path).num_rows == 0)
    except (OSError, pa.ArrowException):
        return False


def check_partition(table: Table, rows: pa.Table, key: str) -> None:
    """Raise BadValue if a row belongs to another partition."""
    if not table.partitioned_by:
        return
    others = rows[table.partitioned_by].filter(pc.not_equal(rows[table.partitioned_by], key))
    if len(others):
        problem = f"{shorten(str(others[0].as_py()))!r} does not belong in the partition {key!r}"
        raise BadValue(
            problem, table=table.name, column=table.partitioned_by, value=others[0].as_py()
        )


def write_parquet(
    table: Table, rows: pa.Table | Iterable[pa.Table], path: Path, made_from: str = ""
) -> int:
    """Write rows that conform to the table; equal rows give equal bytes.

    Args:
        table: The table.
        rows: The rows, or several tables of them, of which one is in memory at a time.
        path: The file.
        made_from: What the rows were made from, as `read_made_from` returns it.

    Returns:
        How many rows there are.
    """
    schema, written = table.schema, 0
    if made_from:
        schema = schema.with_metadata({**schema.metadata, _MADE_FROM: made_from.encode()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in [rows] if isinstance(rows, pa.Table) else rows:
            written += part.num_rows
            for start in range(0, part.num_rows, _ROWS_PER_GROUP):
                # Combined, because Arrow ends a page where a chunk ends, and the bytes would
                # depend on it.
                group = part.slice(start, _ROWS_PER_GROUP).combine_chunks()
                group = pa.Table.from_arrays(group.columns, schema=schema)
                writer.write_table(group, _ROWS_PER_GROUP)
    return written


def read_made_from(table: Table, path: Path) -> str:
    """Return what a file was made from, as `write_parquet` got it.

    Returns:
        "" if it does not say, has other columns than the table or cannot be read.
    """
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return ""
    is_same = schema.equals(table.schema)
    return (schema.metadata or {}).get(_MADE_FROM, b"").decode() if is_same else ""


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
