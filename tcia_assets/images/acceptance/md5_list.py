"""`md5hashes.csv`: the archive's own MD5 of each image, which it writes last into a zip.

What belongs here: the format. What does not: what the hashes prove (`rules.py`).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable

FILE_NAME = "md5hashes.csv"
_HEADER = ["Filename", "MD5Hash"]
_MD5 = re.compile(r"[0-9a-f]{32}")
# How the archive writes that it has no digest.
_NOT_TOLD = frozenset({"", "null"})
_LONGEST_LINE = 512
_SLACK = 1024


def max_bytes(images: int) -> int:
    """How long the list of so many images can be."""
    return images * _LONGEST_LINE + _SLACK


def read_from_zip(opened: zipfile.ZipFile) -> dict[str, str]:
    """The MD5 by name, "" where the archive has none; nothing where the zip holds no list.

    Raises ValueError, with the reason, where what it holds is no such list.
    """
    if FILE_NAME not in opened.namelist():
        return {}
    if opened.getinfo(FILE_NAME).file_size > max_bytes(len(opened.namelist())):
        raise ValueError(f"{FILE_NAME} is too large to be a list")
    return parse(opened.read(FILE_NAME))


def parse(content: bytes) -> dict[str, str]:
    """The MD5 by name, in small letters, empty where the archive has none.

    Raises ValueError, with the reason, where it is no such list.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{FILE_NAME} cannot be read: {error}") from error
    if rows[:1] != [_HEADER]:
        raise ValueError(f"{FILE_NAME} does not begin with Filename,MD5Hash")
    listed: dict[str, str] = {}
    for row in filter(None, rows[1:]):
        name, digest = _pair(row)
        if listed.setdefault(name, digest) != digest:
            raise ValueError(f"{FILE_NAME} lists {name!r} with two hashes")
    return listed


def _pair(row: list[str]) -> tuple[str, str]:
    if len(row) != len(_HEADER):
        raise ValueError(f"{FILE_NAME} has a line that is not a name and a hash")
    digest = row[1].strip().lower()
    if digest in _NOT_TOLD:
        return row[0], ""
    if not _MD5.fullmatch(digest):
        raise ValueError(
            f"{FILE_NAME} lists {row[0]!r} with {digest[:_LONGEST_LINE]!r}, which is no MD5"
        )
    return row[0], digest


def format_list(listed: Iterable[tuple[str, str]]) -> bytes:
    """The list of these names and MD5s, as the archive writes it."""
    return "".join(f"{name},{md5}\n" for name, md5 in [_HEADER, *listed]).encode()
