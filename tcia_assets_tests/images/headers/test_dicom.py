"""A header is read from as few bytes as hold it; invalid values become null with an error."""

from __future__ import annotations

import contextlib
import io
import math
import struct
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import HEADER_COLUMNS
from tcia_assets.formats.elements import TruncatedHeader
from tcia_assets.formats.identity import Identity, identify
from tcia_assets.formats.values import age_in_years
from tcia_assets.images.headers import dicom
from tcia_assets.spec import Column
from tcia_assets_tests.examples import examples
from tcia_assets_tests.images.headers.dicom_bytes import (
    LAST_ELEMENT,
    SERIES,
    SERIES_COLUMNS,
    SERIES_ELEMENT,
    SOP,
    dicom_file,
    element,
    item,
    item_of,
    pydicom_test_files,
    sandbox_objects,
    sequence,
    wrap,
)


def row(content: bytes) -> dict[str, Any]:
    return dicom.read_header(content, len(content))


def read_with_pydicom(content: bytes) -> dict[str, Any]:
    """Return the values that pydicom reads, as columns have them, without empty ones."""
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    expected = {column.name: plain(column, attribute(column, dataset)) for column in HEADER_COLUMNS}
    return {name: value for name, value in expected.items() if value is not None}


def attribute(column: Column, dataset: pydicom.Dataset) -> Any:
    if column.inside:
        items = dataset.get("RadiopharmaceuticalInformationSequence")
        return items[0].get(column.name) if items else None
    return dataset.get(column.name, dataset.file_meta.get(column.name))


def plain(column: Column, value: Any) -> Any:
    values = list(value) if isinstance(value, pydicom.multival.MultiValue) else [value]
    if values in ([], [None], [""]):
        return None
    with contextlib.suppress(ValueError, TypeError):
        match column.kind.name:
            case "numbers":
                return [float(each) for each in values]
            case "number":
                return float(value)
            case "day":
                return date.fromisoformat(str(value))
            case "whole" | "count":
                return int(value)
    return "\\".join(str(each).strip(" ") for each in values)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", pydicom_test_files(), ids=lambda path: path.stem)
def test_unusual_objects_are_read_as_by_pydicom(path: Path) -> None:
    content = path.read_bytes()
    found, expected = row(content), read_with_pydicom(content)
    for column in HEADER_COLUMNS:
        named = column.name in (found["error"] or "")
        if found[column.name] is None:
            assert named or column.name not in expected
        else:
            assert found[column.name] == expected[column.name]


@pytest.mark.parametrize("kind", ["CT", "MR", "PT", "SEG", "RTSTRUCT", "RTDOSE", "SR", "DX"])
def test_all_values_of_the_sandbox_objects_are_read(kind: str) -> None:
    content = sandbox_objects()[kind]
    found, expected = row(content), read_with_pydicom(content)
    assert found["error"] is None
    values = {name: value for name, value in found.items() if value is not None}
    assert values.pop("patient_age_years", None) == age_in_years(expected.get("PatientAge"))
    assert values == expected
    assert identify(content) == Identity(
        expected["SOPInstanceUID"], SERIES_COLUMNS["SeriesInstanceUID"]
    )


def tracer(*items: bytes, vr: str = "SQ") -> bytes:
    return sequence(0x00540016, *items, vr=vr)


NAME = element(0x00180031, "LO", b"FDG")
HALF_LIFE = element(0x00181075, "DS", b"6586.2")
PT = element(0x00080060, "CS", b"PT")


@pytest.mark.parametrize(
    "injected",
    [
        tracer(item(NAME, HALF_LIFE)),
        tracer(item_of(NAME, HALF_LIFE)),
        element(0x00540016, "SQ", item_of(NAME, HALF_LIFE)),
        tracer(item(NAME, HALF_LIFE), item(element(0x00180031, "LO", b"other"))),
    ],
)
def test_the_tracer_is_that_of_the_first_item_of_its_sequence(injected: bytes) -> None:
    found = row(dicom_file(PT, injected))
    assert (found["Radiopharmaceutical"], found["RadionuclideHalfLife"]) == ("FDG", 6586.2)
    assert found["error"] is None


@pytest.mark.parametrize("empty", [tracer(), element(0x00540016, "SQ", b""), tracer(item())])
def test_a_sequence_without_the_attribute_gives_no_value(empty: bytes) -> None:
    found = row(dicom_file(PT, empty))
    assert (found["Radiopharmaceutical"], found["error"]) == (None, None)


def test_a_private_group_is_not_read_past_unless_the_object_is_nuclear() -> None:
    private = element(0x00291010, "OB", bytes(60_000))
    for modality, is_read in ((b"CT", False), (b"PT", True), (b"NM", True)):
        kind = element(0x00080060, "CS", modality)
        content = dicom_file(kind, private, element(0x00541001, "CS", b"BQML")) + bytes(90_000)
        if is_read:
            with pytest.raises(TruncatedHeader):
                dicom.read_header(content[:1000], len(content))
        else:
            assert dicom.read_header(content[:1000], len(content))["Modality"] == "CT"
        assert row(content)["Units"] == ("BQML" if is_read else None)


def test_values_have_the_types_of_their_columns() -> None:
    found = row(sandbox_objects()["CT"])
    assert type(found["Rows"]) is int and type(found["InstanceNumber"]) is int
    assert type(found["SliceThickness"]) is float
    assert [type(v) for v in found["ImagePositionPatient"]] == [float] * 3


def test_attributes_of_single_frames_are_not_those_of_the_object() -> None:
    spacing = element(0x00280030, "DS", b"1\\1")
    frames = sequence(0x52009229, item(sequence(0x00289110, item(spacing))))
    found = row(dicom_file(element(0x00280008, "IS", b"3"), frames))
    assert (found["NumberOfFrames"], found["PixelSpacing"], found["error"]) == (3, None, None)


@pytest.mark.parametrize(
    ("name", "invalid", "message"),
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
def test_an_invalid_value_is_null_and_named(name: str, invalid: bytes, message: str) -> None:
    found = row(dicom_file(invalid, LAST_ELEMENT))
    assert found[name] is None
    assert found["error"].startswith(f"{name}: ")
    assert message.replace("\\\\", "\\") in found["error"]
    assert found["SOPInstanceUID"] == SOP


@pytest.mark.parametrize(
    ("raw", "value"), [(b"", None), (b"  ", None), (b"0", 0), (b" 7 ", 7), (b"2.0", 2), (b"-3", -3)]
)
def test_an_empty_value_is_null_but_zero_is_not(raw: bytes, value: int | None) -> None:
    found = row(dicom_file(element(0x00200013, "IS", raw), element(0x00280010, "US", b"\0\0")))
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
def test_text_is_decoded_and_made_printable(charset: bytes, raw: bytes, text: str) -> None:
    named = element(0x00080005, "CS", charset)
    found = row(dicom_file(named, element(0x00100020, "LO", raw)))
    assert (found["PatientID"], found["error"]) == (text, None)


@pytest.mark.parametrize("charset", [b"ISO_IR 999", b"ISO_IR 192", b"ISO 2022 IR 87\\nonsense"])
def test_text_that_cannot_be_decoded_is_null_and_named(charset: bytes) -> None:
    named = element(0x00080005, "CS", charset)
    found = row(dicom_file(named, element(0x00100020, "LO", b"M\xfcller\x1b$Z")))
    assert found["PatientID"] is None
    assert found["error"].startswith("PatientID: ")
    assert found["error"].isprintable()


def test_an_object_without_uid_has_a_row_with_an_error() -> None:
    found = row(wrap(SERIES_ELEMENT + LAST_ELEMENT))
    assert (found["SOPInstanceUID"], found["SeriesInstanceUID"]) == (None, SERIES)
    assert "SOPInstanceUID" in found["error"]
    with pytest.raises(ValueError, match="without SOPInstanceUID") as caught:
        identify(wrap(SERIES_ELEMENT + LAST_ELEMENT))
    assert not isinstance(caught.value, TruncatedHeader)
    with pytest.raises(ValueError, match="'abc' instead of a UID"):
        identify(wrap(element(0x00080018, "UI", b"abc") + SERIES_ELEMENT))


def test_an_object_that_ends_within_its_header_has_an_error() -> None:
    whole = dicom_file(element(0x00280010, "US", b"\x00\x02"), LAST_ELEMENT)
    cut = whole[: whole.index(b"(\x00\x10\x00US") + 9]
    found = row(cut)
    assert (found["SOPInstanceUID"], found["Rows"]) == (SOP, None)
    assert found["error"] == "the object ends within its header"


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_a_head_gives_the_same_as_the_whole_or_is_too_short(data: st.DataObject) -> None:
    contents = [
        *sandbox_objects().values(),
        *(path.read_bytes() for path in pydicom_test_files()[::6]),
    ]
    content = data.draw(st.sampled_from(contents))
    cut = data.draw(st.integers(0, min(len(content), 5000)))
    head, whole = content[:cut], row(content)
    try:
        assert dicom.read_header(head, len(content)) == whole
    except TruncatedHeader:
        assert cut < len(content)
    except ValueError:
        assert cut < 132
    try:
        assert identify(head) == identify(content)
    except TruncatedHeader:
        assert cut < len(content)
    except ValueError:
        assert cut < 132 or whole["SOPInstanceUID"] is None or whole["SeriesInstanceUID"] is None


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data())
def test_damaged_bytes_raise_only_value_errors(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(list(sandbox_objects().values())))[:4000])
    for place in data.draw(st.lists(st.integers(132, 1500), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    for read in (lambda c: dicom.read_header(c, 12288), row, identify):
        with contextlib.suppress(ValueError):
            assert isinstance(read(bytes(content)), dict | Identity)
