"""SEG frames are placed on the voxels at their positions, in any order and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom.anatomy import LESION, Sections, anatomy
from tcia_assets.sandbox.phantom.pixels import grid_of
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import (
    SHAPE,
    TWO,
    expected,
    masks,
    place_seg,
    seg,
)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("BINARY", DeflatedExplicitVRLittleEndian),
        ("FRACTIONAL", ExplicitVRLittleEndian),
        ("FRACTIONAL", RLELossless),
        ("FRACTIONAL", JPEG2000Lossless),
        ("LABELMAP", ExplicitVRLittleEndian),
        ("LABELMAP", RLELossless),
    ],
)
def test_each_type_of_segmentation_is_placed(
    tmp_path: Path, orientation: Any, kind: str, syntax: Any
) -> None:
    series = Series(noise(SHAPE), orientation=orientation)
    mask = masks()
    if kind == "LABELMAP":
        mask = expected(mask).astype(np.uint8)
    made = seg(series.objects(), mask if kind != "FRACTIONAL" else mask.astype(float), kind, syntax)
    labels = place_seg(tmp_path, series, made)
    assert np.array_equal(labels.voxels, expected(masks()))
    assert labels.voxels.dtype == np.uint8
    assert labels.names == {1: "tumour", 2: "lung"}
    assert labels.counts == {1: 45, 2: int((expected(masks()) == 2).sum())}
    assert finding_codes(labels) == ([] if kind == "LABELMAP" else ["overlapping_labels"])


def test_highdicom_reads_the_same_labels(tmp_path: Path) -> None:
    series = Series(noise(SHAPE), orientation=OBLIQUE)
    mask = masks()
    mask[..., 1] *= 1 - mask[..., 0]
    made = seg(series.objects(), mask)
    theirs = highdicom.seg.Segmentation.from_dataset(made).get_volume(
        combine_segments=True, skip_overlap_checks=True
    )
    labels = place_seg(tmp_path, series, made)
    # The volume of highdicom is a box around the frames, with axes in a different order.
    assert np.bincount(theirs.array.ravel(), minlength=3)[1:].tolist() == list(
        labels.counts.values()
    )
    for index in np.argwhere(theirs.array):
        point = theirs.affine @ [*index, 1]
        x, y, z = np.rint(np.linalg.inv(series.affine_lps) @ point)[:3].astype(int)
        assert labels.voxels[z, y, x] == theirs.array[tuple(index)]


def test_fractions_from_a_half_on_are_labelled(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    mask = np.zeros((*SHAPE, 2))
    mask[2, 3, 4:8, 0] = [0.2, 0.45, 0.5, 0.9]
    made = seg(series.objects(), mask, "FRACTIONAL")
    assert place_seg(tmp_path, series, made).voxels[2, 3, 4:8].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("flip", [(1, -1, 1), (-1, 1, 1), (-1, -1, -1), "transposed"])
def test_rotated_frames_are_placed_on_the_image(tmp_path: Path, flip: Any) -> None:
    """The positions are the same, but rows, columns or slices run the other way."""
    series = Series(noise(SHAPE))
    if flip == "transposed":
        other = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
        mask = masks().transpose(0, 2, 1, 3)[::-1]
        spacing, corner = (0.8, 0.7, 2.5), [0, 0, SHAPE[0] - 1, 1]
    else:
        x, y, _ = flip
        other = (float(x), 0.0, 0.0, 0.0, float(y), 0.0)
        mask = masks()[:: x * y, ::y, ::x]
        spacing = (0.7, 0.8, 2.5)
        sizes = [(SHAPE[2] - 1, x), (SHAPE[1] - 1, y), (SHAPE[0] - 1, x * y)]
        corner = [size if way < 0 else 0 for size, way in sizes] + [1]
    origin = tuple((series.affine_lps @ corner)[:3])
    turned = Series(np.zeros(mask.shape[:3], np.int16), other, spacing, origin)
    labels = place_seg(tmp_path, series, seg(turned.objects(), np.ascontiguousarray(mask)))
    assert np.array_equal(labels.voxels, expected(masks()))
    assert finding_codes(labels) == ["overlapping_labels"]


def test_frames_in_an_orthogonal_plane_are_placed(tmp_path: Path) -> None:
    series = Series(noise(SHAPE), spacing=(1.0, 1.0, 1.0))
    affine = series.affine_lps
    # Coronal frames from front to back: rows run down, from the highest slice.
    origin = tuple((affine @ [0, 0, SHAPE[0] - 1, 1])[:3])
    mask = masks().transpose(1, 0, 2, 3)[:, ::-1]
    coronal = Series(np.zeros(mask.shape[:3], np.int16), CORONAL, (1.0, 1.0, 1.0), origin)
    labels = place_seg(tmp_path, series, seg(coronal.objects(), np.ascontiguousarray(mask)))
    assert np.array_equal(labels.voxels, expected(masks()))


def test_frames_off_the_grid_are_reported_and_left_out(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    moved = Series(noise(SHAPE), origin=(-31.25, 17.5, -119.0))
    labels = place_seg(tmp_path, series, seg(moved.objects(), masks()))
    assert finding_codes(labels) == ["frames_off_grid", "empty_mask"]
    numbers = one_finding(labels, "frames_off_grid").numbers
    assert numbers == {"frames": 6, "farthest_voxels": pytest.approx(0.4)}
    finer = Series(noise(SHAPE), spacing=(0.35, 0.4, 2.5))
    assert (
        finding_codes(place_seg(tmp_path, series, seg(finer.objects(), masks())))[0]
        == "frames_off_grid"
    )


def test_voxels_outside_the_volume_are_counted(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    volume = read_volume(write_zip(tmp_path / "ct.zip", series.objects()[:4]))
    labels = read_labels([write_zip(tmp_path / "seg.zip", [made])], volume, TWO)
    assert np.array_equal(labels.voxels, expected(masks())[:4])
    numbers = one_finding(labels, "mask_outside_volume").numbers
    assert numbers == {"voxels_outside": 50, "voxels": 120}


def test_frames_follow_the_positions_of_uneven_slices(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    objects = series.objects()
    # The last slice is two steps farther away.
    objects[-1].ImagePositionPatient[2] += 5.0
    made = seg(objects, masks())
    volume = read_volume(write_zip(tmp_path / "ct.zip", objects))
    assert finding_codes(volume) == ["missing_slice"]
    labels = read_labels([write_zip(tmp_path / "seg.zip", [made])], volume, TWO)
    assert np.array_equal(labels.voxels, expected(masks()))


@pytest.mark.parametrize(("frames", "codes"), [([2], ["thick_frames"]), ([2, 3], ["label_gaps"])])
def test_one_thick_frame_on_thin_slices_is_reported(
    tmp_path: Path, frames: list[int], codes: list[str]
) -> None:
    thin = Series(noise((12, 33, 35)), spacing=(0.7, 0.8, 1.0))
    thick = Series(noise((4, 33, 35)), spacing=(0.7, 0.8, 3.0))
    mask = np.zeros((4, 33, 35, 2), np.uint8)
    mask[frames, 4:9, 3:9, 0] = 1
    made = seg(thick.objects(), mask)
    labels = place_seg(tmp_path, thin, made, LabelPatterns.compile({"tumour": "GTV.*"}))
    assert [code for code in finding_codes(labels) if code != "unmatched_names"] == codes
    if frames == [2]:
        assert one_finding(labels, "thick_frames").numbers["thickness_mm"] == 3.0


def test_one_frame_as_thick_as_a_slice_is_no_finding(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    mask = np.zeros((*SHAPE, 2), np.uint8)
    mask[2, 4:9, 3:9, 0] = 1
    labels = place_seg(tmp_path, series, seg(series.objects(), mask))
    assert finding_codes(labels) == ["target_missing"]


def test_frames_without_functional_groups_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    del made.PerFrameFunctionalGroupsSequence[-1]
    labels = place_seg(tmp_path, series, made)
    assert one_finding(labels, "unreadable_mask").numbers == {"frames": 1}


def test_frames_of_a_segment_that_is_not_declared_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    for segment in made.SegmentSequence:
        segment.SegmentNumber += 1
    labels = place_seg(tmp_path, series, made)
    assert one_finding(labels, "unreadable_mask").numbers == {"frames": 3}


def test_segments_of_one_number_are_left_out(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    made.SegmentSequence[1].SegmentNumber = 1
    labels = place_seg(tmp_path, series, made)
    assert finding_codes(labels) == ["ambiguous_numbers", "unreadable_mask", "empty_mask"]


def test_the_background_of_a_label_map_has_no_label(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), expected(masks()).astype(np.uint8), "LABELMAP")
    assert 0 in [each.SegmentNumber for each in made.SegmentSequence]
    labels = place_seg(tmp_path, series, made, LabelPatterns.compile({"any": ".*"}))
    assert np.array_equal(labels.voxels, expected(masks()) > 0)


def test_unmatched_names_and_missing_labels_are_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    targets = LabelPatterns.compile({"lung": "Lung.*", "heart": "Heart"})
    labels = place_seg(tmp_path, series, made, targets)
    assert labels.unmatched == ("GTV-1",)
    assert finding_codes(labels) == ["unmatched_names", "target_missing"]
    assert one_finding(labels, "target_missing").numbers == {"label": 2}
    nothing = place_seg(tmp_path, series, made, LabelPatterns.compile({"heart": "Heart"}))
    assert finding_codes(nothing) == ["unmatched_names", "empty_mask"]


def test_the_seg_of_the_sandbox_covers_its_lesion(tmp_path: Path) -> None:
    row = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "PatientID": "P"}
    image = row | {"Modality": "CT", "ImageCount": 40}
    mask = row | {"SeriesInstanceUID": "1.2.4", "Modality": "SEG", "ImageCount": 1}
    ct = write_zip(tmp_path / "ct.zip", [content for _, content in phantom.objects(image)])
    made = write_zip(tmp_path / "seg.zip", [content for _, content in phantom.objects(mask, image)])
    labels = read_labels(
        [made], read_volume(ct), LabelPatterns.compile({"lesion": "Lesion", "body": "Body"})
    )
    sections = Sections(anatomy("P"), grid_of(image))
    for place in grid_of(image).middle(8):
        assert np.array_equal(labels.voxels[place] == 1, sections.mask(LESION, place))
    assert finding_codes(labels) == ["overlapping_labels"]
