"""Unusable values of DICOM attributes become a default, never an error."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_int,
    read_moment,
    read_number,
    read_numbers,
    read_text,
)


def holder(keyword: str, vr: str | None, raw: bytes) -> Dataset:
    """Return a dataset with one value that is not parsed yet, as after reading a file."""
    tag = Tag(keyword)
    dataset = Dataset()
    dataset[tag] = RawDataElement(
        tag, vr, len(raw), raw, 0, is_implicit_VR=False, is_little_endian=True
    )
    return dataset


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"2.5 ", 2.5), (b"", None), (b"nan", None), (b"inf", None), (b"1\\2", None), (b"x", None)],
)
def test_a_number_is_finite_and_single(raw: bytes, expected: Any) -> None:
    assert read_number(holder("SliceThickness", "DS", raw), "SliceThickness") == expected
    assert read_number(Dataset(), "SliceThickness") is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"0.5\\0.25", (0.5, 0.25)), (b"0.5", None), (b"1\\2\\3", None), (b"1\\nan", None)],
)
def test_numbers_have_the_expected_count(raw: bytes, expected: Any) -> None:
    assert read_numbers(holder("PixelSpacing", "DS", raw), "PixelSpacing", 2) == expected


def test_missing_values_have_defaults() -> None:
    assert read_int(Dataset(), "Rows", 7) == 7
    assert read_int(holder("Rows", "US", b"\x05\x00"), "Rows", 7) == 5
    assert read_text(Dataset(), "Modality") == ""
    assert read_text(holder("Modality", "CS", b" CT "), "Modality") == "CT"
    assert first_item(Dataset(), "SegmentSequence") is None


def test_a_moment_sorts_as_a_text_and_needs_a_date() -> None:
    dataset = Dataset()
    dataset.ContentDate, dataset.ContentTime = "20200102", "093000"
    assert read_moment(dataset, "Content") == "20200102093000"
    assert read_moment(dataset, "StructureSet") == ""
    dataset.StructureSetTime = "093000"
    assert read_moment(dataset, "StructureSet") == ""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("keyword", "vr", "raw"),
    [
        ("SliceThickness", "DS", b" 2.50 "),
        ("SliceThickness", "DS", b"+.5e1\0"),
        ("InstanceNumber", "IS", b" 12 "),
        ("InstanceNumber", "IS", b"-3"),
        ("InstanceNumber", "IS", b"2.0"),
        ("InstanceNumber", "IS", b"2.5"),
        ("InstanceNumber", "IS", b""),
        ("Rows", "US", b"\x00\x02"),
    ],
)
def test_a_number_is_what_pydicom_reads(keyword: str, vr: str, raw: bytes) -> None:
    parsed = holder(keyword, vr, raw)
    try:
        expected = float(parsed[keyword].value)
    except (TypeError, ValueError):
        expected = None
    assert read_number(holder(keyword, vr, raw), keyword) == expected
    # Once pydicom has parsed it, and where the file does not say its kind.
    assert read_number(parsed, keyword) == expected
    assert read_number(holder(keyword, None, raw), keyword) == expected


@pytest.mark.parametrize(
    ("keyword", "vr", "raw"),
    [
        ("Modality", "CS", b"CT "),
        ("Modality", "CS", b" MR\0"),
        ("ImageType", "CS", b"ORIGINAL\\PRIMARY "),
        ("SOPInstanceUID", "UI", b"1.2.3\0"),
        ("PatientName", "PN", b"A^B"),
        ("StudyDate", "DA", b"20200102"),
    ],
)
def test_a_text_is_what_pydicom_reads(keyword: str, vr: str, raw: bytes) -> None:
    parsed = holder(keyword, vr, raw)
    expected = str(parsed[keyword].value).strip()
    assert read_text(holder(keyword, vr, raw), keyword) == expected
    assert read_text(parsed, keyword) == expected
    assert read_text(holder(keyword, None, raw), keyword) == expected
