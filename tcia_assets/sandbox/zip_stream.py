"""Write a zip as a stream, like Java's ZipOutputStream.

The entries of a Series' zip are made in `series_zip.py`; the format is that of archive-api.md 6.1.

Sizes and CRCs follow the data (flags 0x0808); there are no folders and no comments. Timestamps are
the server's time, so that two downloads of a Series differ.
"""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EMPTY = b"PK\x05\x06" + bytes(18)

_FLAGS = 0x0808  # sizes after the data, names in UTF-8
_DEFLATED = 8
_VERSION = 20
_ZIP64 = 45
_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR = struct.Struct("<4s3L")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ZIP32_LIMIT = 0xFFFF


@dataclass(frozen=True)
class Entry:
    """A member of a zip.

    Args:
        name: Its name.
        content: Its bytes, in pieces.
        mode: Its Unix mode.
        deflated: For `content` that is deflated already: the CRC and the size of the inflated data.
    """

    name: str
    content: Iterable[bytes]
    mode: int = 0
    deflated: tuple[int, int] | None = None


def zip_chunks(entries: Iterable[Entry], now: dt.datetime | None = None) -> Iterator[bytes]:
    """Yield the bytes of a zip of these entries, which are consumed one at a time.

    Args:
        entries: The members.
        now: The timestamp of all members; by default the current local time.
    """
    stamp = _dos(now or dt.datetime.now().astimezone())
    directory, count, offset = bytearray(), 0, 0
    for entry in entries:
        start, sizes = offset, _Sizes()
        for piece in _member(entry, stamp, sizes):
            offset += len(piece)
            yield piece
        directory += _central(entry, stamp, sizes, start)
        count += 1
    yield bytes(directory)
    yield _end(count, len(directory), offset)


def merge_chunks(pieces: Iterable[bytes], size: int = 1 << 16) -> Iterator[bytes]:
    """Merge pieces to at least `size` bytes: each costs a switch between threads."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= size:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


@dataclass
class _Sizes:
    crc: int = 0
    deflated: int = 0
    inflated: int = 0


def _member(entry: Entry, stamp: tuple[int, int], sizes: _Sizes) -> Iterator[bytes]:
    name = entry.name.encode()
    yield (
        _LOCAL.pack(b"PK\x03\x04", _VERSION, _FLAGS, _DEFLATED, *stamp, 0, 0, 0, len(name), 0)
        + name
    )
    yield from _copy(entry, sizes) if entry.deflated else _deflate(entry.content, sizes)
    yield _DESCRIPTOR.pack(b"PK\x07\x08", sizes.crc, sizes.deflated, sizes.inflated)


def _deflate(content: Iterable[bytes], sizes: _Sizes) -> Iterator[bytes]:
    # Level 1 takes half the time of Java's default, and noise is hardly compressible.
    deflate = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    for piece in content:
        sizes.crc = zlib.crc32(piece, sizes.crc)
        sizes.inflated += len(piece)
        packed = deflate.compress(piece)
        if packed:
            sizes.deflated += len(packed)
            yield packed
    packed = deflate.flush()
    sizes.deflated += len(packed)
    yield packed


def _copy(entry: Entry, sizes: _Sizes) -> Iterator[bytes]:
    sizes.crc, sizes.inflated = entry.deflated or (0, 0)
    for piece in entry.content:
        sizes.deflated += len(piece)
        yield piece


def _central(entry: Entry, stamp: tuple[int, int], sizes: _Sizes, start: int) -> bytes:
    name = entry.name.encode()
    made_by = (3 << 8 | _VERSION) if entry.mode else _VERSION
    return (
        _CENTRAL.pack(
            b"PK\x01\x02", made_by, _VERSION, _FLAGS, _DEFLATED, *stamp,
            sizes.crc, sizes.deflated, sizes.inflated, len(name), 0, 0, 0, 0,
            entry.mode << 16, start,
        )
        + name
    )  # fmt: skip


def _end(count: int, size: int, offset: int) -> bytes:
    if count <= _ZIP32_LIMIT:
        return _END.pack(b"PK\x05\x06", 0, 0, count, count, size, offset, 0)
    return (
        _END64.pack(b"PK\x06\x06", 44, _ZIP64, _ZIP64, 0, 0, count, count, size, offset)
        + _LOCATOR.pack(b"PK\x06\x07", 0, offset + size, 1)
        + _END.pack(b"PK\x05\x06", 0, 0, _ZIP32_LIMIT, _ZIP32_LIMIT, size, offset, 0)
    )


def _dos(now: dt.datetime) -> tuple[int, int]:
    return (
        now.hour << 11 | now.minute << 5 | now.second // 2,
        (now.year - 1980) << 9 | now.month << 5 | now.day,
    )
