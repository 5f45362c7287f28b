"""What an object refers to is read from its sequences, in each encoding."""

from __future__ import annotations

import contextlib
import io
import zlib

import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tcia_assets.formats.elements import TruncatedHeader, is_uid
from tcia_assets.images.headers import referenced_objects
from tcia_assets_tests.examples import examples
from tcia_assets_tests.images.headers.dicom_bytes import (
    dicom_file,
    element,
    item_of,
    sequence,
    wrap,
)
from tcia_assets_tests.images.headers.zip_warehouse import FIRST, STUDY, encode, mask_object


def read(content: bytes) -> referenced_objects.ReferencedObjects:
    return referenced_objects.read(io.BytesIO(content))


@pytest.mark.parametrize("modality", ["SEG", "RTSTRUCT"])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("lengths", ["defined", "undefined"])
def test_each_encoding_gives_the_same_result(modality: str, syntax: str, lengths: str) -> None:
    content = mask_object(modality)
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)

    def mark(within: Dataset, one: pydicom.DataElement) -> None:
        if one.VR == "SQ":
            one.is_undefined_length = lengths == "undefined"
            for item in one.value:
                item.is_undefined_length_sequence_item = lengths == "undefined"

    dataset.walk(mark)
    plain = Dataset()
    plain.update(dataset)
    found = read(encode(plain, syntax))
    assert found == read(content)
    assert found.series == {FIRST}
    assert {series for series, _ in found.objects} == {FIRST}
    assert len(found.frames_of_reference) == 1
    assert [target.name for target in found.targets] == ["Body", "Lesion"]
    assert found.problems == []


def test_pydicom_finds_the_same_references() -> None:
    for modality in ("SEG", "RTSTRUCT"):
        dataset = pydicom.dcmread(io.BytesIO(mask_object(modality)))
        uids: set[str] = set()

        def look(_: Dataset, one: pydicom.DataElement, uids: set[str] = uids) -> None:
            if one.keyword == "ReferencedSOPInstanceUID" and one.value != STUDY:
                uids.add(str(one.value))

        dataset.walk(look)
        assert {sop for _, sop in read(mask_object(modality)).objects} == uids


def test_targets_have_types_and_contours() -> None:
    body, lesion = read(mask_object("RTSTRUCT")).targets
    assert (body.type, lesion.type) == ("EXTERNAL", "GTV")
    contoured = pydicom.dcmread(io.BytesIO(mask_object("RTSTRUCT"))).ROIContourSequence
    assert [body.contours, lesion.contours] == [len(roi.ContourSequence) for roi in contoured]
    body, lesion = read(mask_object("SEG")).targets
    assert (lesion.number, lesion.type, lesion.type_meaning) == (2, "SCT:52988006", "Lesion")
    assert (body.category, body.contours) == ("SCT:123037004", None)


def test_targets_name_the_algorithm_that_made_them() -> None:
    body, _ = read(mask_object("RTSTRUCT")).targets
    assert (body.algorithm_type, body.algorithm_name) == ("AUTOMATIC", "")
    body, _ = read(mask_object("SEG")).targets
    assert (body.algorithm_type, body.algorithm_name) == ("AUTOMATIC", "tcia_assets sandbox")


def test_a_study_or_procedure_step_is_not_an_object() -> None:
    named = element(0x00081155, "UI", b"1.9.9")
    steps = [sequence(tag, item_of(named)) for tag in (0x00081110, 0x00081111, 0x00081120)]
    source = sequence(0x00082112, item_of(element(0x00081155, "UI", b"1.9.8")))
    assert read(dicom_file(*steps, source)).objects == {("", "1.9.8")}


def test_invalid_uids_are_reported() -> None:
    found = read(dicom_file(sequence(0x00082112, item_of(element(0x00081155, "UI", b"not a uid")))))
    assert found.objects == set()
    assert found.problems == ["'not a uid' is not a DICOM UID"]


def test_ten_thousand_nested_sequences_are_refused() -> None:
    content = wrap(element(0x00082112, "SQ", b"", 0xFFFFFFFF))
    deep = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        read(content + deep * 10_000)


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data())
def test_damaged_objects_give_a_result_or_an_error(data: st.DataObject) -> None:
    content = bytearray(mask_object(data.draw(st.sampled_from(["SEG", "RTSTRUCT"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(132, len(content))) :]
    with contextlib.suppress(ValueError, zlib.error):
        assert all(is_uid(sop) for _, sop in read(bytes(content)).objects)


def test_an_object_truncated_within_its_header_raises() -> None:
    with pytest.raises(TruncatedHeader):
        read(mask_object("RTSTRUCT")[:2000])
