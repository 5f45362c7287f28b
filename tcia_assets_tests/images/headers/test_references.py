"""What objects about images name is a row each, read at the cost of what changed."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tcia_assets.catalog import REFERENCES, TARGETS
from tcia_assets.datasets.pairing import SCHEMA, find_pairs
from tcia_assets.images.headers import referenced_objects, references
from tcia_assets.images.headers.elements import TruncatedHeader, is_uid
from tcia_assets.sandbox import phantom
from tcia_assets_tests.images.headers.test_dicom import element, made, sequence, wrapped
from tcia_assets_tests.images.headers.test_image_rows import (
    COLLECTION,
    FIRST,
    SECOND,
    Disk,
    objects,
)

STUDY = "1.3.6.1.4.1.14519.5.2.1"
MASKS = "1.3.6.1.4.1.14519.5.2.1.3"
CT = {
    "SeriesInstanceUID": FIRST,
    "StudyInstanceUID": STUDY,
    "PatientID": "LCTSC-Test-S1-101",
    "Collection": COLLECTION,
    "Modality": "CT",
    "ImageCount": 20,
}
ABOUT = CT | {"SeriesInstanceUID": MASKS, "ImageCount": 1}


def about(modality: str, source: dict[str, Any] | None = CT) -> bytes:
    return next(phantom.objects(ABOUT | {"Modality": modality}, source))[1]


def changed(content: bytes, **attributes: Any) -> bytes:
    """An object with other attributes; without those that are None."""
    read = pydicom.dcmread(io.BytesIO(content))
    for name, value in attributes.items():
        if value is None:
            del read[name]
        else:
            setattr(read, name, value)
    return written(read, read.file_meta.TransferSyntaxUID)


def written(dataset: Dataset, syntax: str) -> bytes:
    buffer = io.BytesIO()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(
        buffer,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def read(content: bytes) -> referenced_objects.ReferencedObjects:
    return referenced_objects.read(io.BytesIO(content))


def put_images(disk: Disk, series: str = FIRST, **facts: Any) -> None:
    found = phantom.objects(CT | {"SeriesInstanceUID": series} | facts)
    disk.put({f"1-{n:02}.dcm": content for n, (_, content) in enumerate(found)}, series)


def index(disk: Disk) -> references.ReferencesResult:
    disk.index()
    return references.index_references(COLLECTION, disk.warehouse)


def rows(disk: Disk, table: Any = REFERENCES) -> list[dict[str, Any]]:
    return list(disk.warehouse.read(table, [COLLECTION]).to_pylist())


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


# --- What an object says --------------------------------------------------------------------------


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
def test_every_way_of_writing_says_the_same(modality: str, syntax: str, lengths: str) -> None:
    content = about(modality)
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)

    def mark(within: Dataset, one: pydicom.DataElement) -> None:
        if one.VR == "SQ":
            one.is_undefined_length = lengths == "undefined"
            for item in one.value:
                item.is_undefined_length_sequence_item = lengths == "undefined"

    dataset.walk(mark)
    plain = Dataset()
    plain.update(dataset)
    said = read(written(plain, syntax))
    assert said == read(content)
    assert said.series == {FIRST}
    assert {series for series, _ in said.objects} == {FIRST}
    assert len(said.frames_of_reference) == 1
    assert [target.name for target in said.targets] == ["Body", "Lesion"]
    assert said.problems == []


def test_what_is_named_is_what_pydicom_finds() -> None:
    for modality in ("SEG", "RTSTRUCT"):
        dataset = pydicom.dcmread(io.BytesIO(about(modality)))
        found: set[str] = set()

        def look(_: Dataset, one: pydicom.DataElement, found: set[str] = found) -> None:
            if one.keyword == "ReferencedSOPInstanceUID" and one.value != STUDY:
                found.add(str(one.value))

        dataset.walk(look)
        assert {sop for _, sop in read(about(modality)).objects} == found


def test_targets_have_their_types_and_contours() -> None:
    body, lesion = read(about("RTSTRUCT")).targets
    assert (body.type, lesion.type) == ("EXTERNAL", "GTV")
    contoured = pydicom.dcmread(io.BytesIO(about("RTSTRUCT"))).ROIContourSequence
    assert [body.contours, lesion.contours] == [len(roi.ContourSequence) for roi in contoured]
    body, lesion = read(about("SEG")).targets
    assert (lesion.number, lesion.type, lesion.type_meaning) == (2, "SCT:52988006", "Lesion")
    assert (body.category, body.contours) == ("SCT:123037004", None)


def test_a_study_or_procedure_step_is_no_object() -> None:
    named = element(0x00081155, "UI", b"1.9.9")
    steps = [sequence(tag, item_of(named)) for tag in (0x00081110, 0x00081111, 0x00081120)]
    source = sequence(0x00082112, item_of(element(0x00081155, "UI", b"1.9.8")))
    assert read(made(*steps, source)).objects == {("", "1.9.8")}


def item_of(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def test_values_that_are_none_are_told() -> None:
    said = read(made(sequence(0x00082112, item_of(element(0x00081155, "UI", b"not a uid")))))
    assert said.objects == set()
    assert said.problems == ["'not a uid' is not a DICOM UID"]


def test_ten_thousand_nested_sequences_are_refused() -> None:
    content = wrapped(element(0x00082112, "SQ", b"", 0xFFFFFFFF))
    deep = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        read(content + deep * 10_000)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_spoiled_objects_end_in_an_answer_or_a_reason(data: st.DataObject) -> None:
    content = bytearray(about(data.draw(st.sampled_from(["SEG", "RTSTRUCT"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(132, len(content))) :]
    with contextlib.suppress(ValueError, zlib.error):
        assert all(is_uid(sop) for _, sop in read(bytes(content)).objects)


def test_an_object_cut_within_its_header_is_no_answer() -> None:
    with pytest.raises(TruncatedHeader):
        read(about("RTSTRUCT")[:2000])


# --- The tables -----------------------------------------------------------------------------------


def test_each_reference_and_each_target_is_a_row(disk: Disk) -> None:
    put_images(disk)
    disk.put({"seg.dcm": about("SEG")}, MASKS)
    done = index(disk)
    assert (done.new, done.kept, done.waiting, done.without, done.with_errors) == (1, 0, 0, 0, 0)
    found = rows(disk)
    assert {row["SeriesInstanceUID"] for row in found} == {MASKS}
    by_way = {how: [r for r in found if r["how"] == how] for how in ("series", "sop")}
    assert [row["referenced_series_instance_uid"] for row in by_way["series"]] == [FIRST]
    assert len(by_way["sop"]) == 8
    assert len(found) == 10
    assert all(row["SOPInstanceUID"] and row["Modality"] == "SEG" for row in found)
    names = [(r["target_place"], r["target_number"], r["target_name"]) for r in rows(disk, TARGETS)]
    assert names == [(1, 1, "Body"), (2, 2, "Lesion")]


def test_objects_that_were_taken_are_not_opened(disk: Disk) -> None:
    put_images(disk)
    disk.index()
    disk.path().unlink()
    assert references.index_references(COLLECTION, disk.warehouse).new == 0
    assert rows(disk) == []


def test_an_object_that_names_nothing_says_so_and_is_read_once(disk: Disk) -> None:
    disk.put({"sr.dcm": about("SR")}, MASKS)
    assert index(disk).without == 1
    (row,) = rows(disk)
    assert (row["how"], row["error"]) == (None, None)
    disk.path(MASKS).unlink()
    done = references.index_references(COLLECTION, disk.warehouse)
    assert (done.new, done.kept, done.references.changed) == (0, 1, False)


def test_what_cannot_be_read_is_a_row_with_the_reason(disk: Disk) -> None:
    disk.put({"cut.dcm": about("RTSTRUCT")[:3000], "seg.dcm": about("SEG")}, MASKS)
    assert index(disk).with_errors == 1
    (row,) = [row for row in rows(disk) if row["error"]]
    assert row["entry_name"] == "cut.dcm"
    assert "ends within its header" in row["error"]


def test_only_changed_zips_are_read_and_rows_go_with_their_zip(disk: Disk) -> None:
    disk.put({"seg.dcm": about("SEG")}, MASKS)
    disk.put(objects(SECOND, 1, "RTSTRUCT"), SECOND)
    index(disk)
    disk.path(SECOND).unlink()
    disk.put({"other.dcm": about("RTSTRUCT")}, MASKS)
    done = index(disk)
    assert (done.new, done.kept) == (1, 1)
    assert {row["entry_name"] for row in rows(disk)} == {"other.dcm", "1-01.dcm"}
    del disk.manifest[SECOND]
    disk.save()
    index(disk)
    for table in (REFERENCES, TARGETS):
        assert {row["entry_name"] for row in rows(disk, table)} == {"other.dcm"}


def test_a_zip_that_images_does_not_describe_waits(disk: Disk) -> None:
    disk.put({"seg.dcm": about("SEG")}, MASKS)
    assert references.index_references(COLLECTION, disk.warehouse).waiting == 1
    assert rows(disk) == []
    assert index(disk).waiting == 0


def test_lost_targets_are_read_again(disk: Disk) -> None:
    disk.put({"seg.dcm": about("SEG")}, MASKS)
    index(disk)
    before = rows(disk, TARGETS)
    disk.warehouse.path(TARGETS, COLLECTION).unlink()
    assert index(disk).new == 1
    assert rows(disk, TARGETS) == before


def test_pixels_are_never_inflated(disk: Disk) -> None:
    content = about("SEG") + bytes(8 << 20)
    disk.put({"seg.dcm": content}, MASKS, hashes={"seg.dcm": "0" * 32})
    with zipfile.ZipFile(disk.path(MASKS)) as archive:
        member = archive.getinfo("seg.dcm")
    spoiled = bytearray(disk.path(MASKS).read_bytes())
    end = member.header_offset + 30 + len("seg.dcm") + member.compress_size
    spoiled[end - 600 : end] = b"\xff" * 600
    disk.path(MASKS).write_bytes(spoiled)
    disk.note(MASKS)
    assert index(disk).with_errors == 0
    assert len(rows(disk)) == 10


# --- Pairs ----------------------------------------------------------------------------------------


def paired(disk: Disk, *series: str) -> list[tuple[Any, ...]]:
    index(disk)
    found = find_pairs(disk.warehouse, series or None)
    assert found.schema.equals(SCHEMA)
    names = ("state", "how", "rank", "image_series_instance_uid", "referenced_images")
    return [tuple(row[name] for name in names) for row in found.to_pylist()]


@pytest.mark.parametrize(("modality", "images"), [("SEG", 8), ("RTSTRUCT", 16)])
def test_a_mask_is_paired_by_the_series_that_it_names(
    disk: Disk, modality: str, images: int
) -> None:
    put_images(disk)
    put_images(disk, SECOND)
    disk.put({"mask.dcm": about(modality)}, MASKS)
    assert paired(disk) == [("paired", "series", 1, FIRST, images)]
    assert paired(disk, MASKS) == paired(disk)
    assert paired(disk, FIRST) == []


def test_an_old_seg_is_paired_by_the_objects_that_it_names(disk: Disk) -> None:
    put_images(disk)
    put_images(disk, SECOND)
    old = changed(about("SEG"), ReferencedSeriesSequence=None)
    disk.put({"mask.dcm": old}, MASKS)
    assert paired(disk) == [("paired", "sop", 1, FIRST, 8)]


def test_the_frame_of_reference_is_the_last_resort(disk: Disk) -> None:
    put_images(disk)
    put_images(disk, SECOND, Modality="PT")
    disk.put({"mask.dcm": about("RTSTRUCT", None)}, MASKS)
    assert paired(disk) == [
        ("paired", "frame_of_reference", 1, FIRST, 0),
        ("paired", "frame_of_reference", 2, SECOND, 0),
    ]
    disk.put({"mask.dcm": about("RTSTRUCT")}, MASKS)
    assert paired(disk) == [("paired", "series", 1, FIRST, 16)]


def test_a_frame_of_reference_of_another_study_is_none(disk: Disk) -> None:
    put_images(disk)
    other = changed(about("RTSTRUCT", None), StudyInstanceUID="1.2.9")
    disk.put({"mask.dcm": other}, MASKS)
    assert paired(disk) == [("nothing", None, None, None, 0)]


def test_several_references_are_all_kept_the_fullest_first(disk: Disk) -> None:
    put_images(disk)
    put_images(disk, SECOND)
    read = pydicom.dcmread(io.BytesIO(about("SEG")))
    more = pydicom.dcmread(io.BytesIO(about("SEG", CT | {"SeriesInstanceUID": SECOND})))
    few = more.ReferencedSeriesSequence[0]
    few.ReferencedInstanceSequence = few.ReferencedInstanceSequence[:2]
    read.ReferencedSeriesSequence.append(few)
    disk.put({"mask.dcm": written(read, ExplicitVRLittleEndian)}, MASKS)
    assert paired(disk) == [("paired", "series", 1, FIRST, 8), ("paired", "series", 2, SECOND, 2)]


def test_what_leads_nowhere_is_a_row_that_says_so(disk: Disk) -> None:
    disk.put({"mask.dcm": about("SEG")}, MASKS)
    assert paired(disk) == [("unknown", "series", None, FIRST, 0)]
    old = changed(about("SEG"), ReferencedSeriesSequence=None)
    disk.put({"mask.dcm": old}, MASKS)
    assert paired(disk) == [("unknown", "sop", None, None, 0)]
    disk.put({"mask.dcm": about("SEG", None), "cut.dcm": about("SEG")[:2500]}, MASKS)
    assert [row[0] for row in paired(disk)] == ["unreadable", "nothing"]
