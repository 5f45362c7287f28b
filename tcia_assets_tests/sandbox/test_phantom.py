"""What the sandbox and its readers may rely on in a phantom's objects."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import UID, ExplicitVRLittleEndian

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom import element_values, part10, projections, referenced_series
from tcia_assets.sandbox.phantom.anatomy import (
    BODY,
    LESION,
    SIDE,
    Grid,
    Sections,
    SeededNumbers,
    anatomy,
)
from tcia_assets.sandbox.phantom.modalities import MODALITIES as DECLARED
from tcia_assets_tests.repository import ROOT

VOLUMES = ["CT", "MR", "PT"]
WITHOUT_PIXELS = ["RTSTRUCT", "RTPLAN", "SR", "REG"]
OTHERS = ["KO", "PR", "SM", "FUSION", "SC", "OT", "a modality of tomorrow"]
MODALITIES = [*DECLARED, *OTHERS]
WITH_PIXELS = [modality for modality in MODALITIES if modality not in WITHOUT_PIXELS]
TEXTS = [
    "PatientID",
    "PatientName",
    "PatientSex",
    "PatientAge",
    "Collection",
    "SeriesDescription",
    "StudyDescription",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ProtocolName",
]


def row(modality: str, image_count: int = 1, **others: object) -> dict[str, object]:
    return {
        "SeriesInstanceUID": f"1.3.6.1.4.1.14519.5.2.1.{len(modality)}.{sum(map(ord, modality))}",
        "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1.6279.6001.298806137288633453246975630178",
        "PatientID": "LIDC-IDRI-0001",
        "PatientName": "LIDC-IDRI-0001",
        "PatientSex": "F",
        "PatientAge": "061Y",
        "Collection": "LIDC-IDRI",
        "Modality": modality,
        "SeriesDate": date(2000, 1, 2),
        "StudyDate": date(2000, 1, 1),
        "SeriesDescription": "R MLO",
        "StudyDescription": "Thorax",
        "BodyPartExamined": "CHEST",
        "SeriesNumber": 3000566,
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "LightSpeed Plus",
        "SoftwareVersions": None,
        "ProtocolName": None,
        "ImageCount": image_count,
    } | others


def files(
    series: Mapping[str, object], source: Mapping[str, object] | None = None, revision: int = 0
) -> list[bytes]:
    return [content for _, content in phantom.objects(series, source, revision)]


def read(content: bytes) -> pydicom.Dataset:
    """The whole object, each element decoded, any doubt of pydicom's an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.walk(lambda _dataset, element: element.value)
        return dataset


def opened(
    series: Mapping[str, object], source: Mapping[str, object] | None = None, revision: int = 0
) -> list[pydicom.Dataset]:
    return [read(content) for content in files(series, source, revision)]


def digest() -> str:
    """A hash of one object or more of each modality; also computed in other processes."""
    source = row("PT", 20)
    total = hashlib.sha256()
    for modality in MODALITIES:
        for content in files(row(modality, 3), source, revision=1):
            total.update(content)
    return total.hexdigest()


def lesion_in(slices: list[pydicom.Dataset]) -> NDArray[np.bool_]:
    """The lesion as a PT shows it: nothing else is half as bright."""
    return np.stack([item.pixel_array * float(item.RescaleSlope) > 20_000 for item in slices])


def frames(
    seg: pydicom.Dataset, segment: int
) -> Iterator[tuple[pydicom.Dataset, NDArray[np.bool_]]]:
    for groups, mask in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment:
            yield groups, mask.astype(bool)


# Size


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_object_has_exactly_the_size_that_its_modality_promises(modality: str) -> None:
    contents = files(row(modality, 3), row("CT", 30))
    assert [len(content) for content in contents] == [phantom.object_bytes(modality)] * 3


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_longest_header_fits(modality: str) -> None:
    widest = "\N{MUSICAL SYMBOL G CLEF}" * 70  # 4 bytes each
    uid = "1." * 31 + "11"
    texts = dict.fromkeys(TEXTS, widest) | {"PatientAge": "061Y", "PatientSex": "F"}
    uids = {"SeriesInstanceUID": uid, "StudyInstanceUID": uid}
    for source in (None, row("CT", 40, **uids)):
        (content,) = files(row(modality, 1, **texts, **uids), source)
        assert len(content) == phantom.object_bytes(modality)


@given(st.integers(1, 400), st.text(max_size=20), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_lies_on_any_source_of_any_patient_fits(count: int, patient: str, again: int) -> None:
    source = row("CT", count, PatientID=patient)
    for modality in ("SEG", "RTSTRUCT", "RTDOSE"):
        (content,) = files(row(modality), source, again)
        assert len(content) == phantom.object_bytes(modality)


def test_content_that_does_not_fit_is_an_error_and_never_cut() -> None:
    ((uid, content),) = phantom.objects(row("SR"))
    header = read(content)
    del header.DataSetTrailingPadding
    template = part10.Template(header, 1000)
    with pytest.raises(phantom.ContentTooLarge, match=uid):
        template.file(header)


# Sameness


def test_the_same_row_gives_the_same_bytes_in_every_process() -> None:
    found = {digest()}
    for seed in ("0", "1", "random"):
        told = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import digest; print(digest())"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        )
        found.add(told.stdout.strip())
    assert len(found) == 1


def test_the_bytes_are_those_of_all_machines_and_releases() -> None:
    # Who changes the phantom on purpose puts the new value here, and knows that each archive that
    # was fetched from a sandbox before has other MD5s now.
    assert digest() == "4b29ddb086d8449e636cd73a844ae5cd05e025c3676bada38885d51da094029c"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_revision_changes_the_content_but_no_uid(modality: str) -> None:
    series, source = row(modality, 2), row("CT", 30)
    first, again = dict(phantom.objects(series, source)), dict(phantom.objects(series, source, 1))
    assert first.keys() == again.keys()
    assert all(first[uid] != again[uid] for uid in first)
    if modality in WITH_PIXELS:
        assert all(read(first[uid]).PixelData != read(again[uid]).PixelData for uid in first)


def test_a_revision_leaves_the_lesion_where_it_was() -> None:
    before, after = (lesion_in(opened(row("PT", 60), revision=number)) for number in (0, 1))
    assert before.any()
    assert np.array_equal(before, after)


# Identity


def test_uids_are_valid_and_distinct_across_series() -> None:
    uids = [
        uid
        for series in ("1.2.3", "1.2.31", "1.2.3.1", "x")
        for uid in phantom.sop_instance_uids(series, 500)
    ]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_object_is_of_its_row(modality: str) -> None:
    series = row(modality, 3)
    made = list(phantom.objects(series, row("CT", 30)))
    uids = phantom.sop_instance_uids(str(series["SeriesInstanceUID"]), 3)
    assert [uid for uid, _ in made] == uids
    for number, (uid, content) in enumerate(made, start=1):
        dataset = read(content)
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == uid
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID
        assert dataset.SOPClassUID == phantom.sop_class_uid(modality)
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.InstanceNumber == number
        assert dataset.Modality == element_values.code_string(modality)
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesNumber"):
            assert dataset[keyword].value == series[keyword]
        assert dataset.private_block(0x0013, "CTP")[0x10].value == "LIDC-IDRI"


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_object_says_that_it_is_synthetic(modality: str) -> None:
    (content,) = files(row(modality), row("CT", 30))
    assert read(content).SyntheticData == "YES"
    assert b"not a patient image" in content or modality == "SR"
    assert b"tcia_assets sandbox" in content


def test_the_source_classes_are_those_that_the_sources_have() -> None:
    assert {m: phantom.sop_class_uid(m) for m in VOLUMES} == referenced_series.SOP_CLASSES


# Pixels


@pytest.mark.parametrize("modality", WITH_PIXELS)
def test_pixels_can_be_read(modality: str) -> None:
    for dataset in opened(row(modality, 2), row("CT", 30)):
        pixels = dataset.pixel_array
        assert pixels.shape[-2:] == (SIDE, SIDE)
        assert pixels.min() < pixels.max()


@pytest.mark.parametrize("modality", VOLUMES)
@pytest.mark.parametrize("count", [1, 2, 7, 133, 700])
def test_slices_are_evenly_spaced_along_the_normal(modality: str, count: int) -> None:
    slices = opened(row(modality, count))
    positions = np.array([item.ImagePositionPatient for item in slices], float)
    step = float(slices[0].SliceThickness)
    assert np.allclose(np.diff(positions, axis=0), [0, 0, step], atol=1e-9)
    assert 0 < step <= 5
    for item in slices:
        assert item.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert item.PixelSpacing[0] == item.PixelSpacing[1] > 0
        assert item.SliceLocation == item.ImagePositionPatient[2]


def test_neighbouring_slices_are_alike_and_distant_ones_are_not() -> None:
    volume = np.stack([item.pixel_array.astype(int) for item in opened(row("CT", 100))])
    near = np.abs(np.diff(volume, axis=0)).mean(axis=(1, 2))
    far = np.abs(volume[50] - volume[0]).mean()
    assert near.max() < far / 3
    assert (near > 0).all()


def test_ct_is_in_hounsfield_units() -> None:
    item = opened(row("CT", 5))[2]
    assert item.RescaleIntercept == -1024
    hounsfield = item.pixel_array * float(item.RescaleSlope) + float(item.RescaleIntercept)
    assert abs(hounsfield[0, 0] + 1000) <= 16  # air
    assert 400 < hounsfield.max() < 500  # bone


def test_pt_has_what_suv_by_body_weight_needs() -> None:
    slices = opened(row("PT", 60))
    item, tracer = slices[30], slices[30].RadiopharmaceuticalInformationSequence[0]
    assert (item.Units, item.DecayCorrection, item.RescaleIntercept) == ("BQML", "START", 0)
    assert {"DECY", "ATTN"} <= set(item.CorrectedImage)
    assert item.SeriesDate == item.AcquisitionDate == tracer.RadiopharmaceuticalStartDateTime[:8]

    def seconds(clock: str) -> int:
        return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6])

    waited = seconds(item.SeriesTime) - seconds(tracer.RadiopharmaceuticalStartTime)
    left = float(tracer.RadionuclideTotalDose) * 0.5 ** (waited / tracer.RadionuclideHalfLife)
    suv = item.pixel_array * item.RescaleSlope * item.PatientWeight * 1000 / left
    assert 0.5 < np.median(suv[suv > 0.5]) < 2
    assert 5 < suv.max() < 14


def test_patients_look_different_and_the_series_of_one_alike() -> None:
    def shape(patient: str, uid: str) -> NDArray[np.bool_]:
        series = row("PT", 9, PatientID=patient, SeriesInstanceUID=uid)
        return lesion_in(opened(series))

    same_grid = [f"1.2.{n}" for n in range(40) if Grid.of(f"1.2.{n}", 9) == Grid.of("1.2.0", 9)]
    assert np.array_equal(shape("A", same_grid[0]), shape("A", same_grid[1]))
    assert not np.array_equal(shape("A", same_grid[0]), shape("B", same_grid[0]))


@given(st.text(max_size=30), st.integers(0, 50))
@settings(max_examples=200)
def test_the_lesion_of_any_patient_lies_inside_the_body_and_in_view(
    patient: str, revision: int
) -> None:
    ellipsoids = anatomy(patient, revision)
    sections = Sections(ellipsoids, Grid.of(patient, 60))
    lesion = [sections.mask(LESION, index) for index in range(60)]
    body = [sections.mask(BODY, index) for index in range(60)]
    assert any(mask.any() for mask in lesion[28:32])
    assert all(not (inner & ~outer).any() for inner, outer in zip(lesion, body, strict=True))
    # air all around, so that a body is never cut by the field of view
    assert not any(mask[0].any() or mask[:, 0].any() or mask[:, -1].any() for mask in body)


# SEG and RTSTRUCT


@pytest.mark.parametrize("count", [1, 2, 3, 60, 500])
def test_a_seg_marks_the_lesion_of_its_source(count: int) -> None:
    source = row("PT", count, SeriesInstanceUID="1.2.3")
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    (seg,) = opened(row("SEG"), source)
    found = list(frames(seg, segment=2))
    assert found
    assert seg.NumberOfFrames <= 16
    for groups, mask in found:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        on = slices[image.ReferencedSOPInstanceUID]
        assert image.ReferencedSOPClassUID == on.SOPClassUID
        assert groups.PlanePositionSequence[0].ImagePositionPatient == on.ImagePositionPatient
        assert np.array_equal(mask, lesion_in([on])[0])


def test_a_seg_marks_the_body_of_its_source() -> None:
    source = row("CT", 60)
    slices = {item.SOPInstanceUID: item.pixel_array for item in opened(source)}
    (seg,) = opened(row("SEG"), source)
    for groups, mask in frames(seg, segment=1):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        air = slices[image.ReferencedSOPInstanceUID] < 100
        assert np.array_equal(mask, ~air)


def test_a_seg_refers_to_each_slice_that_it_lies_on_and_shares_its_place() -> None:
    source = row("CT", 60)
    first = opened(source)[0]
    (seg,) = opened(row("SEG"), source)
    (series,) = seg.ReferencedSeriesSequence
    shared = seg.SharedFunctionalGroupsSequence[0]
    listed = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    used = {
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for groups in seg.PerFrameFunctionalGroupsSequence
    }
    assert series.SeriesInstanceUID == source["SeriesInstanceUID"]
    assert sorted(listed) == sorted(used)
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert shared.PixelMeasuresSequence[0].PixelSpacing == first.PixelSpacing
    assert (
        shared.PlaneOrientationSequence[0].ImageOrientationPatient == first.ImageOrientationPatient
    )


@pytest.mark.parametrize("count", [1, 2, 60, 500])
def test_contours_are_closed_and_lie_on_slices_inside_the_volume(count: int) -> None:
    source = row("PT", count)
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    half = SIDE / 2 * float(next(iter(slices.values())).PixelSpacing[0])
    (structures,) = opened(row("RTSTRUCT"), source)
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == ["Body", "Lesion"]
    for roi in structures.ROIContourSequence:
        assert roi.ContourSequence
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            on = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert len(points) == contour.NumberOfContourPoints >= 3
            assert (points[:, 2] == float(on.ImagePositionPatient[2])).all()
            assert (np.abs(points[:, :2]) < half).all()
            assert not np.array_equal(points[0], points[-1])


def test_a_lesion_contour_runs_around_the_lesion_of_its_slice() -> None:
    source = row("PT", 60)
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    (structures,) = opened(row("RTSTRUCT"), source)
    for contour in structures.ROIContourSequence[1].ContourSequence:
        on = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        spacing = float(on.PixelSpacing[0])
        points = np.array(contour.ContourData, float).reshape(-1, 3)[:, :2]
        pixels = (points - np.array(on.ImagePositionPatient[:2], float)) / spacing
        x, y = pixels.T
        area = abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2
        mask = lesion_in([on])[0]
        # a pixel belongs to the lesion by its centre, hence the tolerance of its rim
        assert abs(area - mask.sum()) <= 2 + np.sqrt(area)
        if mask.any():
            centre = np.argwhere(mask).mean(axis=0)[::-1]
            assert np.abs(pixels.mean(axis=0) - centre).max() < 1


def test_contours_share_the_frame_of_reference_of_their_source() -> None:
    source = row("CT", 60)
    first = opened(source)[0]
    (structures,) = opened(row("RTSTRUCT"), source)
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == first.StudyInstanceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(series.ContourImageSequence) == 16


@pytest.mark.parametrize(
    "source", [None, row("MG", 4), row("CT", 0), row("CT", 9) | {"SeriesInstanceUID": None}]
)
@pytest.mark.parametrize("modality", ["SEG", "RTSTRUCT", "RTDOSE"])
def test_without_a_usable_source_nothing_is_referred_to(
    modality: str, source: dict[str, object] | None
) -> None:
    (dataset,) = opened(row(modality), source)
    assert "ReferencedSeriesSequence" not in dataset
    assert "RTReferencedStudySequence" not in dataset.to_json()
    assert "30060016" not in dataset.to_json()  # ContourImageSequence
    assert "00089124" not in dataset.to_json()  # DerivationImageSequence


# Odd rows


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_row_of_nulls_gives_an_object(modality: str) -> None:
    empty = dict.fromkeys(row(modality)) | {"SeriesInstanceUID": "1.2.3", "ImageCount": 2}
    for dataset in opened(empty | {"Modality": modality}):
        assert dataset.PatientName == ""
        assert "SeriesDescription" not in dataset
        assert "StudyInstanceUID" not in dataset


def test_no_images_are_no_objects() -> None:
    assert files(row("CT", 0)) == []
    assert files(row("CT") | {"ImageCount": None}) == []


def test_text_survives_and_what_is_too_long_is_cut() -> None:
    series = row(
        "CT",
        PatientName="Müller-Lüdenscheidt^Łukasz, jr.",
        SeriesDescription="Kopf, nativ ^ \\ 5,0 mm \x00" + "ü" * 100,
        BodyPartExamined="Left Breast",
        Manufacturer="Siemens, Healthineers",
    )
    (dataset,) = opened(series)
    assert dataset.PatientName == "Müller-Lüdenscheidt^Łukasz, jr."
    assert dataset.SeriesDescription.startswith("Kopf, nativ ^   5,0 mm  ü")
    assert len(dataset.SeriesDescription) == 64
    assert dataset.BodyPartExamined == "LEFT BREAST"
    assert dataset.Manufacturer == "Siemens, Healthineers"


def test_what_dicom_does_not_allow_is_left_out() -> None:
    series = row(
        "CT",
        StudyInstanceUID="1.02.3",
        PatientAge="N-A",
        PatientSex="6657",
        SeriesNumber=2**40,
        PatientName="\ud800^" * 20,
    )
    (dataset,) = opened(series)
    assert "StudyInstanceUID" not in dataset
    assert "PatientAge" not in dataset
    assert dataset.PatientSex == ""
    assert dataset.SeriesNumber is None


@given(
    st.sampled_from(MODALITIES),
    st.fixed_dictionaries({key: st.none() | st.text(max_size=90) for key in TEXTS}),
    st.fixed_dictionaries(
        {
            "SeriesNumber": st.none() | st.integers() | st.text(max_size=14),
            "StudyDate": st.none() | st.dates(),
            "SeriesDate": st.none() | st.dates(),
            "StudyInstanceUID": st.none() | st.text(max_size=70),
        }
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_row_gives_an_object_that_pydicom_reads_without_a_doubt(
    modality: str, texts: dict[str, object], others: dict[str, object]
) -> None:
    series = row(modality, 1, **texts, **others)
    (content,) = files(series, row("MR", 12, PatientID=texts["PatientID"]))
    assert read(content).SOPClassUID == phantom.sop_class_uid(modality)
    assert len(content) == phantom.object_bytes(modality)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("R MLO Breast Tomosynthesis Image", ("R", "MLO")),
        ("ROUTINE3D_VOL_LCC", ("L", "CC")),
        ("L XCCL", ("L", None)),
        ("full mammogram images", (None, None)),
        ("BILATERAL", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_mammogram_has_the_side_and_view_that_its_description_names(
    description: str | None, expected: tuple[str | None, str | None]
) -> None:
    assert projections.breast_view(description) == expected


def test_dice_stay_within_their_bounds() -> None:
    dice = SeededNumbers("seed")
    assert all(3 <= dice.between(3, 4) <= 4 for _ in range(50))
