"""Inflate one member of a zip: check its size and CRC, and return its MD5 and first bytes.

The choice of the decompression library belongs here, and the limits on memory and output. What a
member should hold is in `rules.py`.

Three libraries give the same results: libdeflate (package `deflate`) and ISA-L (`isal`), both in
the extra `fast`, and the standard library's zlib. Each is limited to the size that the member
claims and one byte more. A large member is inflated in pieces, so memory does not depend on the
size of a Series. A member is refused if its deflate stream ends before its compressed bytes do:
no reader would show the bytes that follow.
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

# The most that a thread holds of a member. libdeflate can only inflate a whole member. ISA-L takes
# 1.2 times as long in one piece as in pieces of a few hundred KB, which fit the processor's cache.
_MAX_WHOLE_BYTES = 4 << 20
_PIECE_BYTES = 1 << 18
_READ_BYTES = 1 << 16
# A gzip header without name and time. The trailer of a gzip file is the CRC and the size.
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP_TRAILER = struct.Struct("<2L")

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Inflater:
    """The functions of one decompression library.

    `gzip_decompress(data, size)` inflates a whole gzip file and checks its CRC, and
    `raw_decompress(data, size)` a whole deflate stream without that check. Both are None in a
    library that is not faster with a whole member than in pieces.
    """

    name: str
    decoder: Callable[[], Any]  # as zlib.decompressobj() for raw deflate
    crc32: Callable[[Buffer, int], int]
    errors: tuple[type[Exception], ...]
    gzip_decompress: Callable[[bytes, int], Buffer] | None = None
    raw_decompress: Callable[[Buffer, int], Buffer] | None = None


@dataclass(frozen=True, slots=True)
class Inflated:
    """A member that matches its claims: `md5` in hex, and `head`, its first bytes in pieces."""

    md5: str
    head: tuple[Buffer, ...]


class _AmbiguousTrailer(Exception):
    """The compressed bytes hold a copy of the gzip trailer: by chance, or to hide bytes."""


def inflate(
    compressed: memoryview,
    entry: Entry,
    *,
    max_head: int = _MAX_WHOLE_BYTES,
    inflater: Inflater | None = None,
) -> Inflated:
    """Inflate a member once and check it against what the directory claims.

    Args:
        compressed: The member's compressed bytes.
        entry: What the directory claims of the member.
        max_head: Keep at least so many of the first bytes, if there are so many.
        inflater: The library to use; the fastest one that is installed if None.

    Raises:
        MalformedZip: The size or the CRC differs, or bytes follow the end of the data.
    """
    inflater = inflater or FASTEST
    larger = max(entry.size_bytes, entry.compressed_bytes)
    # libdeflate does not look at the data of a member that claims to be empty.
    is_small = entry.size_bytes > 0 and larger <= _MAX_WHOLE_BYTES
    if inflater.gzip_decompress and entry.method != STORED and is_small:
        # If this fails, inflating in pieces finds the reason, in the same words for each library.
        with suppress(_AmbiguousTrailer, *inflater.errors):
            return _inflate_whole(compressed, entry, inflater.gzip_decompress)
    return _inflate_in_pieces(compressed, entry, inflater, max_head)


def _inflate_whole(
    compressed: memoryview, entry: Entry, gzip_decompress: Callable[[bytes, int], Buffer]
) -> Inflated:
    """Inflate a member as a gzip file.

    libdeflate does not return where the deflate stream ends, but refuses a gzip file whose trailer
    does not follow it. So extra bytes are found, unless they begin with a trailer of their own.
    """
    trailer = _GZIP_TRAILER.pack(entry.crc, entry.size_bytes)
    gzip = b"".join((_GZIP_HEADER, compressed, trailer))
    # `rfind` takes a third of the time of `find` here.
    if gzip.rfind(trailer, len(_GZIP_HEADER), len(gzip) - 1) >= 0:
        raise _AmbiguousTrailer
    content = gzip_decompress(gzip, entry.size_bytes)
    return Inflated(hashlib.md5(content, usedforsecurity=False).hexdigest(), (content,))


def _inflate_in_pieces(
    compressed: memoryview, entry: Entry, inflater: Inflater, max_head: int
) -> Inflated:
    md5, crc, size = hashlib.md5(usedforsecurity=False), 0, 0
    head: list[Buffer] = []
    is_stored = entry.method == STORED
    pieces = _slice(compressed) if is_stored else _stream(compressed, entry.size_bytes, inflater)
    for piece in pieces:
        md5.update(piece)
        crc = inflater.crc32(piece, crc)
        if size < max_head:
            head.append(piece)
        size += len(piece)
    if size != entry.size_bytes:
        raise _wrong_size(entry.size_bytes)
    if crc != entry.crc:
        raise MalformedZip("its CRC is wrong")
    return Inflated(md5.hexdigest(), tuple(head))


def _slice(content: memoryview) -> Iterator[Buffer]:
    for offset in range(0, len(content), _PIECE_BYTES):
        yield content[offset : offset + _PIECE_BYTES]


def _stream(compressed: memoryview, size: int, inflater: Inflater) -> Iterator[Buffer]:
    decoder, offset, left = inflater.decoder(), 0, size + 1
    pending: Buffer = b""
    while not decoder.eof:
        if not pending:
            pending = compressed[offset : offset + _READ_BYTES]
            offset += len(pending)
        is_last = offset >= len(compressed)
        try:
            piece = decoder.decompress(pending, min(_PIECE_BYTES, left))
        except inflater.errors as error:
            raise _wrong_size(size) from error
        pending, left = decoder.unconsumed_tail, left - len(piece)
        if not left or (is_last and not piece and not pending and not decoder.eof):
            raise _wrong_size(size)
        yield piece
    extra = len(decoder.unused_data) + max(0, len(compressed) - offset)
    # If the size is wrong as well, the caller reports that: in broken data the libraries find
    # different ends.
    if extra and left == 1:
        raise MalformedZip(f"{extra} bytes follow the end of its data")


def _wrong_size(size: int) -> MalformedZip:
    return MalformedZip(f"it does not inflate to the {size} bytes that it claims")


# --- The libraries ------------------------------------------------------------------------------


def _use_zlib() -> Inflater:
    def decoder() -> Any:
        return zlib.decompressobj(-zlib.MAX_WBITS)

    return Inflater("zlib", decoder, zlib.crc32, (zlib.error,))


def _use_isal() -> Inflater:
    from isal import isal_zlib  # noqa: PLC0415 - an optional extra

    def decoder() -> Any:
        return isal_zlib.decompressobj(-zlib.MAX_WBITS)

    # The package's type hints declare an instance instead of the exception class.
    error_class: Any = isal_zlib.error
    return Inflater("isal", decoder, isal_zlib.crc32, (error_class,))


def _use_deflate(streaming: Inflater) -> Inflater:
    """Use libdeflate for whole members and `streaming` for pieces."""
    import deflate  # noqa: PLC0415 - an optional extra

    return replace(
        streaming,
        name="deflate",
        crc32=deflate.crc32,
        errors=(*streaming.errors, deflate.DeflateError),
        gzip_decompress=deflate.gzip_decompress,
        raw_decompress=deflate.deflate_decompress,
    )


def _find_available() -> tuple[Inflater, ...]:
    found = [_use_zlib()]
    with suppress(ImportError):
        found.insert(0, _use_isal())
    with suppress(ImportError):
        found.insert(0, _use_deflate(found[0]))
    return tuple(found)


# The fastest first.
AVAILABLE = _find_available()
FASTEST = AVAILABLE[0]
