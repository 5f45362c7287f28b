"""Where an index release is, its version, and whether its files can be used."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tcia_assets.catalog import IDC_INDEX
from tcia_assets.errors import UsageError, quote_first, shorten
from tcia_assets.extras import install_command
from tcia_assets.settings import Settings
from tcia_assets.spec import IndexFile
from tcia_assets.store import sql

# The newest release.
PUBLIC_URL = "https://storage.googleapis.com/idc-index-data-artifacts/current/release_artifacts"
_PACKAGE = "idc_index_data"
# What each file says of its release, in its own metadata.
_VERSION = "idc_index_data_version"
# Types of columns, as DuckDB names them. What is not plain would be stored as a text of its parts.
_LIST = re.compile(r".*\[\]", re.DOTALL)
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_PLAIN = re.compile(r"VARCHAR|.?NULL.?|ENUM.*|DATE|TIMESTAMP[A-Z_ ]*|" + _NUMBER.pattern, re.DOTALL)
_NUMBERS = re.compile(r"[0-9]{1,9}([.][0-9]{1,9}){0,3}", re.ASCII)


def other_ways() -> str:
    """Return how else the index can be had, as the end of an error."""
    return (
        f"install it as a package ({install_command('idc')}), or set TCIA_IDC_INDEX to a folder "
        "with its Parquet files, or to a URL below which they are"
    )


def index_place(settings: Settings) -> Path | str:
    """Return where the index release of the settings is: a folder, or a URL.

    Raises:
        UsageError: The setting names no folder; the text has the ways to have an index.
    """
    place = settings.idc_index
    if not place:
        # Not imported: it would read its files.
        found = find_spec(_PACKAGE)
        return Path(found.origin).parent if found and found.origin else PUBLIC_URL
    if place.startswith(("http://", "https://")):
        return place.rstrip("/")
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise UsageError(f"TCIA_IDC_INDEX is {place!r}, which is no folder; {other_ways()}")
    return folder


def release_of(folder: Path) -> str:
    """Return the version of the index release in a folder, such as "25.0.5".

    Raises:
        UsageError: There is none, or its file cannot be read.
    """
    return release_in(folder / f"{IDC_INDEX.name}.parquet", folder)


def release_in(path: Path, place: Path | str) -> str:
    """Return the version of the release that a file is of.

    Args:
        path: The file.
        place: Where the release is, for the error.

    Raises:
        UsageError: The file is missing, cannot be read, or names no release.
    """
    if not path.is_file():
        raise unusable(place, "", f"it has no file {path.name}")
    statement = (
        "SELECT value::VARCHAR AS v FROM parquet_kv_metadata($path) WHERE key::VARCHAR = $key"
    )
    try:
        with sql.scratch() as connection:
            found = sql.fetch_table(connection, statement, {"path": str(path), "key": _VERSION})
    except sql.SqlError as error:
        raise unusable(place, "", str(error).splitlines()[0]) from error
    # As git describes it: the tag, commits since then, and the newest of these.
    version = str(found["v"][0].as_py()).partition("-")[0] if found.num_rows else ""
    if not _NUMBERS.fullmatch(version):
        raise unusable(place, "", f"{path.name} does not say which release it is of ({_VERSION})")
    return version


def check_columns(path: Path, file: IndexFile, place: Path | str, release: str) -> None:
    """Raise UsageError unless a file of a release is there, with the columns that are needed."""
    if not path.is_file():
        raise unusable(place, release, f"it has no file {path.name}")
    try:
        with sql.scratch() as connection:
            described = sql.fetch_table(
                connection, f"DESCRIBE FROM read_parquet({sql.literal(str(path))})"
            )
    except sql.SqlError as error:
        raise unusable(place, release, str(error).splitlines()[0]) from error
    names, kinds = (described[name].to_pylist() for name in ("column_name", "column_type"))
    types = dict(zip(names, kinds, strict=True))
    missing = sorted(set(file.columns) - set(types))
    if missing:
        raise unusable(place, release, f"{path.name} has no column {quote_first(missing)}")
    for name in file.columns:
        if not _expected_type(file, name).fullmatch(types[name]):
            problem = f"{path.name} has the column {name!r} with the type {shorten(types[name])}"
            raise unusable(place, release, problem)


def _expected_type(file: IndexFile, name: str) -> re.Pattern[str]:
    if name in file.lists:
        return _LIST
    return _NUMBER if name in file.numbers else _PLAIN


def unusable(place: Path | str, release: str, problem: str) -> UsageError:
    """Return the error for an index that cannot be used, with the ways to have another one."""
    which = f"release {release} of the index" if release else "the index"
    return UsageError(
        f"{which} of the Imaging Data Commons in {place} cannot be used: {problem}. To use "
        f"another release, {other_ways()}"
    )
