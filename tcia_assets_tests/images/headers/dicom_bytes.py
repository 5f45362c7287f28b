"""DICOM objects for tests: encoded element by element, or from the sandbox and pydicom."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import pydicom
import pydicom.data

from tcia_assets.formats.elements import is_dicom
from tcia_assets.sandbox import phantom

SOP, SERIES = "1.2.3.4", "1.2.3"


EXPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


LONG = {"OB", "OW", "SQ", "UN", "UT"}


UNDEFINED = 0xFFFFFFFF


SERIES_COLUMNS = {
    "SeriesInstanceUID": "1.3.6.1.4.1.14519.5.2.1.1",
    "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1",
    "PatientID": "LUNG1-001",
    "Collection": "LCTSC",
    "ImageCount": 2,
}


def element(
    tag: int, vr: str, raw: bytes, length: int | None = None, order: str = "<", *, pad: bool = True
) -> bytes:
    """Encode an element with an explicit VR; `length` overrides its true length."""
    raw += b" " * (len(raw) % 2) if pad else b""
    length = len(raw) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG:
        return head + b"\0\0" + struct.pack(f"{order}L", length) + raw
    return head + struct.pack(f"{order}H", length) + raw


def item(*elements: bytes) -> bytes:
    """Encode a sequence item of undefined length."""
    content = b"".join(elements)
    return (
        b"\xfe\xff\x00\xe0"
        + struct.pack("<L", UNDEFINED)
        + content
        + b"\xfe\xff\x0d\xe0"
        + bytes(4)
    )


def item_of(*elements: bytes) -> bytes:
    """Encode a sequence item of defined length."""
    content = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    return element(tag, vr, b"".join(items), UNDEFINED) + b"\xfe\xff\xdd\xe0" + bytes(4)


SOP_ELEMENT = element(0x00080018, "UI", SOP.encode())


SERIES_ELEMENT = element(0x0020000E, "UI", SERIES.encode())


LAST_ELEMENT = element(0x00290010, "LO", b"private")


def dicom_file(*elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """Return a file with these elements and the two UIDs, in the order of their tags."""
    tagged = sorted(
        [SOP_ELEMENT, SERIES_ELEMENT, *elements], key=lambda e: struct.unpack("<HH", e[:4])
    )
    return wrap(b"".join(tagged), syntax)


def wrap(body: bytes, syntax: str = EXPLICIT) -> bytes:
    meta = element(0x00020010, "UI", syntax.encode()) if syntax else b""
    return bytes(128) + b"DICM" + meta + body


@cache
def pydicom_test_files() -> list[Path]:
    """Return the DICOM files in pydicom's own tests, many of them unusual."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return [p for p in sorted(folder.rglob("*.dcm")) if is_dicom(p.read_bytes())]


@cache
def sandbox_objects() -> dict[str, bytes]:
    kinds = ("CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR", "DX")
    return {
        kind: next(content for _, content in phantom.objects(SERIES_COLUMNS | {"Modality": kind}))
        for kind in kinds
    }
