"""Zips of a small Series, whole or damaged on purpose, for the tests of acceptance."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import inflate
from tcia_assets.images.acceptance.rules import Expectation, Member, accept
from tcia_assets.sandbox.zip_stream import Entry, zip_chunks

SERIES = "1.3.6.1.4.1.14519.5.2.1.1"


LICENSE_ENTRY = Entry("LICENSE", [b"CC BY 4.0\n"])


MD5_LIST = "md5hashes.csv"


def dicom(
    number: int, series: str = SERIES, pixels: bytes = b"\1\2" * 64, private_bytes: int = 0
) -> bytes:
    """Return a DICOM file; a private element of that length precedes SeriesInstanceUID."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = f"{SERIES}.{number}"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    if private_bytes:
        dataset.add_new(0x00190010, "LO", "SOMEONE")
        dataset.add_new(0x00191001, "OB", bytes(private_bytes))
    dataset.SeriesInstanceUID = series
    dataset.add_new("PixelData", "OW", pixels)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


IMAGES = {f"{number:08}.dcm": dicom(number) for number in (1, 2, 3)}


NAMES = list(IMAGES)


BYTES = sum(map(len, IMAGES.values()))


EXPECTED = Expectation(SERIES, len(IMAGES), BYTES)


each_inflater = pytest.mark.parametrize(
    "inflater", inflate.AVAILABLE, ids=lambda each: each.__name__
)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def md5_list_entry(images: dict[str, bytes], **other: str) -> Entry:
    lines = [f"{name},{other.get(name, md5(content))}\n" for name, content in images.items()]
    return Entry(MD5_LIST, ["".join(["Filename,MD5Hash\n", *lines]).encode()])


def image_entries(images: dict[str, bytes]) -> list[Entry]:
    return [Entry(name, [content]) for name, content in images.items()]


def series_zip(images: dict[str, bytes] = IMAGES, *more: Entry, md5s: Entry | None = None) -> bytes:
    """Return a zip as NBIA sends it."""
    last = md5s or md5_list_entry(images)
    return b"".join(zip_chunks([LICENSE_ENTRY, *image_entries(images), *more, last]))


def zip_without_list(images: dict[str, bytes] = IMAGES) -> bytes:
    return b"".join(zip_chunks([LICENSE_ENTRY, *image_entries(images)]))


WriteZip = Callable[[bytes], Path]


def refusal(path: Path, expected: Expectation = EXPECTED) -> str:
    """Return why the zip is refused: the same on one and two threads, and by each inflater."""
    reasons = set()
    for inflater in inflate.AVAILABLE:
        for workers in (1, 2):
            with pytest.raises(BadArchive) as caught:
                accept(path, expected, workers=workers, inflater=inflater)
            reasons.add(str(caught.value))
    assert len(reasons) == 1
    return reasons.pop()


class EditableZip(bytearray):
    """A zip whose fields can be overwritten in place."""

    @property
    def directory_at(self) -> int:
        return int(struct.unpack_from("<L", self, len(self) - 6)[0])

    def central_at(self, number: int) -> int:
        """Return the offset of the n-th record of the directory."""
        place = self.directory_at
        for _ in range(number):
            place += 46 + sum(struct.unpack_from("<3H", self, place + 28))
        return place

    def local_at(self, number: int) -> int:
        """Return the offset of the n-th member's local header."""
        return int(struct.unpack_from("<L", self, self.central_at(number) + 42)[0])

    def descriptor_at(self, number: int) -> int:
        """Return the offset of the CRC and sizes that follow the data of the n-th member."""
        start = self.local_at(number)
        packed = struct.unpack_from("<L", self, self.central_at(number) + 20)[0]
        return int(start + 30 + sum(struct.unpack_from("<2H", self, start + 26)) + packed)

    def put(self, place: int, layout: str, *values: object) -> EditableZip:
        struct.pack_into(layout, self, place, *values)
        return self

    def put_in_both_headers(
        self, number: int, field: tuple[int, int], layout: str, value: object
    ) -> EditableZip:
        """Write the same value into a member's local header and into the directory."""
        self.put(self.local_at(number) + field[0], layout, value)
        return self.put(self.central_at(number) + field[1], layout, value)


# Offsets of fields in a local header and in a record of the directory.
FLAGS, METHOD, NEEDS = (6, 8), (8, 10), (4, 6)


# Offsets of fields in a record of the directory.
CRC, COMPRESSED, SIZE, ATTRIBUTES, OFFSET = 16, 20, 24, 38, 42


def rename_member(old: str, new: str) -> bytes:
    assert len(old) == len(new)
    return series_zip().replace(old.encode(), new.encode())


def as_zip64(content: bytes) -> bytes:
    """Return the zip with sizes, offsets and end in 64 bits, as in a zip beyond 4 GiB."""
    zip_ = EditableZip(content)
    start, count = zip_.directory_at, len(zipfile.ZipFile(io.BytesIO(content)).infolist())
    lines = []
    for number in range(count):
        place = zip_.central_at(number)
        packed, size, name_length = struct.unpack_from("<2LH", zip_, place + COMPRESSED)
        line = EditableZip(zip_[place : place + 46 + name_length])
        line.put(COMPRESSED, "<2L", 0xFFFFFFFF, 0xFFFFFFFF).put(OFFSET, "<L", 0xFFFFFFFF)
        line.put(30, "<H", 28)
        lines.append(line + struct.pack("<2H3Q", 1, 24, size, packed, zip_.local_at(number)))
    directory = b"".join(lines)
    after = start + len(directory)
    return bytes(
        zip_[:start]
        + directory
        + struct.pack(
            "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start
        )
        + struct.pack("<4sLQL", b"PK\x06\x07", 0, after, 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )


def read_members(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def names_of(members: Iterable[Member]) -> list[str]:
    return [member.name for member in members]
