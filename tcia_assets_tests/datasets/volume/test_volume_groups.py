"""A Series is divided into its volumes, and no volume is a mixture of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    OBLIQUE,
    Series,
    content,
    finding_codes,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import (
    SHAPE,
    each,
    enhanced,
    values_of,
    volume,
    zipped,
)

TYPE = ["ORIGINAL", "PRIMARY"]
DISTINCT: dict[str, list[dict[str, Any]]] = {
    "time": [{"TemporalPositionIdentifier": n} for n in (1, 2, 3)],
    "b-value": [{"DiffusionBValue": b} for b in (0.0, 50.0, 1000.0)],
    "no b-value is the first": [{}, {"DiffusionBValue": 1000.0}],
    "direction": [
        {"DiffusionBValue": 0.0},
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": [1.0, 0.0, 0.0]},
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": [0.0, 1.0, 0.0]},
    ],
    "echo": [{"EchoTime": "4.92"}, {"EchoTime": "7.38"}],
    "type": [{"ImageType": [*TYPE, "W"]}, {"ImageType": [*TYPE, "F"]}],
    "kernel": [{"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}],
    "acquisition": [{"AcquisitionNumber": n} for n in (4, 5)],
    "trigger": [{"TriggerTime": str(t)} for t in (0, 40.5, 81)],
    "trigger of each slice": [
        {"TriggerTime": each(*(str(t + 3 * place) for place in range(SHAPE[0])))}
        for t in (0, 40.5, 81)
    ],
    "acquisition of each slice": [
        {"AcquisitionNumber": each(*(2 * place + n for place in range(SHAPE[0])))} for n in (1, 2)
    ],
    "time of each slice": [
        {"AcquisitionTime": each(*(f"1200{2 * place + n:02}" for place in range(SHAPE[0])))}
        for n in (1, 2)
    ],
    "dynamic": [{"FrameReferenceTime": str(t)} for t in (500, 1500)],
    "echo and type": [
        {"EchoTime": "2.2", "ImageType": [*TYPE, "OUT"]},
        {"EchoTime": "4.4", "ImageType": [*TYPE, "IN"]},
        {"EchoTime": "4.4", "ImageType": [*TYPE, "W"]},
        {"EchoTime": "4.4", "ImageType": [*TYPE, "F"]},
    ],
}


def all_volumes(path: Path) -> list[Any]:
    """Return all volumes of a Series."""
    with open_volumes(path, least_slices=1) as volumes:
        return [volumes.read(place) for place in range(len(volumes.groups))]


@pytest.mark.parametrize("name", DISTINCT)
def test_each_volume_is_whole_and_in_order(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path, *(volume(n, **more) for n, more in enumerate(DISTINCT[name])))
    found = all_volumes(path)
    assert len(found) == len(DISTINCT[name])
    for number, each_ in enumerate(found):
        assert np.array_equal(each_.voxels, values_of(number)), number
        assert each_.number == number + 1 and each_.name
    assert "duplicate_position" not in finding_codes(found[0])
    assert len({each_.name for each_ in found}) == len(found)


ENHANCED: dict[str, list[dict[str, Any]]] = {
    "time": [{"FrameContentSequence": {"TemporalPositionIndex": n}} for n in (1, 2)],
    "stack": [{"FrameContentSequence": {"StackID": name}} for name in "AB"],
    "b-value": [{"MRDiffusionSequence": {"DiffusionBValue": b}} for b in (0.0, 700.0)],
    "echo": [{"MREchoSequence": {"EffectiveEchoTime": t}} for t in (10.0, 20.0)],
    "type": [{"MRImageFrameTypeSequence": {"FrameType": [*TYPE, t]}} for t in ("M", "P")],
    "trigger": [
        {"CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": t}}
        for t in (10.0, 20.0)
    ],
    "acquisition": [{"FrameContentSequence": {"FrameAcquisitionNumber": n}} for n in (1, 2)],
    "converted": [
        {"UnassignedPerFrameConvertedAttributesSequence": {"EchoTime": t}} for t in ("5", "9")
    ],
}


@pytest.mark.parametrize("name", ENHANCED)
def test_frames_of_an_enhanced_object_are_divided_too(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "a.zip", [content(enhanced(*ENHANCED[name]))])
    found = all_volumes(path)
    assert [np.array_equal(each_.voxels, values_of(n)) for n, each_ in enumerate(found)] == [
        True,
        True,
    ]
    np.testing.assert_allclose(found[1].affine, Series(orientation=OBLIQUE).affine, atol=1e-5)


@pytest.mark.parametrize(
    ("group", "creator", "element", "values"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, ["0", "800"]),
        (0x0043, "GEMS_PARM_01", 0x39, [["0", "8", "0", "0"], ["1000000800", "8", "0", "0"]]),
    ],
)
def test_private_b_values_are_read(
    tmp_path: Path, group: int, creator: str, element: int, values: list[Any]
) -> None:
    volumes = [volume(0), volume(1)]
    for objects, value in zip(volumes, values, strict=True):
        for each_ in objects:
            each_.private_block(group, creator, create=True).add_new(element, "IS", value)
    found = all_volumes(zipped(tmp_path, *volumes))
    assert [each_.name for each_ in found] == ["DiffusionBValue 0", "DiffusionBValue 800"]


def test_two_acquisitions_half_a_step_apart_are_two_volumes(tmp_path: Path) -> None:
    below, above = (
        volume(n, AcquisitionNumber=n + 1, origin=(0.0, 0.0, -120.0 + 1.25 * n)) for n in (0, 1)
    )
    found = all_volumes(zipped(tmp_path, below, above))
    assert [np.array_equal(each_.voxels, values_of(n)) for n, each_ in enumerate(found)] == [
        True,
        True,
    ]
    assert finding_codes(found[0]) == ["several_volumes"]


def test_what_no_attribute_distinguishes_is_a_finding(tmp_path: Path) -> None:
    below, above = (volume(n, origin=(0.0, 0.0, -120.0 + 1.25 * n)) for n in (0, 1))
    found = read_volume(zipped(tmp_path, below, above))
    assert finding_codes(found) == ["interleaved_slices"]
    numbers = one_finding(found, "interleaved_slices").numbers
    assert numbers["step_mm"] == pytest.approx(1.25) and numbers["thickness_mm"] == 2.5


def test_overlapping_slices_in_order_are_a_finding_unless_they_are_declared(tmp_path: Path) -> None:
    series = Series(values_of(0), modality="MR", spacing=(0.7, 0.8, 1.0))
    for declared, codes in ((None, ["overlapping_slices"]), (1.0, [])):
        objects = series.objects()
        for each_ in objects:
            each_.SliceThickness = 2.0
            if declared:
                each_.SpacingBetweenSlices = declared
        assert finding_codes(read_volume(write_zip(tmp_path / "a.zip", objects))) == codes


# --- What is one volume ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        # Two ranges of a body, one after the other.
        {"AcquisitionNumber": each(1, 1, 1, 2, 2, 2)},
        {"AcquisitionNumber": each(1, 2, 3, 4, 5, 6)},
        # Even slices first, then odd ones.
        {"AcquisitionNumber": each(1, 2, 1, 2, 1, 2)},
        {"AcquisitionTime": each(*(f"1200{place:02}" for place in range(6)))},
        {"TriggerTime": each(*"135246")},
        {"TemporalPositionIdentifier": each(*range(6))},
        {"ImageType": each(*[[*TYPE, "AXIAL"]] * 5, [*TYPE, "HELIX"])},
        {"FrameReferenceTime": each(*["100"] * 3, *["900"] * 3)},
    ],
)
def test_an_attribute_that_changes_along_the_slices_divides_nothing(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    found = all_volumes(zipped(tmp_path, volume(0, **attributes)))
    assert len(found) == 1 and (found[0].number, found[0].name) == (0, "")
    assert np.array_equal(found[0].voxels, values_of(0)) and finding_codes(found[0]) == []


def test_a_dynamic_scan_of_two_beds_is_two_times(tmp_path: Path) -> None:
    times = [each(*[n] * 3, *[n + 2] * 3) for n in (1, 2)]
    path = zipped(tmp_path, *(volume(n, AcquisitionNumber=t) for n, t in enumerate(times)))
    found = all_volumes(path)
    assert [np.array_equal(each_.voxels, values_of(n)) for n, each_ in enumerate(found)] == [
        True,
        True,
    ]


def test_an_interrupted_time_is_a_volume_of_its_own(tmp_path: Path) -> None:
    path = zipped(tmp_path, *(volume(n, 6 - 3 * n, AcquisitionNumber=n) for n in (0, 1)))
    assert [len(each_.voxels) for each_ in all_volumes(path)] == [6, 3]


def test_stacks_may_have_different_orientations(tmp_path: Path) -> None:
    made = enhanced({"FrameContentSequence": {"StackID": "1"}})
    for own in list(made.PerFrameFunctionalGroupsSequence)[3:]:
        own.FrameContentSequence[0].StackID = "2"
        orientation = pydicom.Dataset()
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        own.PlaneOrientationSequence = [orientation]
    found = all_volumes(write_zip(tmp_path / "a.zip", [content(made)]))
    assert [(len(each_.voxels), each_.name) for each_ in found] == [
        (3, "StackID 1"),
        (3, "StackID 2"),
    ]
    assert all("mixed_orientation" not in finding_codes(each_) for each_ in found)
