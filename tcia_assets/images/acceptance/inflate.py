"""Inflate one member of a zip: check its size and CRC, and return its MD5 and first bytes.

The choice of the decompression library belongs here, and the limits on memory and output. What a
member should hold is in `rules.py`.

ISA-L (package `isal`, in the extra `fast`) and the standard library's zlib give the same results.
Both are limited to the size that the member claims and one byte more. A member is inflated in
pieces, so memory does not depend on the size of a Series. A member is refused if its deflate stream
ends before its compressed bytes do: no reader would show the bytes that follow.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType

from tcia_assets.images.acceptance.directory import STORED, Entry, MalformedZip

# Pieces of this size stay in the processor's cache.
_PIECE_BYTES = 1 << 18
_READ_BYTES = 1 << 16
_DEFAULT_HEAD_BYTES = 4 << 20

Buffer = bytes | bytearray | memoryview
# A decompression library: `isal.isal_zlib` or `zlib`, which have the same functions.
Inflater = ModuleType
# For `decompressobj`: a deflate stream without a header.
RAW_DEFLATE = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Inflated:
    """A member that matches its claims: `md5` in hex, and `head`, its first bytes in pieces."""

    md5: str
    head: tuple[Buffer, ...]


def inflate(
    compressed: memoryview,
    entry: Entry,
    *,
    max_head: int = _DEFAULT_HEAD_BYTES,
    inflater: Inflater | None = None,
) -> Inflated:
    """Inflate a member once and check it against what the directory claims.

    Args:
        compressed: The member's compressed bytes.
        entry: What the directory claims of the member.
        max_head: Keep at least this many of the first bytes, or all if there are fewer.
        inflater: The library to use; the fastest one that is installed if None.

    Raises:
        MalformedZip: The size or the CRC differs, or bytes follow the end of the data.
    """
    inflater = inflater or FASTEST
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
    decoder, offset, left = inflater.decompressobj(RAW_DEFLATE), 0, size + 1
    pending: Buffer = b""
    while not decoder.eof:
        if not pending:
            pending = compressed[offset : offset + _READ_BYTES]
            offset += len(pending)
        is_last = offset >= len(compressed)
        try:
            piece = decoder.decompress(pending, min(_PIECE_BYTES, left))
        except inflater.error as error:
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


def _find_available() -> tuple[Inflater, ...]:
    with suppress(ImportError):
        from isal import isal_zlib  # noqa: PLC0415 - an optional extra

        return isal_zlib, zlib
    return (zlib,)


# The fastest first.
AVAILABLE = _find_available()
FASTEST = AVAILABLE[0]
