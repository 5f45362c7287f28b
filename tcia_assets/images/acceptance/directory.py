"""Read a zip's central directory strictly: what the zip claims, and where each member lies.

Only the zip format belongs here, with the rules that hold for any zip from a source. What the
members should be is in `rules.py`, decompression in `inflate.py`.

`zipfile` tolerates what must be refused here: bytes before, between and after members, overlapping
members, headers that contradict the directory, a directory of any length. The members of a zip
that passes lie end to end from the first byte to the directory, so every other reader sees the
same content.
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
UTF8, SIZES_AFTER_DATA = 0x0800, 0x0008

LOCAL = struct.Struct("<4s2B4H3L2H")
DESCRIPTOR, DESCRIPTOR64 = struct.Struct("<4sLLL"), struct.Struct("<4sLQQ")
CENTRAL = struct.Struct("<4s4B4H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
LOCAL_MARK, DESCRIPTOR_MARK, CENTRAL_MARK = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02"
END_MARK, END64_MARK, LOCATOR_MARK = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
# A 16 or 32 bit field with this value defers to its 64 bit counterpart.
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64 = 0x0001
NEEDS_ZIP64 = 45

# 0x0006 is the compression level. The other flags mean encryption or patch data.
_KNOWN_FLAGS = UTF8 | SIZES_AFTER_DATA | 0x0006
_DOS_DIRECTORY = 0x10
_MAX_NAME_BYTES = 255
_MAX_COMMENT_BYTES = 0xFFFF
# Far above the size of any DICOM object.
_MAX_MEMBER_BYTES = 16 << 30
# At best, deflate encodes 258 bytes in 2 bits.
_MAX_RATIO = 1032
_SLACK_BYTES = 1024


class MalformedZip(Exception):
    """A zip or a member that violates the zip format or a limit; the message has the reason.

    Callers of this package convert it to `BadArchive`.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the directory describes it.

    `method` is STORED or DEFLATED; `data_offset` is where its compressed bytes begin in the file.
    """

    name: str
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    data_offset: int


@dataclass(frozen=True)
class Zip:
    """An open zip whose directory and layout are valid; its data are not verified yet."""

    entries: tuple[Entry, ...]
    size_bytes: int
    _data: mmap.mmap

    def compressed(self, entry: Entry) -> memoryview:
        """Return the compressed bytes of a member, as a view of the memory-mapped file."""
        return memoryview(self._data)[
            entry.data_offset : entry.data_offset + entry.compressed_bytes
        ]


@contextmanager
def open_zip(path: Path, max_members: int) -> Iterator[Zip]:
    """Open the zip at `path` and check its directory and layout.

    Args:
        path: The file, which is memory-mapped and not changed.
        max_members: The limit on the number of members, checked before any is read.

    Raises:
        MalformedZip: The file is not a zip that a source could have sent.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < END.size:
            raise _broken(f"{size} bytes are too few for a zip")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        yield Zip(_read_entries(data, max_members), size, data)
    finally:
        # The traceback of a propagating error may hold a view; then the error releases the mapping.
        with suppress(BufferError):
            data.close()


def check_member_name(name: str) -> None:
    """Raise MalformedZip unless `name` is a plain file name on every operating system."""
    if (
        name in {"", ".", ".."}
        or any(c in name for c in "/\\:")
        or not name.isprintable()
        or len(name.encode()) > _MAX_NAME_BYTES
    ):
        raise MalformedZip(f"the zip has a member named {_shorten(name)}")


def _shorten(name: str) -> str:
    return repr(name if len(name) <= _MAX_NAME_BYTES else name[:_MAX_NAME_BYTES] + "...")


def _broken(problem: str) -> MalformedZip:
    return MalformedZip(f"the zip is broken: {problem}")


# --- The end record -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _End:
    """The end record's data about the directory."""

    count: int
    size: int
    start: int


def _read_end(data: mmap.mmap) -> _End:
    offset = len(data) - END.size
    mark, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, offset)
    if mark != END_MARK or comment:
        raise _explain_missing_end(data)
    end = _End(count, size, start)
    if (
        data[offset - LOCATOR.size : offset - LOCATOR.size + 4] == LOCATOR_MARK
        and offset >= LOCATOR.size
    ):
        end, offset = _read_end64(data, offset - LOCATOR.size, end)
    elif disk or first_disk or here != count:
        raise _broken("it is one of several volumes")
    if end.start + end.size != offset:
        raise _broken("its directory is not at the recorded offset")
    return end


def _explain_missing_end(data: mmap.mmap) -> MalformedZip:
    offset = data.rfind(END_MARK, max(0, len(data) - END.size - _MAX_COMMENT_BYTES))
    if offset < 0 or offset + END.size > len(data):
        return _broken("it has no end record")
    comment = END.unpack_from(data, offset)[-1]
    if comment and offset + END.size + comment == len(data):
        return MalformedZip("the zip has a comment; sources write none")
    return MalformedZip("bytes follow the zip's directory")


def _read_end64(data: mmap.mmap, offset: int, short: _End) -> tuple[_End, int]:
    """Return the end as the 64 bit records give it, and the offset where these begin."""
    _, disk, start, disks = LOCATOR.unpack_from(data, offset)
    if disk or disks != 1 or start + END64.size != offset:
        raise _broken("its 64 bit end record is not at the recorded offset")
    mark, size, _, _, disk, first_disk, here, count, length, first = END64.unpack_from(data, start)
    if mark != END64_MARK or size != END64.size - 12 or disk or first_disk or here != count:
        raise _broken("its 64 bit end record cannot be read")
    pairs = (
        (short.count, count, FULL16),
        (short.size, length, FULL32),
        (short.start, first, FULL32),
    )
    if any(narrow not in {wide, full} for narrow, wide, full in pairs):
        raise _broken("its two end records disagree")
    return _End(count, length, first), start


# --- The directory ------------------------------------------------------------------------------


def _read_entries(data: mmap.mmap, max_members: int) -> tuple[Entry, ...]:
    end = _read_end(data)
    if end.count > max_members:
        raise MalformedZip(f"the zip claims {end.count} members; at most {max_members} are allowed")
    entries: list[Entry] = []
    names: set[str] = set()
    offset, previous = end.start, None
    for _ in range(end.count):
        claim, offset = _read_claim(data, offset, end.start + end.size)
        _check_repeated(claim.name, names)
        if previous is not None:
            _check_member_end(data, previous, claim.start)
        elif claim.start:
            raise MalformedZip("bytes precede the first member of the zip")
        previous = _locate(data, claim, end.start)
        entries.append(previous.entry)
    if offset != end.start + end.size:
        raise _broken("its directory is longer than its members need")
    if previous is not None:
        _check_member_end(data, previous, end.start)
    elif end.start:
        raise MalformedZip("bytes precede the directory of a zip without members")
    return tuple(entries)


def _check_repeated(name: str, seen: set[str]) -> None:
    # Some file systems do not distinguish upper and lower case.
    folded = name.casefold()
    if folded in seen:
        raise MalformedZip(f"two members of the zip have the name {name!r}")
    seen.add(folded)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A record of the directory; `start` is the offset of the member's local header."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    start: int


def _read_claim(data: mmap.mmap, offset: int, stop: int) -> tuple[_Claim, int]:
    if offset + CENTRAL.size > stop:
        raise _broken("its directory ends too early")
    (
        mark, _, _, needs, _, flags, method, _, _, crc, compressed, size,
        name_length, extra_length, comment_length, disk, _, attributes, start,
    ) = CENTRAL.unpack_from(data, offset)  # fmt: skip
    after_name = offset + CENTRAL.size + name_length
    end_offset = after_name + extra_length + comment_length
    if mark != CENTRAL_MARK or end_offset > stop:
        raise _broken("its directory cannot be read")
    raw_name = data[offset + CENTRAL.size : after_name]
    name = _decode_name(raw_name, flags)
    check_member_name(name)
    if comment_length:
        raise MalformedZip(f"the member {name!r} has a comment; sources write none")
    if disk or needs > NEEDS_ZIP64:
        raise MalformedZip(f"the member {name!r} needs more than a plain zip")
    extra = data[after_name : after_name + extra_length]
    size, compressed, start = _widen(extra, size, compressed, start)
    _check_kind(name, flags, method, attributes)
    _check_sizes(name, method, compressed, size)
    return _Claim(name, raw_name, flags, method, crc, compressed, size, start), end_offset


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise MalformedZip(f"the zip has a member named {raw[:_MAX_NAME_BYTES]!r}") from None


def _widen(extra: bytes, *fields: int) -> tuple[int, ...]:
    """Return the fields, with full ones replaced from the 64 bit extra field, in its order."""
    full = [field == FULL32 for field in fields]
    words = _find_zip64(extra)
    if words is None:
        return fields
    if len(words) != 8 * sum(full):
        raise _broken("the 64 bit sizes of a member cannot be read")
    wide = iter(struct.unpack(f"<{sum(full)}Q", words))
    return tuple(next(wide) if is_full else f for is_full, f in zip(full, fields, strict=True))


def _find_zip64(extra: bytes) -> bytes | None:
    """Return the content of the 64 bit extra field, or None if there is none."""
    offset, found = 0, None
    while offset < len(extra):
        if offset + 4 > len(extra):
            raise _broken("an extra field of a member cannot be read")
        kind, length = struct.unpack_from("<2H", extra, offset)
        offset += 4 + length
        if offset > len(extra) or (kind == ZIP64 and found is not None):
            raise _broken("an extra field of a member cannot be read")
        if kind == ZIP64:
            found = extra[offset - length : offset]
    return found


def _check_kind(name: str, flags: int, method: int, attributes: int) -> None:
    if flags & ~_KNOWN_FLAGS:
        raise MalformedZip(f"the member {name!r} is encrypted or has unknown flags")
    if method not in {STORED, DEFLATED}:
        raise MalformedZip(f"the member {name!r} is compressed by method {method}")
    kind = stat.S_IFMT(attributes >> 16)
    if kind == stat.S_IFLNK:
        raise MalformedZip(f"the member {name!r} is a symbolic link")
    if kind not in {0, stat.S_IFREG} or attributes & _DOS_DIRECTORY:
        raise MalformedZip(f"the member {name!r} is not a file")


def _check_sizes(name: str, method: int, compressed: int, size: int) -> None:
    if size > _MAX_MEMBER_BYTES:
        raise MalformedZip(f"the member {name!r} claims {size} bytes")
    # A size outside these limits hides bytes, or cannot be true.
    largest = size if method == STORED else size + size // 4 + _SLACK_BYTES
    smallest = size if method == STORED else (size - _SLACK_BYTES) / _MAX_RATIO
    if not smallest <= compressed <= largest:
        raise MalformedZip(f"the member {name!r} claims {size} bytes, compressed to {compressed}")


# --- Local headers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _LocatedMember:
    """A member with what its local header adds: flags, and (CRC, compressed size, size)."""

    entry: Entry
    flags: int
    header_sizes: tuple[int, int, int]


def _locate(data: mmap.mmap, claim: _Claim, stop: int) -> _LocatedMember:
    """Return the member with the place of its data, if its local header matches the directory."""
    name_offset = claim.start + LOCAL.size
    if name_offset > stop:
        raise _broken(f"{claim.name!r} is not at the offset in the directory")
    mark, needs, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = (
        LOCAL.unpack_from(data, claim.start)
    )
    offset = name_offset + name_length + extra_length
    if mark != LOCAL_MARK or offset + claim.compressed_bytes > stop:
        raise _broken(f"{claim.name!r} is not at the offset in the directory")
    claimed = (needs <= NEEDS_ZIP64, flags, method, data[name_offset : name_offset + name_length])
    if claimed != (True, claim.flags, claim.method, claim.raw_name):
        raise _broken(f"the header of {claim.name!r} and the directory disagree")
    size, compressed = _widen(data[name_offset + name_length : offset], size, compressed)
    entry = Entry(
        claim.name, claim.method, claim.crc, claim.compressed_bytes, claim.size_bytes, offset
    )
    return _LocatedMember(entry, flags, (crc, compressed, size))


def _check_member_end(data: mmap.mmap, member: _LocatedMember, boundary: int) -> None:
    """Check that the member, with any sizes after its data, ends where the next one begins."""
    entry = member.entry
    end = entry.data_offset + entry.compressed_bytes
    true = (entry.crc, entry.compressed_bytes, entry.size_bytes)
    if boundary < end:
        raise MalformedZip(f"{entry.name!r} overlaps the next member")
    if not member.flags & SIZES_AFTER_DATA:
        if boundary != end:
            raise MalformedZip(f"bytes follow the member {entry.name!r}")
        if member.header_sizes != true:
            raise _broken(f"the header of {entry.name!r} and the directory disagree")
        return
    tail = data[end : min(boundary, end + DESCRIPTOR64.size + 1)]
    if tail not in _descriptors(*true):
        raise MalformedZip(f"bytes follow the member {entry.name!r}")
    if any(
        size not in {0, FULL32, own} for size, own in zip(member.header_sizes, true, strict=True)
    ):
        raise _broken(f"the header of {entry.name!r} and the directory disagree")


def _descriptors(crc: int, compressed: int, size: int) -> set[bytes]:
    """Return every way to write CRC and sizes after a member; the signature is optional."""
    ways = {DESCRIPTOR64.pack(DESCRIPTOR_MARK, crc, compressed, size)}
    if max(compressed, size) <= FULL32:
        ways.add(DESCRIPTOR.pack(DESCRIPTOR_MARK, crc, compressed, size))
    return ways | {way[len(DESCRIPTOR_MARK) :] for way in ways}
