"""Other tools make the same labels of the same contours, except where docs/datasets.md says not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileDataset

from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    FRAME,
    SERIES,
    STUDY,
    Series,
    content,
    extracted,
    noise,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import circle, rtstruct

# Square, because rt-utils mistakes columns for rows.
SHAPE = (12, 52, 52)
AXIAL_SERIES = Series(noise(SHAPE), spacing=(0.9, 0.9, 2.5))
GTV = LabelPatterns.compile({"tumour": "GTV"})
CENTRE = (24.3, 23.4)
# Radii by slice: a ball, and a hole in it.
BALL = {z: 16.2 * float(np.sqrt(1 - ((z - 5.5) / 5.5) ** 2)) for z in range(1, 11)}
HOLE = dict.fromkeys(range(4, 8), 5.3)


def contours(*stacks: dict[int, float], shift: float = 0.0) -> list[Any]:
    return [
        circle(AXIAL_SERIES, z, (CENTRE[0] + shift * number, CENTRE[1]), radius, 360)
        for number, stack in enumerate(stacks)
        for z, radius in stack.items()
    ]


def referring(drawn: FileDataset, images: list[FileDataset]) -> FileDataset:
    """Let an RTSTRUCT refer to its images, which other tools need."""
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = SERIES
    series.ContourImageSequence = [_reference(each) for each in images]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", STUDY
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = FRAME, [study]
    drawn.ReferencedFrameOfReferenceSequence = [frame]
    heights = np.array([float(each.ImagePositionPatient[2]) for each in images])
    for roi in drawn.ROIContourSequence:
        for contour in roi.ContourSequence:
            nearest = int(np.abs(heights - float(contour.ContourData[2])).argmin())
            contour.ContourImageSequence = [_reference(images[nearest])]
    drawn.RTROIObservationsSequence = []
    drawn.StructureSetLabel = "made"
    return drawn


def _reference(image: FileDataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item


class Case:
    """An image and its contours: as we read them, and as files for others."""

    def __init__(self, folder: Path, drawn: list[Any]) -> None:
        images = AXIAL_SERIES.objects()
        ct = write_zip(folder / "ct.zip", images)
        made = referring(rtstruct({"GTV": drawn}), images)
        self.folder = folder
        self.images = extracted(ct)
        self.drawn = folder / "rt.dcm"
        self.drawn.write_bytes(content(made))
        self.labels = read_labels([write_zip(folder / "rt.zip", [made])], read_volume(ct), GTV)

    @property
    def mask(self) -> Any:
        return self.labels.voxels == 1


def by_plastimatch(case: Case, *options: str) -> Any:
    out = case.folder / "plastimatch"
    command = ["plastimatch", "convert", "--input", str(case.drawn), "--referenced-ct"]
    command += [str(case.images), "--output-prefix", str(out), "--prefix-format", "nii", *options]
    subprocess.run(command, check=True, capture_output=True)
    image = nibabel.load(out / "GTV.nii")
    np.testing.assert_allclose(image.affine, case.labels.affine, atol=1e-3)
    return np.asanyarray(image.dataobj).T > 0


def by_rt_utils(case: Case) -> Any:
    import rt_utils

    read = rt_utils.RTStructBuilder.create_from(str(case.images), str(case.drawn))
    return read.get_roi_mask_by_name("GTV").transpose(2, 0, 1)


@pytest.fixture
def others() -> None:
    """Skip the test where the other tools are missing; `make label-readers` installs them.

    There the test must not be skipped.
    """
    is_there = shutil.which("plastimatch") and importlib.util.find_spec("rt_utils")
    if not (is_there or os.environ.get("LABEL_READERS")):
        pytest.skip("plastimatch or rt-utils is not installed: make label-readers")


def outline(mask: Any) -> Any:
    """Return the pixels at the edge of each slice of a mask, on both of its sides."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    around = [np.roll(padded, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    some, all_ = np.any(around, axis=0), np.all(around, axis=0)
    return (some & ~all_)[:, 1:-1, 1:-1]


SHAPES = {
    "ball": contours(BALL),
    "ball with a hole": contours(BALL, HOLE),
    "two islands": [*contours(dict.fromkeys(range(2, 6), 5.2)), *contours({}, HOLE, shift=14.0)],
}


@pytest.mark.slow
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("shape", SHAPES)
def test_plastimatch_labels_the_same_voxels(tmp_path: Path, shape: str) -> None:
    case = Case(tmp_path, SHAPES[shape])
    # Without the option it fills holes.
    different = by_plastimatch(case, "--xor-contours") ^ case.mask
    assert not (different & ~outline(case.mask)).any()
    assert different.sum() <= 0.005 * case.mask.sum()


@pytest.mark.slow
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("shape", SHAPES)
def test_rt_utils_labels_the_same_voxels_and_the_outlines(tmp_path: Path, shape: str) -> None:
    case = Case(tmp_path, SHAPES[shape])
    different = by_rt_utils(case) ^ case.mask
    assert not (different & ~outline(case.mask)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("shift", [0.0, 8.0])
def test_plastimatch_unites_overlapping_contours_too(tmp_path: Path, shift: float) -> None:
    case = Case(tmp_path, contours({5: 9.2}, {5: 9.2}, shift=shift))
    assert [found.code for found in case.labels.findings] == ["overlapping_contours"]
    different = by_plastimatch(case) ^ case.mask
    assert not (different & ~outline(case.mask)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("others")
def test_rt_utils_lets_overlapping_contours_cancel(tmp_path: Path) -> None:
    case = Case(tmp_path, contours({5: 9.2}, {5: 9.2}, shift=8.0))
    place = (5, round(CENTRE[1]), round(CENTRE[0]) + 4)
    assert case.mask[place] and not by_rt_utils(case)[place]


def test_simpleitk_finds_the_same_majority(tmp_path: Path) -> None:
    volume = read_volume(write_zip(tmp_path / "ct.zip", AXIAL_SERIES.objects()))
    paths, masks = [], []
    for number, shift in enumerate((0.0, 3.0, 7.0)):
        made = rtstruct({"GTV": contours({}, BALL, shift=shift)})
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        paths.append(write_zip(tmp_path / f"{number}.zip", [made]))
        masks.append(read_labels(paths[-1:], volume, GTV).voxels)
    ours = read_labels(paths, volume, GTV, choices=LabelChoices(readers="majority"))
    images = [SimpleITK.GetImageFromArray(mask) for mask in masks]
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.LabelVoting(images, 255))
    assert np.array_equal(ours.voxels, theirs)
