"""The DICOM objects of a Series' zip: their headers, and where their pixels lie.

What belongs here: getting at an object's header and bytes without inflating more than that takes.
What does not: what a header says (`frames.py`), and whether the zip is good (`acceptance`).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance.directory import STORED, Entry, MalformedZip, Zip, open_zip
from tcia_assets.images.acceptance.inflate import FASTEST, Buffer
from tcia_assets.images.acceptance.rules import MAX_MEMBERS, NON_IMAGE_MEMBERS
from tcia_assets.images.headers import dicom

_HEAD_BYTES = 1 << 13
# Each try for a longer header reads so many times the bytes of the one before.
_LONGER = 8
_PREAMBLE_BYTES = 132
# Inflated while headers are read is one part in so many of all: as long as that takes.
_AHEAD_PART = 2
_PIXELS = frozenset({0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010})
_PLAIN_PIXELS = 0x7FE0_0010
_UNDEFINED = 0xFFFF_FFFF
_PLAIN = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True, eq=False)
class DicomObject:
    """An object of a zip: its header without pixels.

    `pixels` are the bytes of the inflated member that are its pixels, uncompressed and little
    endian; None where these must be decoded, and where there are none.
    """

    entry: Entry
    header: Dataset
    pixels: slice | None


class SeriesZip:
    """An open zip of a Series.

    With a `pool` it inflates what will be asked for while headers are read, up to a part of all.
    """

    def __init__(self, path: Path, opened_zip: Zip, pool: Executor | None) -> None:
        self._path, self._zip, self.pool = path, opened_zip, pool
        self._head_bytes = _HEAD_BYTES
        self._ahead: dict[str, Future[Buffer]] = {}
        if pool is not None:
            left = sum(entry.size_bytes for entry in self.entries) // _AHEAD_PART
            for entry in self.entries:
                left -= entry.size_bytes
                if left < 0:
                    break
                self._ahead[entry.name] = pool.submit(self._content, entry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Its images, by name: the order in the zip does not matter to what is made of them."""
        images = (entry for entry in self._zip.entries if entry.name not in NON_IMAGE_MEMBERS)
        return tuple(sorted(images, key=lambda entry: entry.name))

    def members(self) -> tuple[list[DicomObject], list[Finding]]:
        """All objects with their headers, and a finding for those that have none to be read."""
        found: list[DicomObject] = []
        amiss: list[Finding] = []
        for entry in self.entries:
            try:
                found.append(self._member(entry))
            except _Unreadable as error:
                amiss.append(
                    make_finding("unreadable_object", f"{entry.name}, {error}", [entry.name])
                )
        return found, amiss

    def content(self, entry: Entry) -> Buffer:
        """The whole member; raises BadArchive where it is not what the directory claims."""
        ahead = self._ahead.pop(entry.name, None)
        return self._content(entry) if ahead is None else ahead.result()

    def _content(self, entry: Entry) -> Buffer:
        packed = self._zip.compressed(entry)
        if entry.method == STORED:
            content: Buffer = packed
        else:
            content = self._inflated(packed, entry)
        if len(content) != entry.size_bytes or FASTEST.crc32(content, 0) != entry.crc:
            raise self._broken(entry)
        return content

    def dataset(self, member: DicomObject) -> Dataset:
        """The whole object, for pydicom to decode."""
        return pydicom.dcmread(BytesIO(self.content(member.entry)), force=True)

    def _inflated(self, packed: memoryview, entry: Entry) -> Buffer:
        try:
            if FASTEST.raw_decompress is not None and entry.size_bytes:
                return FASTEST.raw_decompress(packed, entry.size_bytes)
            # One byte more than claimed shows that there are more.
            inflated: Buffer = FASTEST.decoder().decompress(packed, entry.size_bytes + 1)
        except FASTEST.errors as error:
            raise self._broken(entry) from error
        return inflated

    def _head(self, entry: Entry, wanted: int) -> Buffer:
        packed = self._zip.compressed(entry)
        if entry.method == STORED:
            return bytes(packed[:wanted])
        try:
            # Packed bytes are rarely more than those that they make.
            head: Buffer = FASTEST.decoder().decompress(packed[: wanted + _HEAD_BYTES], wanted)
        except FASTEST.errors as error:
            raise self._broken(entry) from error
        return head

    def _member(self, entry: Entry) -> DicomObject:
        wanted = self._head_bytes
        while True:
            head = self._head(entry, min(wanted, entry.size_bytes))
            if not dicom.is_dicom(bytes(head[:_PREAMBLE_BYTES])):
                raise _Unreadable("it is not a DICOM file")
            try:
                member = _read(entry, head)
            except _Unreadable:
                if len(head) >= entry.size_bytes:
                    raise
                wanted *= _LONGER
            else:
                # The next object's header is as long.
                self._head_bytes = wanted
                return member

    def _broken(self, entry: Entry) -> BadArchive:
        problem = (
            f"{entry.name!r} in {self._path} does not inflate to what it claims: fetch it anew"
        )
        return BadArchive(problem, table="image_archives", column="path")


@contextmanager
def archive(path: Path, *, workers: int = 1) -> Iterator[SeriesZip]:
    """The zip at `path`, open; what pydicom has to warn of is not said, for it is found.

    Raises:
        BadArchive: it is no zip that the archive could have sent.
        OSError: it cannot be read.
    """
    pool = ThreadPoolExecutor(workers) if workers > 1 else None
    with warnings.catch_warnings():
        # Odd values in headers: those that matter become findings.
        warnings.simplefilter("ignore")
        try:
            with open_zip(path, MAX_MEMBERS) as found:
                try:
                    yield SeriesZip(path, found, pool)
                finally:
                    if pool is not None:
                        pool.shutdown(cancel_futures=True)
        except MalformedZip as error:
            raise BadArchive(f"{path}: {error}", table="image_archives", column="path") from error


class _Unreadable(Exception):
    """No header, in what was read; with more of the member there may be one."""


def _read(entry: Entry, head: Buffer) -> DicomObject:
    is_whole = len(head) == entry.size_bytes
    file = BytesIO(head)
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except Exception as error:
        reason = f"pydicom says {error}"[:_LONGEST_REASON]
        raise _Unreadable(reason) from error
    if not header.get("SOPInstanceUID"):
        raise _Unreadable("no SOPInstanceUID tells it from others")
    syntax = header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    if syntax not in _PLAIN:
        at_pixels = _element(head, file.tell(), is_implicit=False)
        if at_pixels is None and not is_whole:
            raise _Unreadable("its header does not end")
        return DicomObject(entry, header, None)
    at_pixels = _element(head, file.tell(), is_implicit=bool(header.original_encoding[0]))
    if at_pixels is None:
        if not is_whole:
            raise _Unreadable("its header does not end")
        return DicomObject(entry, header, None)
    tag, at, length = at_pixels
    plain = tag == _PLAIN_PIXELS and length != _UNDEFINED and at + length <= entry.size_bytes
    return DicomObject(entry, header, slice(at, at + length) if plain else None)


def _element(head: Buffer, at: int, *, is_implicit: bool) -> tuple[int, int, int] | None:
    """Tag of the pixels that begin here, place of their value, and its length; None elsewhere."""
    try:
        group, element = struct.unpack_from("<HH", head, at)
        tag = group << 16 | element
        if tag not in _PIXELS:
            return None
        value_at = at + (8 if is_implicit else 12)
        (length,) = struct.unpack_from("<L", head, value_at - 4)
    except struct.error:
        return None
    return tag, value_at, length
