"""The zip of a Series: licence, images and MD5s, in the order of each endpoint.

Names and order of the entries are those of archive-api.md 6.1, faults in a zip those of 6.3. The
zip format is written in `zip_stream.py`.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.zip_stream import EMPTY, Entry, merge_chunks, zip_chunks

_WINDOW = 32  # objects held in memory to shuffle their order
_SMALL_PIECE = 100  # the first piece of deflated data may have a few bytes only
_SYMLINK_MODE = 0o120777
_GIBIBYTE = 1 << 30
_MANY = 1_000_000
_WITHOUT_MD5S = {"zip_short", "zip_last_cut", "zip_no_md5s"}

Objects = Iterable[tuple[str, bytes]]


@dataclass(frozen=True)
class SeriesZip:
    """The zip of a Series.

    Args:
        image_count: The number of its objects.
        license: The text of the entry LICENSE; None for no such entry.
        with_md5: whether md5hashes.csv is the last entry.
        new_names: Whether entries are named and sorted by their number in the Series.
        seed: Determines the order of the images without `new_names`.
    """

    image_count: int
    license: str | None = None
    with_md5: bool = False
    new_names: bool = False
    seed: int = 0

    def chunks(self, objects: Objects, fault: Fault | None = None) -> Iterator[bytes]:
        """Yield the bytes of the zip; an object is made when it is sent."""
        return merge_chunks(self._pieces(objects, fault or _NO_FAULT))

    def _pieces(self, objects: Objects, fault: Fault) -> Iterator[bytes]:
        if fault.kind == "zip_empty":
            return iter([EMPTY])
        if fault.kind == "zip_license_only":
            return zip_chunks([Entry("LICENSE", ())])
        pieces = zip_chunks(self._entries(objects, fault))
        if fault.kind == "zip_flipped_byte":
            return _flip_byte(pieces)
        return chain(pieces, [b"trailing bytes"]) if fault.kind == "zip_trailing_bytes" else pieces

    def _entries(self, objects: Objects, fault: Fault) -> Iterator[Entry]:
        if self.license is not None:
            yield Entry("LICENSE", [self.license.encode()])
        images = _ImageEntries(self, fault)
        yield from images.entries(objects)
        yield from _hostile_entries(fault.kind)
        if self.with_md5 and fault.kind not in _WITHOUT_MD5S:
            yield Entry("md5hashes.csv", [images.hashes().encode()])

    def name(self, number: int) -> str:
        """Return the name of an image: its number in the Series, or in this download."""
        if self.new_names:
            return f"1-{number:0{len(str(self.image_count))}}.dcm"
        return f"{number:08}.dcm"


@dataclass
class _ImageEntries:
    zip: SeriesZip
    fault: Fault
    md5s: list[tuple[str, str]] = field(default_factory=list)

    def entries(self, objects: Objects) -> Iterator[Entry]:
        left = self.zip.image_count - (self.fault.images if self.fault.kind == "zip_short" else 0)
        images: Iterator[bytes] = (content for _, content in objects)
        if not self.zip.new_names:
            images = _shuffle(images, self.zip.seed)
        for number, content in enumerate(islice(images, max(left, 0)), start=1):
            name = self.zip.name(number)
            self.md5s.append((name, self._md5(content, number)))
            is_cut = self.fault.kind == "zip_last_cut" and number == self.zip.image_count
            yield Entry(name, [content[: len(content) // 2] if is_cut else content])

    def _md5(self, content: bytes, number: int) -> str:
        if self.fault.kind == "zip_wrong_md5" and number == 1:
            content += b"?"
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def hashes(self) -> str:
        """Return md5hashes.csv; the server writes it in the order of a hash map."""
        lines = [f"{name},{md5}\n" for name, md5 in self.md5s]
        random.Random(self.zip.seed).shuffle(lines)  # noqa: S311 - an order
        return "Filename,MD5Hash\n" + "".join(lines)


_NO_FAULT = Fault("empty")  # a kind that does not affect zips


def _shuffle(images: Iterator[bytes], seed: int) -> Iterator[bytes]:
    """Yield the images in a random order, holding at most `_WINDOW` of them."""
    choose, held = random.Random(seed), list(islice(images, _WINDOW))  # noqa: S311 - an order
    for image in images:
        at = choose.randrange(len(held))
        yield held[at]
        held[at] = image
    choose.shuffle(held)
    yield from held


def _flip_byte(body: Iterator[bytes]) -> Iterator[bytes]:
    """Change one byte of the first image, like a transmission error."""
    is_image, done = False, False
    for piece in body:
        if piece.startswith(b"PK\x03\x04"):
            is_image = piece.endswith(b".dcm")
        elif is_image and not done and len(piece) > _SMALL_PIECE:
            at = len(piece) // 2
            piece = piece[:at] + bytes([piece[at] ^ 0x55]) + piece[at + 1 :]  # noqa: PLW2901
            done = True
        yield piece


# --- Hostile ------------------------------------------------------------------------------------


def _hostile_entries(kind: str) -> Iterator[Entry]:
    """Yield entries that a client must refuse, in addition to complete images."""
    names = {
        "zip_traversal": "../outside.dcm",
        "zip_absolute": "/tmp/outside.dcm",  # noqa: S108 - a name in a zip
        "zip_drive": "C:\\outside.dcm",
        "zip_duplicate": "00000001.dcm",
    }
    if kind in names:
        yield Entry(names[kind], [b"outside"])
    elif kind == "zip_symlink":
        yield Entry("00000000.dcm", [b"/etc/passwd"], mode=_SYMLINK_MODE)
    elif kind == "zip_nested":
        yield Entry("nested.zip", zip_chunks([Entry("inside.dcm", [b"inside"])]))
    elif kind == "zip_bomb":
        yield _bomb("bomb.dcm", _GIBIBYTE)
    elif kind == "zip_many":
        yield from (Entry(f"many/{number}", ()) for number in range(_MANY))


def _bomb(name: str, size: int) -> Entry:
    """Return an entry of zeros that is deflated to a thousandth; one block is repeated."""
    block = 1 << 24
    deflate = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(block)
    piece = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(size // block):
        crc = zlib.crc32(zeros, crc)
    content = chain((piece for _ in range(size // block)), [deflate.flush()])
    return Entry(name, content, deflated=(crc, size))
