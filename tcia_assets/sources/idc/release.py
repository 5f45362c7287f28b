"""Where an index release is: the installed package, a folder, or a URL."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tcia_assets.catalog import IDC_INDEX
from tcia_assets.errors import UsageError, quote_first
from tcia_assets.settings import Settings
from tcia_assets.spec import IndexFile
from tcia_assets.store import sql

_PACKAGE = "idc_index_data"
# What each file says of its release, in its own metadata.
_VERSION = "idc_index_data_version"
_WAYS = (
    "install it (pip install 'tcia_assets[idc]'), or set TCIA_IDC_INDEX to a folder with its "
    "Parquet files, or to a URL below which they are"
)


def index_folder(settings: Settings) -> Path:
    """Return the folder that has the index release of the settings.

    Raises:
        UsageError: There is none; the text has the ways to have one.
    """
    if settings.idc_index:
        folder = Path(settings.idc_index)
        if not folder.is_dir():
            raise UsageError(
                f"TCIA_IDC_INDEX is {settings.idc_index!r}, which is no folder; {_WAYS}"
            )
        return folder
    # Not imported: it would read its files.
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise UsageError(f"there is no index of the Imaging Data Commons: {_WAYS}")
    return Path(found.origin).parent


def release_of(folder: Path) -> str:
    """Return the version of the index release in a folder, such as "25.0.5".

    Raises:
        UsageError: There is none, or its file cannot be read.
    """
    path = folder / f"{IDC_INDEX.name}.parquet"
    if not path.is_file():
        raise unusable(folder, "", f"it has no file {path.name}")
    statement = (
        "SELECT value::VARCHAR AS v FROM parquet_kv_metadata($path) WHERE key::VARCHAR = $key"
    )
    try:
        with sql.scratch() as connection:
            found = sql.fetch_table(connection, statement, {"path": str(path), "key": _VERSION})
    except sql.SqlError as error:
        raise unusable(folder, "", str(error).splitlines()[0]) from error
    if not found.num_rows:
        raise unusable(folder, "", f"{path.name} does not say which release it is of ({_VERSION})")
    # As git describes it: the tag, commits since then, and the newest of these.
    return str(found["v"][0].as_py()).partition("-")[0]


def check_columns(folder: Path, file: IndexFile, release: str) -> None:
    """Raise UsageError unless a file of a release is there, and has the columns that are needed."""
    path = folder / f"{file.name}.parquet"
    if not path.is_file():
        raise unusable(folder, release, f"it has no file {path.name}")
    try:
        with sql.scratch() as connection:
            described = sql.fetch_table(
                connection, f"DESCRIBE FROM read_parquet({sql.literal(str(path))})"
            )
    except sql.SqlError as error:
        raise unusable(folder, release, str(error).splitlines()[0]) from error
    missing = sorted(set(file.columns) - set(described["column_name"].to_pylist()))
    if missing:
        raise unusable(folder, release, f"{path.name} has no column {quote_first(missing)}")


def unusable(folder: Path, release: str, problem: str) -> UsageError:
    """Return the error for an index that cannot be used, with the ways to have another one."""
    which = f"release {release} of the index" if release else "the index"
    return UsageError(
        f"{which} of the Imaging Data Commons in {folder} cannot be used: {problem}. To use "
        f"another release, {_WAYS}"
    )
