"""Read series lists: files that name Series.

They are files of the NBIA Data Retriever (.tcia), CSV or TSV with SeriesInstanceUIDs, or manifests
of the Imaging Data Commons (.s5cmd) with versions of Series.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from tcia_assets.errors import UsageError
from tcia_assets.metadata import s5cmd_manifest
from tcia_assets.spec import MAX_UID_LENGTH, UID_PATTERN

_LIST_BEGINS = "ListOfSeriesToDownload="
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_UID_HEADINGS = {"seriesinstanceuid", "seriesuid"}
_MAX_SHOWN = 80
# All Series of TCIA are less than half of it.
_MAX_BYTES = 256 << 20


def is_uid(text: str) -> bool:
    """Return whether a text is a DICOM UID."""
    return len(text) <= MAX_UID_LENGTH and bool(re.fullmatch(UID_PATTERN, text))


def is_idc(file: str) -> bool:
    """Return whether a series list is a manifest of the Imaging Data Commons."""
    return Path(file).suffix.lower() == s5cmd_manifest.SUFFIX


def read_version_list(file: str) -> pa.Array:
    """Read the crdc_series_uuids of a manifest of the Imaging Data Commons.

    Raises:
        UsageError: The file cannot be read; names the file, and the line if one is wrong.
    """
    return _read_file(file, _read_versions)


def read_series_list(file: str) -> pa.Array:
    """Read the SeriesInstanceUIDs of a series list.

    Args:
        file: A path that ends in .tcia, .csv or .tsv. The latter two need one column with the
            heading SeriesInstanceUID or Series UID.

    Raises:
        UsageError: The file cannot be read; names the file, and the line if one is wrong.
    """
    return _read_file(file, _read)


def _read_file(file: str, read: Callable[[Path, int, int], pa.Array]) -> pa.Array:
    path = Path(file)
    try:
        stat = path.stat()
        if not path.is_file():
            raise UsageError(f"the series list {file!r} cannot be read: it is not a regular file")
        if stat.st_size > _MAX_BYTES:
            raise UsageError(f"the series list {file!r} is longer than {_MAX_BYTES} bytes")
        return read(path, stat.st_mtime_ns, stat.st_size)
    except UnicodeDecodeError as error:
        raise UsageError(f"the series list {file!r} is not in UTF-8: {error}") from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UsageError(f"the series list {file!r} cannot be read: {problem}") from None


@lru_cache(maxsize=32)
def _read_versions(path: Path, _modified: int, _size: int) -> pa.Array:
    return s5cmd_manifest.read_versions(path)


# A plan is made for each Collection; a list of 100,000 Series must not be read each time.
@lru_cache(maxsize=32)
def _read(path: Path, _modified: int, _size: int) -> pa.Array:
    if path.suffix.lower() not in {".tcia", *_DELIMITERS}:
        suffixes = f"*.tcia, *.csv, *.tsv or *{s5cmd_manifest.SUFFIX}"
        raise UsageError(f"the series list {str(path)!r} must be a file {suffixes}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = _DELIMITERS.get(path.suffix.lower())
        cells = _uid_column(path, file, delimiter) if delimiter else _lines(path, file)
        uids = [_checked_uid(path, line, cell) for line, cell in cells]
    if not uids:
        raise UsageError(f"the series list {str(path)!r} has no Series")
    return pa.array(uids, pa.string())


def _checked_uid(path: Path, line: int, text: str) -> str:
    uid = text.strip()
    if is_uid(uid):
        return uid
    shown = repr(uid[:_MAX_SHOWN]) + ("..." if uid[_MAX_SHOWN:] else "")
    raise UsageError(
        f"the series list {str(path)!r}, line {line}: {shown} is not a SeriesInstanceUID"
    )


def _lines(path: Path, file: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines below the head of a .tcia file."""
    lines = ((n, line.strip()) for n, line in enumerate(file, start=1) if line.strip())
    for number, line in lines:
        if line.startswith(_LIST_BEGINS):
            if line != _LIST_BEGINS:
                yield number, line.removeprefix(_LIST_BEGINS)
            yield from lines
            return
        if "=" not in line:
            raise UsageError(
                f"the series list {str(path)!r}, line {number}: {line[:_MAX_SHOWN]!r} is before "
                f"the line {_LIST_BEGINS}, where only name=value is allowed"
            )
    raise UsageError(f"the series list {str(path)!r} has no line {_LIST_BEGINS}")


def _uid_column(path: Path, file: Iterable[str], delimiter: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each cell in the column of UIDs."""
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = [re.sub("[ _]", "", name).lower() for name in next(rows, [])]
        places = [place for place, name in enumerate(names) if name in _UID_HEADINGS]
        if len(places) != 1:
            how_many = "no column" if not places else "more than one column"
            raise UsageError(
                f"the series list {str(path)!r}: {how_many} has the heading SeriesInstanceUID "
                "or Series UID"
            )
        for row in rows:
            if row:
                yield rows.line_num, row[places[0]] if places[0] < len(row) else ""
    except csv.Error as error:
        problem = f"the series list {str(path)!r}, line {rows.line_num}: {error}"
        raise UsageError(problem) from None
