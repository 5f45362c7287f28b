"""Read and write `md5hashes.csv`, in which NBIA lists the MD5 of each image at the end of a zip.

Only the format belongs here, and the hash of a Series that is made of them. What they prove is in
`images/acceptance/rules.py`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable

FILE_NAME = "md5hashes.csv"
_HEADER = ["Filename", "MD5Hash"]
_MD5 = re.compile(r"[0-9a-f]{32}")
# NBIA writes these for an image whose MD5 it does not have.
_NO_MD5 = frozenset({"", "null"})
_MAX_LINE_BYTES = 512
_SLACK_BYTES = 1024


def max_bytes(image_count: int) -> int:
    """Return the greatest plausible size of the list of that many images, in bytes."""
    return image_count * _MAX_LINE_BYTES + _SLACK_BYTES


def read_from_zip(zip_file: zipfile.ZipFile) -> dict[str, str]:
    """Return the MD5 of each name that the zip lists, as `parse` does; {} if it has no list.

    Raises:
        ValueError: The member is too large or is not such a list.
    """
    if FILE_NAME not in zip_file.namelist():
        return {}
    if zip_file.getinfo(FILE_NAME).file_size > max_bytes(len(zip_file.namelist())):
        raise ValueError(f"{FILE_NAME} is too large for a list of MD5s")
    return parse(zip_file.read(FILE_NAME))


def parse(content: bytes) -> dict[str, str]:
    """Return the MD5 of each name: 32 lower case hex digits, or "" where the list has none.

    Raises:
        ValueError: The content is not such a list; the message has the reason.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{FILE_NAME} cannot be read: {error}") from error
    if rows[:1] != [_HEADER]:
        raise ValueError(f"{FILE_NAME} does not begin with Filename,MD5Hash")
    hashes: dict[str, str] = {}
    for row in filter(None, rows[1:]):
        name, md5 = _parse_row(row)
        if hashes.setdefault(name, md5) != md5:
            raise ValueError(f"{FILE_NAME} lists {name!r} with two hashes")
    return hashes


def _parse_row(row: list[str]) -> tuple[str, str]:
    if len(row) != len(_HEADER):
        raise ValueError(f"{FILE_NAME} has a line that is not a name and a hash")
    md5 = row[1].strip().lower()
    if md5 in _NO_MD5:
        return row[0], ""
    if not _MD5.fullmatch(md5):
        raise ValueError(f"{FILE_NAME} lists {row[0]!r} with {md5[:_MAX_LINE_BYTES]!r}: not an MD5")
    return row[0], md5


def format_list(hashes: Iterable[tuple[str, str]]) -> bytes:
    """Return the list of these pairs of name and MD5, in the format that NBIA writes."""
    return "".join(f"{name},{md5}\n" for name, md5 in [_HEADER, *hashes]).encode()


def combined_md5(children: Iterable[str]) -> str:
    """Return the MD5 of NBIA over MD5s, in any order and case: that of a Series over its objects.

    >>> combined_md5(["0cc175b9c0f1b6a831c399e269772661"])
    'd7afde3e7059cd0a0fe09eec4b0008cd'
    """
    joined = "".join(sorted(child.lower() for child in children))
    return hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()
