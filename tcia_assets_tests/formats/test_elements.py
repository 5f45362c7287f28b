"""The elements of an object are found in each encoding, and nested sequences are skipped."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

from tcia_assets.formats.identity import identify
from tcia_assets.images.headers import dicom
from tcia_assets_tests.images.headers.dicom_bytes import (
    BIG,
    DEFLATED,
    EXPLICIT,
    SERIES,
    SOP,
    UNDEFINED,
    dicom_file,
    element,
    item,
    sequence,
    wrap,
)


def read_row(content: bytes) -> dict[str, Any]:
    return dicom.read_header(content, len(content))


def test_the_encoding_is_detected_despite_the_transfer_syntax() -> None:
    implicit = struct.pack("<HHL", 0x0028, 0x0010, 2) + struct.pack("<H", 512)
    body = b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(raw)) + raw
        for tag, raw in ((0x00080018, b"1.2.3.4\0"), (0x0020000E, b"1.2.3\0"))
    )
    for syntax in ("1.2.840.10008.1.2", EXPLICIT, ""):
        found = read_row(wrap(body + implicit, syntax))
        assert (found["SOPInstanceUID"], found["Rows"], found["error"]) == (SOP, 512, None)


def test_big_endian_and_deflated_objects_are_read() -> None:
    elements = [
        (0x00080018, "UI", SOP.encode()),
        (0x0020000E, "UI", SERIES.encode()),
        (0x00280010, "US", b"\x02\x00"),
    ]
    body = b"".join(element(tag, vr, raw, order=">") for tag, vr, raw in elements)
    assert read_row(wrap(body, BIG))["Rows"] == 512
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    plainly = dicom_file(element(0x00280010, "US", b"\x00\x02"))[len(wrap(b"")) :]
    content = wrap(squeezer.compress(plainly) + squeezer.flush(), DEFLATED)
    found = read_row(content)
    assert (found["Rows"], found["error"]) == (512, None)
    with pytest.raises(ValueError, match="does not inflate"):
        read_row(wrap(b"\xff" * 40, DEFLATED))


def test_sequences_are_skipped_at_any_depth() -> None:
    other = element(0x00080018, "UI", b"9.9.9")
    references = sequence(0x00081140, item(other), item(sequence(0x00081199, item(other))))
    implicit = struct.pack("<HHL", 0x0008, 0x0018, 4) + b"9.9 "
    unknown = sequence(0x00091001, item(implicit), vr="UN")
    assert read_row(dicom_file(references, unknown))["SOPInstanceUID"] == SOP
    deep = 20_000
    opened = (element(0x00081140, "SQ", b"", UNDEFINED) + item()[:8]) * deep
    closed = (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * deep
    assert read_row(dicom_file(opened + closed))["SOPInstanceUID"] == SOP


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(200), b"<html>" * 100])
def test_a_file_that_is_not_dicom_is_refused(content: bytes) -> None:
    for read in (read_row, identify):
        with pytest.raises(ValueError, match="not a DICOM file"):
            read(content)


def test_a_length_beyond_the_object_is_not_read() -> None:
    content = dicom_file(element(0x00280010, "OB", b"", 1 << 31))
    found = dicom.read_header(content, 1 << 30)
    assert (found["SOPInstanceUID"], found["error"]) == (SOP, "the object ends within its header")
