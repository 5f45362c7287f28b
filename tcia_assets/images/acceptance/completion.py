"""Write a whole zip from an incomplete one and the images that it lacks.

Writing the zip belongs here. Where the images come from is in `images.single_images`. The result
must pass `accept` like any other zip.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import directory as zip_format
from tcia_assets.images.acceptance import md5_list
from tcia_assets.images.acceptance.directory import (
    Entry,
    MalformedZip,
    Zip,
    check_member_name,
    open_zip,
)
from tcia_assets.images.acceptance.inflate import inflate
from tcia_assets.images.acceptance.rules import LICENSE, MAX_MEMBERS, NON_IMAGE_MEMBERS, Member

_PIECE_BYTES = 1 << 20
_FLAGS = zip_format.UTF8 | zip_format.SIZES_AFTER_DATA
# 1 January 1980, 0:00: a fixed time, so that the same images give the same zip.
_TIME, _DATE = 0, 1 << 5 | 1


def pack(source: Path, keep: Sequence[Member], extra: Mapping[str, Path], target: Path) -> None:
    """Write a zip with kept members of another zip, its LICENSE, and more images.

    Kept members are copied in their compressed form, in the order of `source`. The images of
    `extra` follow, sorted by name, and a list of all MD5s ends the zip. The same input gives the
    same bytes. The MD5s are computed from what is written, so that list proves nothing about what
    the source has.

    Args:
        source: The incomplete zip.
        keep: Its good images.
        extra: The files of further images, by the name that each gets in the zip.
        target: The file to write.

    Raises:
        BadArchive: `source` is malformed or lacks a member of `keep`, its LICENSE is damaged, or
            two members would have the same name.
        OSError: A file cannot be read or written.
    """
    try:
        with open_zip(source, MAX_MEMBERS) as zip_file:
            _check_names(zip_file, keep, extra)
            with target.open("wb") as file:
                md5s = {member.name: member.md5 for member in keep}
                _Writer(file).write(_list_contents(zip_file, md5s, extra))
    except MalformedZip as error:
        raise BadArchive(str(error), table="image_archives", key=source.name) from error


@dataclass(frozen=True)
class _Content:
    """A member to write; `pieces` are compressed already if there is an `entry`."""

    name: str
    entry: Entry | None
    pieces: Iterable[bytes | memoryview]


def _check_names(zip_file: Zip, keep: Sequence[Member], extra: Mapping[str, Path]) -> None:
    images = {entry.name for entry in zip_file.entries} - NON_IMAGE_MEMBERS
    for member in keep:
        if member.name not in images:
            raise MalformedZip(f"the zip has no image {member.name!r} to keep")
    names = [name.casefold() for name in [*(m.name for m in keep), *extra, *NON_IMAGE_MEMBERS]]
    if len(set(names)) < len(names):
        raise MalformedZip("two members of the new zip would have the same name")
    for name in extra:
        check_member_name(name)


def _list_contents(
    zip_file: Zip, kept: Mapping[str, str], extra: Mapping[str, Path]
) -> Iterator[_Content]:
    for entry in zip_file.entries:
        if entry.name == LICENSE:
            inflate(zip_file.compressed(entry), entry)
        if entry.name == LICENSE or entry.name in kept:
            yield _Content(entry.name, entry, _slice(zip_file.compressed(entry)))
    hashes = [(e.name, kept[e.name]) for e in zip_file.entries if e.name in kept]
    for name, path in sorted(extra.items()):
        md5 = hashlib.md5(usedforsecurity=False)
        yield _Content(name, None, _read(path, md5))
        # The writer has consumed the whole file before it takes the next content.
        hashes.append((name, md5.hexdigest()))
    yield _Content(md5_list.FILE_NAME, None, [md5_list.format_list(hashes)])


def _slice(content: memoryview) -> Iterator[memoryview]:
    for offset in range(0, len(content), _PIECE_BYTES):
        yield content[offset : offset + _PIECE_BYTES]


def _read(path: Path, md5: hashlib._Hash) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            md5.update(piece)
            yield piece


@dataclass
class _Writer:
    """Write members as NBIA does, with CRC and sizes after the data."""

    file: IO[bytes]
    offset: int = 0
    directory: list[bytes] = field(default_factory=list)

    def write(self, contents: Iterable[_Content]) -> None:
        for content in contents:
            self._write_member(content)
        start = self.offset
        for record in self.directory:
            self._put(record)
        self._put(_end_record(len(self.directory), self.offset - start, start))

    def _put(self, piece: bytes | memoryview) -> None:
        self.offset += self.file.write(piece)

    def _write_member(self, content: _Content) -> None:
        start, name = self.offset, content.name.encode()
        method = content.entry.method if content.entry else zip_format.DEFLATED
        self._put(_local_header(name, method))
        sizes = self._copy(content, content.entry) if content.entry else self._deflate(content)
        is_wide = max(sizes[1:]) > zip_format.FULL32
        descriptor = zip_format.DESCRIPTOR64 if is_wide else zip_format.DESCRIPTOR
        self._put(descriptor.pack(zip_format.DESCRIPTOR_MARK, *sizes))
        self.directory.append(_central_record(name, method, sizes, start))

    def _copy(self, content: _Content, entry: Entry) -> tuple[int, int, int]:
        for piece in content.pieces:
            self._put(piece)
        return entry.crc, entry.compressed_bytes, entry.size_bytes

    def _deflate(self, content: _Content) -> tuple[int, int, int]:
        """Write the content compressed, and return its CRC, compressed size and size."""
        compressor, start = zlib.compressobj(wbits=-zlib.MAX_WBITS), self.offset
        crc = size = 0
        for piece in content.pieces:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            self._put(compressor.compress(piece))
        self._put(compressor.flush())
        return crc, self.offset - start, size


def _local_header(name: bytes, method: int) -> bytes:
    return (
        zip_format.LOCAL.pack(
            zip_format.LOCAL_MARK, zip_format.NEEDS_DEFLATE, 0, _FLAGS, method, _TIME, _DATE,
            0, 0, 0, len(name), 0,
        )
        + name
    )  # fmt: skip


def _central_record(name: bytes, method: int, sizes: tuple[int, int, int], start: int) -> bytes:
    """Return a member's record of the directory; 64 bit numbers go into an extra field."""
    crc, compressed, size = sizes
    wide = [number for number in (size, compressed, start) if number >= zip_format.FULL32]
    extra = b""
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", zip_format.ZIP64, 8 * len(wide), *wide)
    needs = zip_format.NEEDS_ZIP64 if wide else zip_format.NEEDS_DEFLATE
    narrow = [min(number, zip_format.FULL32) for number in (compressed, size)]
    return (
        zip_format.CENTRAL.pack(
            zip_format.CENTRAL_MARK, needs, 0, needs, 0, _FLAGS, method, _TIME, _DATE, crc, *narrow,
            len(name), len(extra), 0, 0, 0, 0, min(start, zip_format.FULL32),
        )
        + name
        + extra
    )  # fmt: skip


def _end_record(count: int, size: int, start: int) -> bytes:
    full16, full32 = zip_format.FULL16, zip_format.FULL32
    narrow = min(count, full16), min(size, full32), min(start, full32)
    end = zip_format.END.pack(zip_format.END_MARK, 0, 0, narrow[0], *narrow, 0)
    if narrow == (count, size, start):
        return end
    needs, length = zip_format.NEEDS_ZIP64, zip_format.END64.size - 12
    return (
        zip_format.END64.pack(
            zip_format.END64_MARK, length, needs, needs, 0, 0, count, count, size, start
        )
        + zip_format.LOCATOR.pack(zip_format.LOCATOR_MARK, 0, start + size, 1)
        + end
    )
