"""One member of a zip -> proof that it inflates to what it claims, its MD5 and its head.

What belongs here: the choice of inflater, and the bounds on what it may cost. What does not: what a
member should be (`rules.py`).

Three inflaters give the same verdicts: libdeflate (`deflate`), ISA-L (`isal`), both of the extra
`fast`, and zlib, which is always there. None is asked for more than a member claims and one byte.
A large member passes through in pieces, so that memory does not depend on what a Series holds.
A member whose data end before its packed bytes do is refused: what follows would be seen by nobody.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tcia_assets.images.acceptance.directory import STORED, Entry, MalformedZip

# What a thread may hold of a member. libdeflate gives all at once or nothing; in pieces of a few
# hundred KB, which stay in the processor's cache, ISA-L takes 1.2 of its time.
LARGEST_AT_ONCE = 4 << 20
_PIECE = 1 << 18
_READ = 1 << 16
# Of a gzip file without name and time; its end is the CRC and the size of what it holds.
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP_END = struct.Struct("<2L")

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Inflater:
    """One way to inflate: in pieces, and `gzip_decompress(gzip, size)` where that is faster.

    `gzip_decompress` verifies the CRC as well. `raw_decompress(packed, size)` is for data whose
    CRC the caller verifies.
    """

    name: str
    decoder: Callable[[], Any]  # as zlib.decompressobj() for raw deflate
    crc32: Callable[[Buffer, int], int]
    errors: tuple[type[Exception], ...]
    gzip_decompress: Callable[[bytes, int], Buffer] | None = None
    raw_decompress: Callable[[Buffer, int], Buffer] | None = None


@dataclass(frozen=True, slots=True)
class Inflated:
    """What is known of a member that is as it claims; `head` is its beginning, in pieces."""

    md5: str
    head: tuple[Buffer, ...]


class _Doubtful(Exception):
    """There may be bytes behind the end of the data; where nobody hides any, once in 2^64 times."""


def inflate(packed: memoryview, entry: Entry, *, most_head: int = LARGEST_AT_ONCE) -> Inflated:
    """Inflate a member; raise MalformedZip if its size or CRC differ, or bytes follow its data.

    A good one is inflated once.
    """
    by = FASTEST
    largest = max(entry.size_bytes, entry.compressed_bytes)
    # Of nothing libdeflate says that it is nothing, whatever is there.
    if (
        by.gzip_decompress
        and entry.method != STORED
        and entry.size_bytes
        and largest <= LARGEST_AT_ONCE
    ):
        # What is wrong with it the pieces tell, in the same words for all.
        with suppress(_Doubtful, *by.errors):
            return _at_once(packed, entry, by.gzip_decompress)
    return _in_pieces(packed, entry, by, most_head)


def _at_once(packed: memoryview, entry: Entry, all_of: Callable[[bytes, int], Buffer]) -> Inflated:
    """As gzip, whose end must follow the data: libdeflate does not tell where these end.

    So bytes between the two show, unless they begin with such an end of their own.
    """
    end = _GZIP_END.pack(entry.crc, entry.size_bytes)
    gzip = b"".join((_GZIP_HEAD, packed, end))
    # From behind, where Python skips what cannot match: a third of the time of `find`.
    if gzip.rfind(end, len(_GZIP_HEAD), len(gzip) - 1) >= 0:
        raise _Doubtful
    whole = all_of(gzip, entry.size_bytes)
    return Inflated(hashlib.md5(whole, usedforsecurity=False).hexdigest(), (whole,))


def _in_pieces(packed: memoryview, entry: Entry, by: Inflater, most_head: int) -> Inflated:
    md5, crc, size = hashlib.md5(usedforsecurity=False), 0, 0
    head: list[Buffer] = []
    stored = entry.method == STORED
    for piece in _slices(packed) if stored else _streamed(packed, entry.size_bytes, by):
        md5.update(piece)
        crc = by.crc32(piece, crc)
        if size < most_head:
            head.append(piece)
        size += len(piece)
    if size != entry.size_bytes:
        raise _other_size(entry.size_bytes)
    if crc != entry.crc:
        raise MalformedZip("its CRC is wrong")
    return Inflated(md5.hexdigest(), tuple(head))


def _slices(packed: memoryview) -> Iterator[Buffer]:
    for at in range(0, len(packed), _PIECE):
        yield packed[at : at + _PIECE]


def _streamed(packed: memoryview, size: int, by: Inflater) -> Iterator[Buffer]:
    decoder, at, left = by.decoder(), 0, size + 1
    held: Buffer = b""
    while not decoder.eof:
        if not held:
            held = packed[at : at + _READ]
            at += len(held)
        is_last = at >= len(packed)
        try:
            piece = decoder.decompress(held, min(_PIECE, left))
        except by.errors as error:
            raise _other_size(size) from error
        held, left = decoder.unconsumed_tail, left - len(piece)
        if not left or (is_last and not piece and not held and not decoder.eof):
            raise _other_size(size)
        yield piece
    behind = len(decoder.unused_data) + max(0, len(packed) - at)
    # Of another size it is broken, whatever follows; of broken data the libraries see other ends.
    if behind and left == 1:
        raise MalformedZip(f"{behind} bytes follow the end of its data")


def _other_size(size: int) -> MalformedZip:
    return MalformedZip(f"it does not inflate to the {size} bytes that it claims")


# --- The libraries ------------------------------------------------------------------------------


def _by_zlib() -> Inflater:
    def decoder() -> Any:
        return zlib.decompressobj(-zlib.MAX_WBITS)

    return Inflater("zlib", decoder, zlib.crc32, (zlib.error,))


def _by_isal() -> Inflater:
    from isal import isal_zlib  # noqa: PLC0415 - an optional extra

    def decoder() -> Any:
        return isal_zlib.decompressobj(-zlib.MAX_WBITS)

    # Its types have an exception where the class of it is.
    failed: Any = isal_zlib.error
    return Inflater("isal", decoder, isal_zlib.crc32, (failed,))


def _by_deflate(pieces: Inflater) -> Inflater:
    """As `pieces`, but all at once by libdeflate, which knows no pieces."""
    import deflate  # noqa: PLC0415 - an optional extra

    return replace(
        pieces,
        name="deflate",
        crc32=deflate.crc32,
        errors=(*pieces.errors, deflate.DeflateError),
        gzip_decompress=deflate.gzip_decompress,
        raw_decompress=deflate.deflate_decompress,
    )


def _available() -> tuple[Inflater, ...]:
    found = [_by_zlib()]
    with suppress(ImportError):
        found.insert(0, _by_isal())
    with suppress(ImportError):
        found.insert(0, _by_deflate(found[0]))
    return tuple(found)


# Fastest first.
AVAILABLE = _available()
FASTEST = AVAILABLE[0]
