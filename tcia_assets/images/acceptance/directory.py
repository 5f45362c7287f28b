"""What a zip claims: its central directory and the place of each member, read strictly.

What belongs here: the zip format, and what no zip from the archive may have whatever its Series is.
What does not: what the members should be (`rules.py`), and inflating them (`inflate.py`).

`zipfile` forgives what must be refused here: bytes before, between and behind members, members
inside each other, headers that disagree, a directory of any length. So the members of a zip that
passes lie end to end from its first byte to its directory, and every other reader sees the same.
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STORED, DEFLATED = 0, 8
UTF8, SIZES_BEHIND = 0x0800, 0x0008

LOCAL = struct.Struct("<4s2B4H3L2H")
DESCRIPTOR, DESCRIPTOR64 = struct.Struct("<4sLLL"), struct.Struct("<4sLQQ")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
LOCAL_MARK, DESCRIPTOR_MARK, CENTRAL_MARK = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02"
END_MARK, END64_MARK, LOCATOR_MARK = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
# A 16 or 32 bit field that says: see the 64 bit one.
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64 = 0x0001
NEEDS_DEFLATE, NEEDS_ZIP64 = 20, 45

# Two bits say how hard the deflater tried; all others but these are encryption and patches.
_KNOWN_FLAGS = UTF8 | SIZES_BEHIND | 0x0006
_DOS_FOLDER = 0x10
_LONGEST_NAME = 255
_LONGEST_COMMENT = 0xFFFF
# Far above any DICOM object.
_LARGEST_MEMBER = 16 << 30
# Deflate makes 258 bytes of 2 bits at best.
_BEST_RATIO = 1032
_SLACK = 1024


class MalformedZip(Exception):
    """A zip, or one member, that breaks the format or claims what it may not; the text says what.

    Never leaves `tcia_assets.acceptance`.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the directory claims it; `at` is where its data begin in the file."""

    name: str
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    at: int


@dataclass(frozen=True)
class Zip:
    """An open zip whose directory and layout are sound; of its data nothing is known."""

    entries: tuple[Entry, ...]
    size_bytes: int
    _data: mmap.mmap

    def compressed(self, entry: Entry) -> memoryview:
        """The compressed bytes of a member, as they lie in the page cache."""
        return memoryview(self._data)[entry.at : entry.at + entry.compressed_bytes]


@contextmanager
def open_zip(path: Path, most_members: int) -> Iterator[Zip]:
    """Open the zip at `path`; raise MalformedZip if it claims more members than that."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < END.size:
            raise _broken(f"{size} bytes are too few for any zip")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        yield Zip(_entries(data, most_members), size, data)
    finally:
        # An error on its way up may still hold a view; the mapping then goes when the error does.
        with suppress(BufferError):
            data.close()


def check_member_name(name: str) -> None:
    """Raises MalformedZip where `name` is not a bare name of a file on every system."""
    if (
        name in {"", ".", ".."}
        or any(c in name for c in "/\\:")
        or not name.isprintable()
        or len(name.encode()) > _LONGEST_NAME
    ):
        raise MalformedZip(f"the zip has a member named {_shown(name)}")


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "...")


def _broken(problem: str) -> MalformedZip:
    return MalformedZip(f"the zip is broken: {problem}")


# --- The end ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _End:
    count: int
    size: int
    start: int


def _end(data: mmap.mmap) -> _End:
    at = len(data) - END.size
    mark, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, at)
    if mark != END_MARK or comment:
        raise _misplaced_end(data)
    end = _End(count, size, start)
    if data[at - LOCATOR.size : at - LOCATOR.size + 4] == LOCATOR_MARK and at >= LOCATOR.size:
        end, at = _end64(data, at - LOCATOR.size, end)
    elif disk or first_disk or here != count:
        raise _broken("it is one of several volumes")
    if end.start + end.size != at:
        raise _broken("its directory is not where it says")
    return end


def _misplaced_end(data: mmap.mmap) -> MalformedZip:
    at = data.rfind(END_MARK, max(0, len(data) - END.size - _LONGEST_COMMENT))
    if at < 0 or at + END.size > len(data):
        return _broken("it has no end")
    comment = END.unpack_from(data, at)[-1]
    if comment and at + END.size + comment == len(data):
        return MalformedZip("the zip has a comment; the archive writes none")
    return MalformedZip("there are bytes behind the zip's directory")


def _end64(data: mmap.mmap, at: int, short: _End) -> tuple[_End, int]:
    """The end as the 64 bit records have it, and where these begin."""
    _, disk, start, disks = LOCATOR.unpack_from(data, at)
    if disk or disks != 1 or start + END64.size != at:
        raise _broken("its 64 bit end is not where it says")
    mark, size, _, _, disk, first_disk, here, count, length, first = END64.unpack_from(data, start)
    if mark != END64_MARK or size != END64.size - 12 or disk or first_disk or here != count:
        raise _broken("its 64 bit end cannot be read")
    pairs = (
        (short.count, count, FULL16),
        (short.size, length, FULL32),
        (short.start, first, FULL32),
    )
    if any(told not in {true, full} for told, true, full in pairs):
        raise _broken("its two ends disagree")
    return _End(count, length, first), start


# --- The directory ------------------------------------------------------------------------------


def _entries(data: mmap.mmap, most_members: int) -> tuple[Entry, ...]:
    end = _end(data)
    if end.count > most_members:
        raise MalformedZip(
            f"the zip claims {end.count} members, more than the {most_members} that it may have"
        )
    entries: list[Entry] = []
    names: set[str] = set()
    at, pending = end.start, None
    for _ in range(end.count):
        claim, at = _claim(data, at, end.start + end.size)
        # Not told apart on every system.
        folded = claim.name.casefold()
        if folded in names:
            raise MalformedZip(f"two members of the zip have the name {claim.name!r}")
        names.add(folded)
        if pending is not None:
            _demand_end(data, pending, claim.start)
        elif claim.start:
            raise MalformedZip("there are bytes before the first member of the zip")
        pending = _located(data, claim, end.start)
        entries.append(pending.entry)
    if at != end.start + end.size:
        raise _broken("its directory is longer than its members need")
    if pending is not None:
        _demand_end(data, pending, end.start)
    elif end.start:
        raise MalformedZip("there are bytes before the directory of a zip without members")
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A line of the directory; `start` is where the member's own header is."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    start: int


def _claim(data: mmap.mmap, at: int, stop: int) -> tuple[_Claim, int]:
    if at + CENTRAL.size > stop:
        raise _broken("its directory ends too early")
    (
        mark, _, _, needs, _, flags, method, _, _, crc, packed, size,
        name_length, extra_length, comment_length, disk, _, attributes, start,
    ) = CENTRAL.unpack_from(data, at)  # fmt: skip
    after_name = at + CENTRAL.size + name_length
    after = after_name + extra_length + comment_length
    if mark != CENTRAL_MARK or after > stop:
        raise _broken("its directory cannot be read")
    raw_name = data[at + CENTRAL.size : after_name]
    name = _decoded(raw_name, flags)
    check_member_name(name)
    if comment_length:
        raise MalformedZip(f"the member {name!r} has a comment; the archive writes none")
    if disk or needs > NEEDS_ZIP64:
        raise MalformedZip(f"the member {name!r} needs more than a plain zip")
    size, packed, start = _wide(data[after_name : after_name + extra_length], size, packed, start)
    _demand_kind(name, flags, method, attributes)
    _demand_sizes(name, method, packed, size)
    return _Claim(name, raw_name, flags, method, crc, packed, size, start), after


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise MalformedZip(f"the zip has a member named {raw[:_LONGEST_NAME]!r}") from None


def _wide(extra: bytes, *fields: int) -> tuple[int, ...]:
    """The fields, with those that are full taken from the 64 bit extra, in its order."""
    full = [field == FULL32 for field in fields]
    words = _zip64(extra)
    if words is None:
        return fields
    if len(words) != 8 * sum(full):
        raise _broken("the 64 bit sizes of a member cannot be read")
    wide = iter(struct.unpack(f"<{sum(full)}Q", words))
    return tuple(next(wide) if f else field for f, field in zip(full, fields, strict=True))


def _zip64(extra: bytes) -> bytes | None:
    """The content of the 64 bit extra, None where there is none."""
    at, found = 0, None
    while at < len(extra):
        if at + 4 > len(extra):
            raise _broken("an extra field of a member cannot be read")
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4 + length
        if at > len(extra) or (kind == ZIP64 and found is not None):
            raise _broken("an extra field of a member cannot be read")
        if kind == ZIP64:
            found = extra[at - length : at]
    return found


def _demand_kind(name: str, flags: int, method: int, attributes: int) -> None:
    if flags & ~_KNOWN_FLAGS:
        raise MalformedZip(f"the member {name!r} is encrypted, or flagged as what it cannot be")
    if method not in {STORED, DEFLATED}:
        raise MalformedZip(f"the member {name!r} is compressed by method {method}")
    kind = stat.S_IFMT(attributes >> 16)
    if kind == stat.S_IFLNK:
        raise MalformedZip(f"the member {name!r} is a symbolic link")
    if kind not in {0, stat.S_IFREG} or attributes & _DOS_FOLDER:
        raise MalformedZip(f"the member {name!r} is not a file")


def _demand_sizes(name: str, method: int, packed: int, size: int) -> None:
    if size > _LARGEST_MEMBER:
        raise MalformedZip(f"the member {name!r} claims {size} bytes")
    # Longer than it need be hides something; shorter than can be is a lie.
    most = size if method == STORED else size + size // 4 + _SLACK
    least = size if method == STORED else (size - _SLACK) / _BEST_RATIO
    if not least <= packed <= most:
        raise MalformedZip(f"the member {name!r} claims {size} bytes, packed in {packed}")


# --- The members' own headers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Located:
    entry: Entry
    flags: int
    sizes_told: tuple[int, int, int]


def _located(data: mmap.mmap, claim: _Claim, stop: int) -> _Located:
    """The member with the place of its data; its own header must agree with the directory."""
    name_at = claim.start + LOCAL.size
    if name_at > stop:
        raise _broken(f"{claim.name!r} is not where the directory says")
    mark, needs, _, flags, method, _, _, crc, packed, size, name_length, extra_length = (
        LOCAL.unpack_from(data, claim.start)
    )
    at = name_at + name_length + extra_length
    if mark != LOCAL_MARK or at + claim.compressed_bytes > stop:
        raise _broken(f"{claim.name!r} is not where the directory says")
    told = (needs <= NEEDS_ZIP64, flags, method, data[name_at : name_at + name_length])
    if told != (True, claim.flags, claim.method, claim.raw_name):
        raise _broken(f"the header of {claim.name!r} and the directory disagree")
    size, packed = _wide(data[name_at + name_length : at], size, packed)
    entry = Entry(claim.name, claim.method, claim.crc, claim.compressed_bytes, claim.size_bytes, at)
    return _Located(entry, flags, (crc, packed, size))


def _demand_end(data: mmap.mmap, member: _Located, boundary: int) -> None:
    """That the member, with the sizes behind it where it has these, ends where the next begins."""
    entry, end = member.entry, member.entry.at + member.entry.compressed_bytes
    true = (entry.crc, entry.compressed_bytes, entry.size_bytes)
    if boundary < end:
        raise MalformedZip(f"{entry.name!r} overlaps the member behind it")
    if not member.flags & SIZES_BEHIND:
        if boundary != end:
            raise MalformedZip(f"there are bytes behind the member {entry.name!r}")
        if member.sizes_told != true:
            raise _broken(f"the header of {entry.name!r} and the directory disagree")
        return
    behind = data[end : min(boundary, end + DESCRIPTOR64.size + 1)]
    if behind not in _descriptors(*true):
        raise MalformedZip(f"there are bytes behind the member {entry.name!r}")
    if any(t not in {0, FULL32, own} for t, own in zip(member.sizes_told, true, strict=True)):
        raise _broken(f"the header of {entry.name!r} and the directory disagree")


def _descriptors(crc: int, packed: int, size: int) -> set[bytes]:
    """All ways to write CRC and sizes behind a member; the mark may be left out."""
    ways = {DESCRIPTOR64.pack(DESCRIPTOR_MARK, crc, packed, size)}
    if max(packed, size) <= FULL32:
        ways.add(DESCRIPTOR.pack(DESCRIPTOR_MARK, crc, packed, size))
    return ways | {way[len(DESCRIPTOR_MARK) :] for way in ways}
