"""Whether a Series' zip is what the archive says it is. Reads one file, changes nothing.

What belongs here: the rule by which a zip is accepted. What does not: fetching it, and what becomes
of one that fails (`archive.py`).

The archive turns its own failures into valid but shorter zips with status 200, so that "the zip
opens and its CRCs are right" proves nothing. What does: `md5hashes.csv`, which it writes last, and
the count and byte sum that `getSeries` told beforehand. Limits come before inflation.
"""

from __future__ import annotations

import csv
import hashlib
import io
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tcia_assets import dicom
from tcia_assets.errors import BadArchive

_MD5_LIST = "md5hashes.csv"
_NOT_IMAGES = frozenset({"LICENSE", _MD5_LIST})
_END_OF_DIRECTORY = b"PK\x05\x06"
_END_BYTES = 22
# An MD5 list of 600,000 objects.
_LONGEST_TEXT = 1 << 25
# What one object may hold where the archive told no sizes: far above any DICOM object.
_LARGEST_OBJECT = 16 << 30


@dataclass(frozen=True)
class Expectation:
    """What the archive's metadata says of a Series; None where it says nothing."""

    series_instance_uid: str
    image_count: int | None
    image_bytes: int | None


@dataclass(frozen=True)
class Proof:
    """What an accepted zip holds, and the strongest thing that proves it."""

    image_count: int
    image_bytes: int
    verified_by: str


def accept(path: Path, expected: Expectation) -> Proof:
    """Proves the zip at `path` whole and of that Series; raises BadArchive with the reason."""
    try:
        with zipfile.ZipFile(path) as archive:
            _demand_clean_end(path, archive, expected)
            images = _images(archive, expected)
            _demand_texts(archive, expected)
            hashes = _hashes(archive, expected)
            _demand_names(images, hashes, expected)
            _demand_objects(archive, images, hashes, expected)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _bad(expected, f"the zip is broken: {error}") from error
    total = sum(member.file_size for member in images)
    return Proof(len(images), total, _strength(hashes, expected))


def _strength(hashes: dict[str, str] | None, expected: Expectation) -> str:
    if hashes is not None:
        return "md5"
    return "count" if expected.image_bytes is None else "count+size"


def _bad(expected: Expectation, problem: str) -> BadArchive:
    return BadArchive(problem, table="image_archives", key=expected.series_instance_uid)


def _demand_clean_end(path: Path, archive: zipfile.ZipFile, expected: Expectation) -> None:
    if archive.comment:
        raise _bad(expected, "the zip has a comment; the archive writes none")
    with path.open("rb") as file:
        file.seek(-_END_BYTES, io.SEEK_END)
        if file.read(4) != _END_OF_DIRECTORY:
            raise _bad(expected, "there are bytes behind the zip's directory")


def _images(archive: zipfile.ZipFile, expected: Expectation) -> list[zipfile.ZipInfo]:
    """The members that are images; raises before anything is inflated where they cannot be good."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise _bad(expected, "two members of the zip have the same name")
    for member in members:
        _demand_plain(member, expected)
    images = [member for member in members if member.filename not in _NOT_IMAGES]
    if not images:
        raise _bad(expected, "the zip holds no image")
    count, total = len(images), sum(member.file_size for member in images)
    if expected.image_count is not None and count != expected.image_count:
        raise _bad(expected, f"{count} images where the archive counts {expected.image_count}")
    if expected.image_bytes is not None and total != expected.image_bytes:
        raise _bad(expected, f"{total} bytes where the archive has {expected.image_bytes}")
    return images


def _demand_plain(member: zipfile.ZipInfo, expected: Expectation) -> None:
    name = member.filename
    # The server sends bare names; anything else may be meant to leave the folder.
    if member.orig_filename != name or any(c in name for c in "/\\:") or name in {"", ".", ".."}:
        raise _bad(expected, f"the zip has a member named {member.orig_filename!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _bad(expected, f"the member {name!r} is a symbolic link")
    if member.file_size > _LARGEST_OBJECT:
        raise _bad(expected, f"the member {name!r} claims {member.file_size} bytes")


def _demand_texts(archive: zipfile.ZipFile, expected: Expectation) -> None:
    """Inflates what is no image, for its CRC: the zip is kept whole, so all of it must be right."""
    for name in _NOT_IMAGES & set(archive.namelist()):
        if archive.getinfo(name).file_size > _LONGEST_TEXT:
            raise _bad(expected, f"{name} is too large to be a text")
        archive.read(name)


def _hashes(archive: zipfile.ZipFile, expected: Expectation) -> dict[str, str] | None:
    """The archive's own MD5 by name, or None where the zip holds no list."""
    if _MD5_LIST not in archive.namelist():
        return None
    rows = csv.reader(io.StringIO(archive.read(_MD5_LIST).decode("utf-8", "replace")))
    if next(rows, None) != ["Filename", "MD5Hash"]:
        raise _bad(expected, f"{_MD5_LIST} does not begin with Filename,MD5Hash")
    pairs = [row for row in rows if row]
    if any(len(row) != 2 for row in pairs):  # noqa: PLR2004 - a name and its hash
        raise _bad(expected, f"{_MD5_LIST} has a line that is not a name and a hash")
    return {name: digest.strip().lower() for name, digest in pairs}


def _demand_names(
    images: list[zipfile.ZipInfo], hashes: dict[str, str] | None, expected: Expectation
) -> None:
    if hashes is None:
        if expected.image_count is None:
            raise _bad(expected, "nothing proves it whole: no MD5 list and no count")
        return
    differ = {member.filename for member in images} ^ hashes.keys()
    if differ:
        problem = f"images and {_MD5_LIST} differ in {len(differ)} names, such as {min(differ)!r}"
        raise _bad(expected, problem)


def _demand_objects(
    archive: zipfile.ZipFile,
    images: list[zipfile.ZipInfo],
    hashes: dict[str, str] | None,
    expected: Expectation,
) -> None:
    """Inflates each image once: CRC, MD5, and DICOM of this Series with a UID of its own."""
    seen: dict[str, str] = {}
    for member in images:
        name, whole = member.filename, archive.read(member)
        if hashes and hashlib.md5(whole, usedforsecurity=False).hexdigest() != hashes[name]:
            raise _bad(expected, f"the MD5 of {name!r} is not the one that the archive lists")
        try:
            identity = dicom.identify(whole)
        except ValueError as error:
            raise _bad(expected, f"{name!r}: {error}") from error
        if identity.series_instance_uid != expected.series_instance_uid:
            raise _bad(expected, f"{name!r} is of Series {identity.series_instance_uid}")
        first = seen.setdefault(identity.sop_instance_uid, name)
        if first != name:
            raise _bad(expected, f"{first!r} and {name!r} have the same SOPInstanceUID")
