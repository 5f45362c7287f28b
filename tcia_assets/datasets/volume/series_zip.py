"""The DICOM objects of a series zip: headers first, and pixels where needed.

Reading a header decompresses only the first bytes of its member.
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
from tcia_assets.formats.elements import is_dicom
from tcia_assets.images.acceptance.directory import STORED, Entry, MalformedZip, Zip, open_zip
from tcia_assets.images.acceptance.inflate import FASTEST, RAW_DEFLATE, Buffer
from tcia_assets.images.acceptance.rules import MAX_MEMBERS, NON_IMAGE_MEMBERS

_HEAD_BYTES = 1 << 13
# If a header is longer, the next attempt reads this many times as much.
_GROWTH = 8
_PREAMBLE_BYTES = 132
# Half of the bytes are decompressed ahead: about as many as fit into the time of reading headers.
_AHEAD_DIVISOR = 2
_PIXEL_TAGS = frozenset({0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010})
_INTEGER_PIXELS = 0x7FE0_0010
_UNDEFINED_LENGTH = 0xFFFF_FFFF
_NATIVE_SYNTAXES = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_MAX_REASON_LENGTH = 200


@dataclass(frozen=True, slots=True, eq=False)
class DicomObject:
    """An object of a zip: its header without pixels, and where its pixels are.

    `pixels` is the range of bytes of the decompressed member that holds uncompressed, little endian
    pixels; None if the pixels need a decoder or there are none.
    """

    entry: Entry
    header: Dataset
    pixels: slice | None


class SeriesZip:
    """An open zip of a Series; with a `pool`, members are decompressed ahead in its threads."""

    def __init__(self, path: Path, opened: Zip, pool: Executor | None) -> None:
        self._path, self._zip, self.pool = path, opened, pool
        self._head_bytes = _HEAD_BYTES
        self._ahead: dict[str, Future[Buffer]] = {}
        if pool is not None:
            self._read_ahead(pool)

    def _read_ahead(self, pool: Executor) -> None:
        remaining = sum(entry.size_bytes for entry in self.entries) // _AHEAD_DIVISOR
        for entry in self.entries:
            remaining -= entry.size_bytes
            if remaining < 0:
                break
            self._ahead[entry.name] = pool.submit(self._decompress, entry)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The images, sorted by name, so that their order in the zip has no effect."""
        images = (entry for entry in self._zip.entries if entry.name not in NON_IMAGE_MEMBERS)
        return tuple(sorted(images, key=lambda entry: entry.name))

    def read_headers(self) -> tuple[list[DicomObject], list[Finding]]:
        """Read the headers of all objects; return a finding for each that is unreadable."""
        dicom_objects: list[DicomObject] = []
        findings: list[Finding] = []
        for entry in self.entries:
            try:
                dicom_objects.append(self._read_header(entry))
            except _UnreadableHeader as error:
                detail = f"{entry.name}, {error}"
                findings.append(make_finding("unreadable_object", detail, [entry.name]))
        return dicom_objects, findings

    def read(self, entry: Entry) -> Buffer:
        """Return the content of a member.

        Raises:
            BadArchive: It differs from the size or checksum in the zip's directory.
        """
        ahead = self._ahead.pop(entry.name, None)
        return self._decompress(entry) if ahead is None else ahead.result()

    def read_dataset(self, dicom_object: DicomObject) -> Dataset:
        """Return the whole object, for pydicom to decode."""
        return pydicom.dcmread(BytesIO(self.read(dicom_object.entry)), force=True)

    def _decompress(self, entry: Entry) -> Buffer:
        compressed = self._zip.compressed(entry)
        is_stored = entry.method == STORED
        # One byte more than declared, to detect content that is too long.
        most = entry.size_bytes + 1
        content = compressed if is_stored else self._inflate(entry, compressed, most)
        if len(content) != entry.size_bytes or FASTEST.crc32(content, 0) != entry.crc:
            raise self._damaged(entry)
        return content

    def _inflate(self, entry: Entry, compressed: memoryview, most: int) -> Buffer:
        """Return at most that many bytes of a member."""
        try:
            content: Buffer = FASTEST.decompressobj(RAW_DEFLATE).decompress(compressed, most)
        except FASTEST.error as error:
            raise self._damaged(entry) from error
        return content

    def _read_head(self, entry: Entry, size: int) -> Buffer:
        """Return the first bytes of a member."""
        compressed = self._zip.compressed(entry)
        if entry.method == STORED:
            return bytes(compressed[:size])
        # Compressed data are rarely longer than what they decompress to.
        return self._inflate(entry, compressed[: size + _HEAD_BYTES], size)

    def _read_header(self, entry: Entry) -> DicomObject:
        size = self._head_bytes
        while True:
            head = self._read_head(entry, min(size, entry.size_bytes))
            if not is_dicom(bytes(head[:_PREAMBLE_BYTES])):
                raise _UnreadableHeader("it is not a DICOM file")
            try:
                dicom_object = _parse_header(entry, head)
            except _UnreadableHeader:
                if len(head) >= entry.size_bytes:
                    raise
                size *= _GROWTH
            else:
                # The next object's header is probably as long.
                self._head_bytes = size
                return dicom_object

    def _damaged(self, entry: Entry) -> BadArchive:
        problem = (
            f"{entry.name!r} in {self._path} does not match the size or checksum in the zip: "
            "fetch the Series again"
        )
        return BadArchive(problem, table="image_archives", column="path")


@contextmanager
def open_series_zip(path: Path, *, workers: int = 1) -> Iterator[SeriesZip]:
    """Open the zip of a Series, and silence pydicom's warnings while it is open.

    Args:
        path: The zip.
        workers: Number of threads that decompress; with 1 there is no pool.

    Raises:
        BadArchive: The file is not a zip that a source could have sent.
        OSError: The file cannot be read.
    """
    pool = ThreadPoolExecutor(workers) if workers > 1 else None
    with warnings.catch_warnings():
        # They are about odd values in headers; those that matter become findings.
        warnings.simplefilter("ignore")
        try:
            with open_zip(path, MAX_MEMBERS) as opened:
                try:
                    yield SeriesZip(path, opened, pool)
                finally:
                    if pool is not None:
                        pool.shutdown(cancel_futures=True)
        except MalformedZip as error:
            raise BadArchive(f"{path}: {error}", table="image_archives", column="path") from error


class _UnreadableHeader(Exception):
    """The first bytes have no complete header; more bytes may have one."""


def _parse_header(entry: Entry, head: Buffer) -> DicomObject:
    file = BytesIO(head)
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except Exception as error:
        reason = f"pydicom: {error}"[:_MAX_REASON_LENGTH]
        raise _UnreadableHeader(reason) from error
    if not header.get("SOPInstanceUID"):
        raise _UnreadableHeader("it has no SOPInstanceUID")
    is_native = header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian) in (
        _NATIVE_SYNTAXES
    )
    is_implicit = is_native and bool(header.original_encoding[0])
    element = _pixel_element(head, file.tell(), is_implicit=is_implicit)
    if element is None and len(head) < entry.size_bytes:
        raise _UnreadableHeader("its header is incomplete")
    if element is None or not is_native:
        return DicomObject(entry, header, None)
    tag, start, length = element
    is_integer = tag == _INTEGER_PIXELS and length != _UNDEFINED_LENGTH
    has_pixels = is_integer and start + length <= entry.size_bytes
    return DicomObject(entry, header, slice(start, start + length) if has_pixels else None)


def _pixel_element(head: Buffer, at: int, *, is_implicit: bool) -> tuple[int, int, int] | None:
    """Return tag, offset of the value and length of a pixel element that starts at `at`."""
    try:
        group, element = struct.unpack_from("<HH", head, at)
        tag = group << 16 | element
        if tag not in _PIXEL_TAGS:
            return None
        value_at = at + (8 if is_implicit else 12)
        (length,) = struct.unpack_from("<L", head, value_at - 4)
    except struct.error:
        return None
    return tag, value_at, length
