"""Where the files of partitions lie, and how their folders are named.

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

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from tcia_assets.errors import StorageError, UsageError
from tcia_assets.spec import Table
from tcia_assets.store import files

PART = "part-0.parquet"
# A file without rows, which the views need. The underscore hides it from pyarrow's datasets, the
# suffix shows it to the views.
SCHEMA_FILE = "_schema.parquet"
LAYOUT = 3
_PART = re.compile(r"part-([0-9]+)\.parquet", re.ASCII)

# The length in bytes that most file systems allow for one name.
_MAX_NAME_BYTES = 255

_INVALID_KEYS = {"", ".", ".."}


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
