"""What is in the zip of a Series: licence, images, their MD5s, in the order of each endpoint.

What belongs here: entries and their names (archive-api.md 6.1), and every way in which a package
can be wrong (6.3). What does not: the zip format (`zip_stream.py`), who may have it.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.zip_stream import EMPTY, Entry, gathered, stream

_WINDOW = 32  # objects that are held back to send them in another order
_HEAD = 100  # the first piece of deflated data may be a few bytes only
_LINK = 0o120777
_GIBIBYTE = 1 << 30
_MANY = 1_000_000

Objects = Iterable[tuple[str, bytes]]


@dataclass(frozen=True)
class SeriesZip:
    """A Series' zip as one endpoint makes it. The order of the images depends on `seed`."""

    count: int
    license: str | None = None
    with_md5: bool = False
    new_names: bool = False
    seed: int = 0

    def zip(self, objects: Objects, fault: Fault | None = None) -> Iterator[bytes]:
        """The bytes of the zip, in chunks; `objects` are taken as they are sent."""
        return gathered(self._pieces(objects, fault or _NONE))

    def _pieces(self, objects: Objects, fault: Fault) -> Iterator[bytes]:
        if fault.kind == "zip_empty":
            return iter([EMPTY])
        if fault.kind == "zip_license_only":
            return stream([Entry("LICENSE", ())])
        pieces = stream(self._entries(objects, fault))
        if fault.kind == "zip_flipped_byte":
            return _flipped(pieces)
        return chain(pieces, [b"trailing bytes"]) if fault.kind == "zip_trailing_bytes" else pieces

    def _entries(self, objects: Objects, fault: Fault) -> Iterator[Entry]:
        if self.license is not None:
            yield Entry("LICENSE", [self.license.encode()])
        images = _Images(self, fault)
        yield from images.entries(objects)
        yield from _hostile(fault.kind)
        if self.with_md5 and fault.kind not in {"zip_short", "zip_last_cut"}:
            yield Entry("md5hashes.csv", [images.hashes().encode()])

    def name(self, number: int) -> str:
        """The name of an image: the Series' order for NewFileNames, else this download's."""
        if self.new_names:
            return f"1-{number:0{len(str(self.count))}}.dcm"
        return f"{number:08}.dcm"


@dataclass
class _Images:
    package: SeriesZip
    fault: Fault
    listed: list[tuple[str, str]] = field(default_factory=list)

    def entries(self, objects: Objects) -> Iterator[Entry]:
        left = self.package.count - (self.fault.images if self.fault.kind == "zip_short" else 0)
        images: Iterator[bytes] = (content for _, content in objects)
        if not self.package.new_names:
            images = _shuffled(images, self.package.seed)
        for number, content in enumerate(islice(images, max(left, 0)), start=1):
            name = self.package.name(number)
            self.listed.append((name, self._md5(content, number)))
            is_cut = self.fault.kind == "zip_last_cut" and number == self.package.count
            yield Entry(name, [content[: len(content) // 2] if is_cut else content])

    def _md5(self, content: bytes, number: int) -> str:
        if self.fault.kind == "zip_wrong_md5" and number == 1:
            content += b"?"
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def hashes(self) -> str:
        """md5hashes.csv; the server writes it in the order of a hash map."""
        lines = [f"{name},{md5}\n" for name, md5 in self.listed]
        random.Random(self.package.seed).shuffle(lines)  # noqa: S311 - an order
        return "Filename,MD5Hash\n" + "".join(lines)


_NONE = Fault("empty")  # of no kind that this module knows


def _shuffled(images: Iterator[bytes], seed: int) -> Iterator[bytes]:
    """In another order, with few of them held at once."""
    choose, held = random.Random(seed), list(islice(images, _WINDOW))  # noqa: S311 - an order
    for image in images:
        at = choose.randrange(len(held))
        yield held[at]
        held[at] = image
    choose.shuffle(held)
    yield from held


def _flipped(body: Iterator[bytes]) -> Iterator[bytes]:
    """With one byte of the first image changed, as on a bad line."""
    is_image, done = False, False
    for piece in body:
        if piece.startswith(b"PK\x03\x04"):
            is_image = piece.endswith(b".dcm")
        elif is_image and not done and len(piece) > _HEAD:
            at = len(piece) // 2
            piece = piece[:at] + bytes([piece[at] ^ 0x55]) + piece[at + 1 :]  # noqa: PLW2901
            done = True
        yield piece


# --- Hostile ------------------------------------------------------------------------------------


def _hostile(kind: str) -> Iterator[Entry]:
    """What a zip should never hold, beside a package that is whole."""
    names = {
        "zip_traversal": "../outside.dcm",
        "zip_absolute": "/tmp/outside.dcm",  # noqa: S108 - a name in a zip
        "zip_drive": "C:\\outside.dcm",
        "zip_duplicate": "00000001.dcm",
    }
    if kind in names:
        yield Entry(names[kind], [b"outside"])
    elif kind == "zip_symlink":
        yield Entry("00000000.dcm", [b"/etc/passwd"], mode=_LINK)
    elif kind == "zip_nested":
        yield Entry("nested.zip", stream([Entry("inside.dcm", [b"inside"])]))
    elif kind == "zip_bomb":
        yield _bomb("bomb.dcm", _GIBIBYTE)
    elif kind == "zip_many":
        yield from (Entry(f"many/{number}", ()) for number in range(_MANY))


def _bomb(name: str, size: int) -> Entry:
    """Zeros, a thousand times smaller; one deflated block is sent again and again."""
    block = 1 << 24
    deflate = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(block)
    piece = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(size // block):
        crc = zlib.crc32(zeros, crc)
    content = chain((piece for _ in range(size // block)), [deflate.flush()])
    return Entry(name, content, deflated=(crc, size))
