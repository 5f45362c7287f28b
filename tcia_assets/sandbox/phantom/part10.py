"""Write datasets as Part-10 files of a fixed size.

The objects of a Series share nearly all elements. These are encoded once, which makes thousands of
slices per second possible.
"""

from __future__ import annotations

import struct

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import ExplicitVRLittleEndian

from tcia_assets.errors import DataError

# Not pydicom's own: the bytes must not change with its version.
IMPLEMENTATION_CLASS_UID = "2.25.225094552648488359281163109874077814088"
IMPLEMENTATION_VERSION_NAME = "TCIA_ASSETS_1"

_PREAMBLE = bytes(128) + b"DICM"
_PADDING_HEADER = struct.Struct("<HH2sHL")


class ContentTooLarge(DataError):
    """An object does not fit into the size of its modality."""


class Template:
    """The shared elements of a Series' objects, encoded once."""

    def __init__(self, header: Dataset, size: int) -> None:
        self._size = size
        self._sop_class = header.SOPClassUID
        self._elements = _elements(header)
        self._order = sorted(self._elements)

    def file(self, own: Dataset) -> bytes:
        """Return a file of the shared elements and the object's own, padded to the size.

        Raises:
            ContentTooLarge: The elements do not fit.
        """
        elements = self._elements | _elements(own)
        order = self._order if len(elements) == len(self._order) else sorted(elements)
        body = b"".join([elements[tag] for tag in order])
        return self._padded(_file_meta(self._sop_class, own.SOPInstanceUID) + body, own)

    def _padded(self, content: bytes, own: Dataset) -> bytes:
        room = self._size - len(content) - _PADDING_HEADER.size
        if room < 0:
            problem = f"{len(content)} bytes of content do not fit into {self._size}"
            raise ContentTooLarge(problem, table="sandbox", key=own.SOPInstanceUID)
        return content + _PADDING_HEADER.pack(0xFFFC, 0xFFFC, b"OB", 0, room) + bytes(room)


def _elements(dataset: Dataset) -> dict[int, bytes]:
    # int, because comparing a Tag is slow Python code
    return {int(element.tag): _encoded(element) for element in dataset}


def _encoded(element: DataElement) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    # every header has the character set ISO_IR 192
    write_data_element(buffer, element, ["utf_8"])
    return buffer.getvalue()


def _file_meta(sop_class: str, sop_instance: str) -> bytes:
    group = b"".join(
        _encoded(DataElement(tag, vr, value))
        for tag, vr, value in (
            (0x00020001, "OB", b"\x00\x01"),
            (0x00020002, "UI", sop_class),
            (0x00020003, "UI", sop_instance),
            (0x00020010, "UI", ExplicitVRLittleEndian),
            (0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
            (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return _PREAMBLE + _encoded(DataElement(0x00020000, "UL", len(group))) + group
