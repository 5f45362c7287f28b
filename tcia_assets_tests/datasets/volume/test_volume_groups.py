"""A Series is divided into its volumes, and no volume is a mixture of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP
from tcia_assets.datasets.volume.volume_reader import open_volumes
from tcia_assets_tests.datasets.volume.synthetic import (
    OBLIQUE,
    Series,
    content,
    finding_codes,
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
from tcia_assets_tests.examples import examples

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


@pytest.mark.parametrize("names", [["1"] * 3 + [None] * 3, list("123456")])
def test_a_stack_id_that_is_missing_or_numbers_the_frames_divides_nothing(
    tmp_path: Path, names: list[str | None]
) -> None:
    made = enhanced({"FrameContentSequence": {"StackID": "1"}})
    for own, name in zip(made.PerFrameFunctionalGroupsSequence, names, strict=True):
        own.FrameContentSequence[0].StackID = name
    assert len(all_volumes(write_zip(tmp_path / "a.zip", [content(made)]))) == 1


# --- Any Series -----------------------------------------------------------------------------------

PLAIN = {
    "TemporalPositionIdentifier": [1, 2, 3],
    "DiffusionBValue": [0.0, 500.0, 1000.0],
    "EchoTime": ["5", "10", "15"],
    "ImageType": [[*TYPE, name] for name in "WFM"],
    "AcquisitionNumber": [1, 2, 3],
    "TriggerTime": ["0", "30", "60"],
}
OF_EACH_SLICE = ("TriggerTime", "AcquisitionNumber")


@dataclass(frozen=True)
class Mixture:
    """A Series of some volumes: how many, how far apart, and what distinguishes them."""

    volumes: int
    offset: float
    by_value: frozenset[str]
    by_slice: frozenset[str]
    numbers: str
    modality: str
    thickness: float
    missing: tuple[int | None, ...]

    def objects(self) -> list[list[Any]]:
        """Return the objects of each volume."""
        return [self._volume(n) for n in range(self.volumes)]

    def _volume(self, n: int) -> list[Any]:
        attributes: dict[str, Any] = {name: PLAIN[name][n] for name in self.by_value}
        for name in self.by_slice:
            attributes[name] = each(*(str(10 * place + n) for place in range(SHAPE[0])))
        made = volume(
            n,
            origin=(0.0, 0.0, -120.0 + self.offset * n),
            modality=self.modality,
            SliceThickness=self.thickness,
            **attributes,
        )
        for place, each_ in enumerate(made):
            numbers = {"consecutive": each_.InstanceNumber, "restart": place + 1, "none": 0}
            each_.InstanceNumber = numbers[self.numbers]
        return [each_ for place, each_ in enumerate(made) if place != self.missing[n]]

    @property
    def is_distinct(self) -> bool:
        """Whether attributes or numbers show that there are several volumes."""
        return bool(self.by_value - self.by_slice) or self.numbers != "none" or not self.offset

    @property
    def is_like_one(self) -> bool:
        """Whether the headers are those of one volume of thin slices."""
        return not self.is_distinct and self.thickness < STEP


STEP = 2.5
mixtures = st.builds(
    Mixture,
    volumes=st.integers(1, 3),
    offset=st.sampled_from([0.0, 0.0, 0.625, 0.8, 1.25]),
    by_value=st.frozensets(st.sampled_from(sorted(PLAIN)), max_size=2),
    by_slice=st.frozensets(st.sampled_from(["TriggerTime", "AcquisitionNumber"]), max_size=1),
    numbers=st.sampled_from(["consecutive", "restart", "none"]),
    modality=st.sampled_from(["CT", "MR"]),
    thickness=st.sampled_from([1.0, STEP, 2 * STEP]),
    missing=st.tuples(*[st.none() | st.integers(0, 5)] * 3),
)


# Thin slices of an MR, which could be one volume, but for the number of their acquisition.
THIN = Mixture(
    volumes=2,
    offset=STEP / 2,
    by_value=frozenset({"AcquisitionNumber"}),
    by_slice=frozenset(),
    numbers="none",
    modality="MR",
    thickness=1.0,
    missing=(None, None, None),
)


@given(made=mixtures)
@example(made=THIN)
@example(made=replace(THIN, by_value=frozenset({"ImageType", "TriggerTime"})))
@example(made=replace(THIN, by_value=frozenset({"TriggerTime"}), volumes=3, offset=0.8))
@settings(
    max_examples=examples(200, 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_volume_is_a_mixture_in_silence(tmp_path: Path, made: Mixture) -> None:
    for found in all_volumes(zipped(tmp_path, *made.objects())):
        numbers = {int(number) for number in np.unique(found.voxels // 1000)}
        if len(numbers) == 1 or made.is_like_one:
            continue
        codes = {*finding_codes(found)} - {"several_volumes"}
        assert codes
        if made.is_distinct:
            assert DROP in {DEFAULT_POLICIES[code] for code in codes}
