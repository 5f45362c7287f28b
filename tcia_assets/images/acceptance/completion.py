"""A whole zip from a short one and the images that it lacks.

What belongs here: writing the zip. What does not: where the images come from (`archive`), and
whether the result is good, which `accept` says as of any other.
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
from tcia_assets.images.acceptance import directory as zips
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

_PIECE = 1 << 20
_FLAGS = zips.UTF8 | zips.SIZES_BEHIND
# 1 January 1980, 0:00: the same images give the same zip.
_TIME, _DATE = 0, 1 << 5 | 1


def pack(source: Path, keep: Sequence[Member], extra: Mapping[str, Path], target: Path) -> None:
    """Writes to `target` the members `keep` of the zip `source`, its LICENSE, and more images.

    Kept members are copied as they were compressed, in the order of `source`; those of `extra`, by
    the name that they get, follow in the order of names, and a list of all MD5s ends the zip. The
    same input gives the same bytes. The MD5s are of what is written: that list proves nothing about
    the archive.

    Raises BadArchive where `source` is unsound or lacks a member that is to be kept, its LICENSE is
    damaged, or two members would have one name.
    """
    try:
        with open_zip(source, MAX_MEMBERS) as served:
            _demand_names(served, keep, extra)
            with target.open("wb") as file:
                _Writer(file).write(_contents(served, {m.name: m.md5 for m in keep}, extra))
    except MalformedZip as error:
        raise BadArchive(str(error), table="image_archives", key=source.name) from error


@dataclass(frozen=True)
class _Content:
    """What becomes a member: packed already where there is an `entry`, else to be deflated."""

    name: str
    entry: Entry | None
    pieces: Iterable[bytes | memoryview]


def _demand_names(served: Zip, keep: Sequence[Member], extra: Mapping[str, Path]) -> None:
    there = {entry.name for entry in served.entries}
    for member in keep:
        if member.name not in there - NON_IMAGE_MEMBERS:
            raise MalformedZip(f"the zip has no image {member.name!r} to keep")
    names = [name.casefold() for name in [*(m.name for m in keep), *extra, *NON_IMAGE_MEMBERS]]
    if len(set(names)) < len(names):
        raise MalformedZip("two members of the new zip would have the same name")
    for name in extra:
        check_member_name(name)


def _contents(
    served: Zip, kept: Mapping[str, str], extra: Mapping[str, Path]
) -> Iterator[_Content]:
    for entry in served.entries:
        if entry.name == LICENSE:
            inflate(served.compressed(entry), entry)
        if entry.name == LICENSE or entry.name in kept:
            yield _Content(entry.name, entry, _slices(served.compressed(entry)))
    listed = [(e.name, kept[e.name]) for e in served.entries if e.name in kept]
    for name, path in sorted(extra.items()):
        md5 = hashlib.md5(usedforsecurity=False)
        yield _Content(name, None, _read(path, md5))
        # By now it is written, and all of it has passed.
        listed.append((name, md5.hexdigest()))
    yield _Content(md5_list.FILE_NAME, None, [md5_list.format_list(listed)])


def _slices(packed: memoryview) -> Iterator[memoryview]:
    for at in range(0, len(packed), _PIECE):
        yield packed[at : at + _PIECE]


def _read(path: Path, md5: hashlib._Hash) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            md5.update(piece)
            yield piece


@dataclass
class _Writer:
    """Writes members one after the other as the archive does: sizes behind the data."""

    file: IO[bytes]
    at: int = 0
    directory: list[bytes] = field(default_factory=list)

    def write(self, contents: Iterable[_Content]) -> None:
        for content in contents:
            self._member(content)
        start = self.at
        for line in self.directory:
            self._put(line)
        self._put(_end(len(self.directory), self.at - start, start))

    def _put(self, piece: bytes | memoryview) -> None:
        self.at += self.file.write(piece)

    def _member(self, content: _Content) -> None:
        start, name = self.at, content.name.encode()
        method = content.entry.method if content.entry else zips.DEFLATED
        needs, flags = zips.NEEDS_DEFLATE, _FLAGS
        self._put(
            zips.LOCAL.pack(
                zips.LOCAL_MARK, needs, 0, flags, method, _TIME, _DATE, 0, 0, 0, len(name), 0
            )
            + name
        )
        sizes = self._copied(content.entry, content) if content.entry else self._deflated(content)
        wide = max(sizes[1:]) > zips.FULL32
        descriptor = zips.DESCRIPTOR64 if wide else zips.DESCRIPTOR
        self._put(descriptor.pack(zips.DESCRIPTOR_MARK, *sizes))
        self.directory.append(_line(name, method, sizes, start))

    def _copied(self, entry: Entry, content: _Content) -> tuple[int, int, int]:
        for piece in content.pieces:
            self._put(piece)
        return entry.crc, entry.compressed_bytes, entry.size_bytes

    def _deflated(self, content: _Content) -> tuple[int, int, int]:
        deflate, before = zlib.compressobj(wbits=-zlib.MAX_WBITS), self.at
        crc = size = 0
        for piece in content.pieces:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            self._put(deflate.compress(piece))
        self._put(deflate.flush())
        return crc, self.at - before, size


def _line(name: bytes, method: int, sizes: tuple[int, int, int], start: int) -> bytes:
    """A member's line of the directory; what needs 64 bits stands in an extra field."""
    crc, packed, size = sizes
    wide = [word for word in (size, packed, start) if word >= zips.FULL32]
    extra = struct.pack(f"<2H{len(wide)}Q", zips.ZIP64, 8 * len(wide), *wide) if wide else b""
    needs = zips.NEEDS_ZIP64 if wide else zips.NEEDS_DEFLATE
    short = [min(word, zips.FULL32) for word in (packed, size)]
    return (
        zips.CENTRAL.pack(
            zips.CENTRAL_MARK, needs, 0, needs, 0, _FLAGS, method, _TIME, _DATE, crc, *short,
            len(name), len(extra), 0, 0, 0, 0, min(start, zips.FULL32),
        )
        + name
        + extra
    )  # fmt: skip


def _end(count: int, size: int, start: int) -> bytes:
    after = start + size
    short = min(count, zips.FULL16), min(size, zips.FULL32), min(start, zips.FULL32)
    end = zips.END.pack(zips.END_MARK, 0, 0, short[0], short[0], short[1], short[2], 0)
    if short == (count, size, start):
        return end
    needs, length = zips.NEEDS_ZIP64, zips.END64.size - 12
    return (
        zips.END64.pack(zips.END64_MARK, length, needs, needs, 0, 0, count, count, size, start)
        + zips.LOCATOR.pack(zips.LOCATOR_MARK, 0, after, 1)
        + end
    )
