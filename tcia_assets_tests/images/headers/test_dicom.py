"""A header is read from as few bytes as hold it; what is amiss in it is told and never fatal."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import IMAGES
from tcia_assets.images.headers import dicom
from tcia_assets.sandbox import phantom

SOP, SERIES = "1.2.3.4", "1.2.3"
EXPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
LONG = {"OB", "OW", "SQ", "UN", "UT"}
UNDEFINED = 0xFFFFFFFF
FROM_HEADER = [column for column in IMAGES.columns if column.tag]

CATALOGUED = {
    "SeriesInstanceUID": "1.3.6.1.4.1.14519.5.2.1.1",
    "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1",
    "PatientID": "LUNG1-001",
    "Collection": "LCTSC",
    "ImageCount": 2,
}


def element(
    tag: int, vr: str, raw: bytes, length: int | None = None, order: str = "<", *, pad: bool = True
) -> bytes:
    """One explicit element; `length` where it says another one than it has."""
    raw += b" " * (len(raw) % 2) if pad else b""
    said = len(raw) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG:
        return head + b"\0\0" + struct.pack(f"{order}L", said) + raw
    return head + struct.pack(f"{order}H", said) + raw


def item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return (
        b"\xfe\xff\x00\xe0"
        + struct.pack("<L", UNDEFINED)
        + content
        + b"\xfe\xff\x0d\xe0"
        + bytes(4)
    )


def sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    return element(tag, vr, b"".join(items), UNDEFINED) + b"\xfe\xff\xdd\xe0" + bytes(4)


SAID_SOP = element(0x00080018, "UI", SOP.encode())
SAID_SERIES = element(0x0020000E, "UI", SERIES.encode())
BEHIND = element(0x00290010, "LO", b"private")


def made(*elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """A file of these elements and of the two UIDs, in the order of their tags."""
    tagged = sorted([SAID_SOP, SAID_SERIES, *elements], key=lambda e: struct.unpack("<HH", e[:4]))
    return wrapped(b"".join(tagged), syntax)


def wrapped(body: bytes, syntax: str = EXPLICIT) -> bytes:
    meta = element(0x00020010, "UI", syntax.encode()) if syntax else b""
    return bytes(128) + b"DICM" + meta + body


def row(content: bytes) -> dict[str, Any]:
    return dicom.read_header(content, len(content))


@cache
def bundled() -> list[Path]:
    """The odd objects that pydicom has for its own tests."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return [p for p in sorted(folder.rglob("*.dcm")) if dicom.is_dicom(p.read_bytes())]


@cache
def phantoms() -> dict[str, bytes]:
    kinds = ("CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR", "DX")
    return {
        kind: next(content for _, content in phantom.objects(CATALOGUED | {"Modality": kind}))
        for kind in kinds
    }


def expected(content: bytes) -> dict[str, Any]:
    """What pydicom reads, where it reads anything."""
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    said = {c.name: dataset.get(c.name, dataset.file_meta.get(c.name)) for c in FROM_HEADER}
    return {name: plain(value) for name, value in said.items() if not is_empty(value)}


def is_empty(value: Any) -> bool:
    return value is None or (not isinstance(value, int | float) and len(value) == 0)


def plain(value: Any) -> Any:
    if isinstance(value, pydicom.multival.MultiValue):
        return [float(each) for each in value]
    return value if isinstance(value, int | float) else str(value)


# --- What it says ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_odd_objects_are_read_as_pydicom_reads_them(path: Path) -> None:
    content = path.read_bytes()
    found, said = row(content), expected(content)
    for column in FROM_HEADER:
        named = column.name in (found["error"] or "")
        if found[column.name] is None:
            assert named or said.get(column.name) in (None, [], "")
        else:
            assert found[column.name] == said[column.name]


@pytest.mark.parametrize("kind", ["CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR", "DX"])
def test_the_objects_of_the_sandbox_say_all_that_they_hold(kind: str) -> None:
    content = phantoms()[kind]
    found, said = row(content), expected(content)
    assert found["error"] is None
    assert {k: v for k, v in found.items() if v is not None} == {
        name: said[name] for name in (c.name for c in FROM_HEADER) if name in said
    }
    assert dicom.identify(content) == dicom.Identity(
        said["SOPInstanceUID"], CATALOGUED["SeriesInstanceUID"]
    )


def test_values_have_their_columns_types() -> None:
    found = row(phantoms()["CT"])
    assert type(found["Rows"]) is int and type(found["InstanceNumber"]) is int
    assert type(found["SliceThickness"]) is float
    assert [type(v) for v in found["ImagePositionPatient"]] == [float] * 3


def test_what_is_written_counts_and_not_the_transfer_syntax() -> None:
    implicit = struct.pack("<HHL", 0x0028, 0x0010, 2) + struct.pack("<H", 512)
    body = b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(raw)) + raw
        for tag, raw in ((0x00080018, b"1.2.3.4\0"), (0x0020000E, b"1.2.3\0"))
    )
    for syntax in ("1.2.840.10008.1.2", EXPLICIT, ""):
        found = row(wrapped(body + implicit, syntax))
        assert (found["SOPInstanceUID"], found["Rows"], found["error"]) == (SOP, 512, None)


def test_big_endian_and_deflated_objects_are_read() -> None:
    elements = [
        (0x00080018, "UI", SOP.encode()),
        (0x0020000E, "UI", SERIES.encode()),
        (0x00280010, "US", b"\x02\x00"),
    ]
    body = b"".join(element(tag, vr, raw, order=">") for tag, vr, raw in elements)
    assert row(wrapped(body, BIG))["Rows"] == 512
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    plainly = made(element(0x00280010, "US", b"\x00\x02"))[len(wrapped(b"")) :]
    content = wrapped(squeezer.compress(plainly) + squeezer.flush(), DEFLATED)
    found = row(content)
    assert (found["Rows"], found["error"]) == (512, None)
    with pytest.raises(ValueError, match="does not inflate"):
        row(wrapped(b"\xff" * 40, DEFLATED))


def test_what_enhanced_objects_say_of_each_frame_is_not_said_of_the_object() -> None:
    spacing = element(0x00280030, "DS", b"1\\1")
    frames = sequence(0x52009229, item(sequence(0x00289110, item(spacing))))
    found = row(made(element(0x00280008, "IS", b"3"), frames))
    assert (found["NumberOfFrames"], found["PixelSpacing"], found["error"]) == (3, None, None)


def test_sequences_are_passed_over_however_deep_they_are() -> None:
    other = element(0x00080018, "UI", b"9.9.9")
    references = sequence(0x00081140, item(other), item(sequence(0x00081199, item(other))))
    implicit = struct.pack("<HHL", 0x0008, 0x0018, 4) + b"9.9 "
    unknown = sequence(0x00091001, item(implicit), vr="UN")
    assert row(made(references, unknown))["SOPInstanceUID"] == SOP
    deep = 20_000
    opened = (element(0x00081140, "SQ", b"", UNDEFINED) + item()[:8]) * deep
    closed = (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * deep
    assert row(made(opened + closed))["SOPInstanceUID"] == SOP


# --- What is amiss --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "amiss", "said"),
    [
        ("Rows", element(0x00280010, "US", b"abc", pad=False), "'abc' is not a count"),
        ("Rows", element(0x00280010, "CS", b"abc"), "'abc' is not a count"),
        ("Rows", element(0x00280010, "US", b"\1\0\2\0"), "is not a count"),
        ("Rows", element(0x00280010, "SS", b"\xff\xff"), "is not a count"),
        ("Rows", sequence(0x00280010), "a sequence is not a count"),
        ("NumberOfFrames", element(0x00280008, "IS", b"-1"), "'-1' is not a count"),
        ("InstanceNumber", element(0x00200013, "IS", b"1.5"), "'1.5' is not a whole number"),
        ("InstanceNumber", element(0x00200013, "IS", b"9" * 19), "is not a whole number"),
        ("InstanceNumber", element(0x00200013, "IS", b"9" * 5000), "is not a whole number"),
        ("InstanceNumber", element(0x00200013, "IS", b"1_0"), "'1_0' is not a whole number"),
        ("PixelSpacing", element(0x00280030, "DS", b"1\\x"), r"'1\\\\x' is not a list of numbers"),
        ("PixelSpacing", element(0x00280030, "DS", b"1"), "'1' is not a list of numbers"),
        ("PixelSpacing", element(0x00280030, "DS", b"1\\"), "is not a list of numbers"),
        ("SliceThickness", element(0x00180050, "DS", b"nan"), "'nan' is not a number"),
        ("SliceThickness", element(0x00180050, "DS", b"1e999"), "'1e999' is not a number"),
        ("SliceThickness", element(0x00180050, "DS", b"1.2.3"), "'1.2.3' is not a number"),
        ("RescaleSlope", element(0x00281053, "FD", struct.pack("<d", math.inf)), "not a number"),
        ("StudyInstanceUID", element(0x0020000D, "UI", b"1.a"), "'1.a' is not a DICOM UID"),
        ("StudyInstanceUID", element(0x0020000D, "UI", b"1" * 65), "is not a DICOM UID"),
        ("PatientID", element(0x00100020, "LO", b"x" * 300), "is not text"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_null_and_named(
    name: str, amiss: bytes, said: str
) -> None:
    found = row(made(amiss, BEHIND))
    assert found[name] is None
    assert found["error"].startswith(f"{name}: ")
    assert said.replace("\\\\", "\\") in found["error"]
    assert found["SOPInstanceUID"] == SOP


@pytest.mark.parametrize(
    ("raw", "value"), [(b"", None), (b"  ", None), (b"0", 0), (b" 7 ", 7), (b"2.0", 2), (b"-3", -3)]
)
def test_empty_is_null_and_zero_is_not(raw: bytes, value: int | None) -> None:
    found = row(made(element(0x00200013, "IS", raw), element(0x00280010, "US", b"\0\0")))
    assert (found["InstanceNumber"], found["Rows"], found["error"]) == (value, 0, None)


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        (b"ISO_IR 100", "Müller".encode("latin-1"), "Müller"),
        (b"ISO_IR 192", "Müller 山田".encode(), "Müller 山田"),
        (b"ISO_IR 144", "Дима".encode("iso8859-5"), "Дима"),
        (b"\\ISO 2022 IR 87", b"Y \x1b$B;3ED\x1b(B", "Y 山田"),
        (b"", "Müller".encode("latin-1"), "Müller"),
        (b"ISO_IR 6", b"two\nlines\x07", r"two\nlines\x07"),
    ],
)
def test_text_is_read_in_its_character_set_and_comes_out_printable(
    charset: bytes, raw: bytes, text: str
) -> None:
    named = element(0x00080005, "CS", charset)
    found = row(made(named, element(0x00100020, "LO", raw)))
    assert (found["PatientID"], found["error"]) == (text, None)


@pytest.mark.parametrize("charset", [b"ISO_IR 999", b"ISO_IR 192", b"ISO 2022 IR 87\\nonsense"])
def test_text_that_is_not_in_its_character_set_is_null_and_named(charset: bytes) -> None:
    named = element(0x00080005, "CS", charset)
    found = row(made(named, element(0x00100020, "LO", b"M\xfcller\x1b$Z")))
    assert found["PatientID"] is None
    assert found["error"].startswith("PatientID: ")
    assert found["error"].isprintable()


def test_an_object_without_a_uid_has_a_row_that_says_so() -> None:
    found = row(wrapped(SAID_SERIES + BEHIND))
    assert (found["SOPInstanceUID"], found["SeriesInstanceUID"]) == (None, SERIES)
    assert "SOPInstanceUID" in found["error"]
    with pytest.raises(ValueError, match="without SOPInstanceUID") as caught:
        dicom.identify(wrapped(SAID_SERIES + BEHIND))
    assert not isinstance(caught.value, dicom.TruncatedHeader)
    with pytest.raises(ValueError, match="'abc' instead of a UID"):
        dicom.identify(wrapped(element(0x00080018, "UI", b"abc") + SAID_SERIES))


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(200), b"<html>" * 100])
def test_what_is_no_dicom_is_refused(content: bytes) -> None:
    for read in (row, dicom.identify):
        with pytest.raises(ValueError, match="not a DICOM file"):
            read(content)


def test_an_object_that_ends_within_its_header_is_a_row_that_says_so() -> None:
    whole = made(element(0x00280010, "US", b"\x00\x02"), BEHIND)
    cut = whole[: whole.index(b"(\x00\x10\x00US") + 9]
    found = row(cut)
    assert (found["SOPInstanceUID"], found["Rows"]) == (SOP, None)
    assert found["error"] == "the object ends within its header"


def test_a_length_that_no_object_can_have_is_not_looked_for() -> None:
    content = made(element(0x00280010, "OB", b"", 1 << 31))
    found = dicom.read_header(content, 1 << 30)
    assert (found["SOPInstanceUID"], found["error"]) == (SOP, "the object ends within its header")


# --- Heads ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_head_says_what_the_whole_says_or_asks_for_more(data: st.DataObject) -> None:
    contents = [*phantoms().values(), *(path.read_bytes() for path in bundled()[::6])]
    content = data.draw(st.sampled_from(contents))
    cut = data.draw(st.integers(0, min(len(content), 5000)))
    head, whole = content[:cut], row(content)
    try:
        assert dicom.read_header(head, len(content)) == whole
    except dicom.TruncatedHeader:
        assert cut < len(content)
    except ValueError:
        assert cut < 132
    try:
        assert dicom.identify(head) == dicom.identify(content)
    except dicom.TruncatedHeader:
        assert cut < len(content)
    except ValueError:
        assert cut < 132 or whole["SOPInstanceUID"] is None or whole["SeriesInstanceUID"] is None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_spoiled_bytes_never_crash(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(list(phantoms().values())))[:4000])
    for place in data.draw(st.lists(st.integers(132, 1500), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    for read in (lambda c: dicom.read_header(c, 12288), row, dicom.identify):
        with contextlib.suppress(ValueError):
            assert isinstance(read(bytes(content)), dict | dicom.Identity)


def test_identity_needs_no_more_than_what_lies_before_it() -> None:
    content = made(element(0x00280010, "US", b"\0\2"))
    head = content[: content.index(SAID_SERIES) + len(SAID_SERIES)]
    assert dicom.identify(head) == dicom.Identity(SOP, SERIES)
    with pytest.raises(dicom.TruncatedHeader):
        dicom.identify(head[:-1])
