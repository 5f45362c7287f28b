"""SEG frames land on the voxels whose places they name, whatever their order and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues
from pydicom.sr.codedict import codes as sr_codes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tcia_assets.datasets.volume import LabelPatterns, read_labels, read_volume, reorient
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom.anatomy import LESION, Sections, anatomy
from tcia_assets.sandbox.phantom.pixels import grid_of
from tcia_assets_tests.datasets.volume.synthetic import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    Series,
    codes,
    found,
    grain,
    zipped,
)

# An odd number of pixels, so that frames of one bit each do not end with a byte.
SHAPE = (6, 33, 35)
TWO = LabelPatterns.compile({"tumour": "(?i)gtv.*", "lung": "Lung.*"})


def masks(*shape: int) -> Any:
    """Two boxes as segments: [z, y, x, segment]."""
    made = np.zeros((*(shape or SHAPE), 2), np.uint8)
    made[1:4, 2:5, 3:8, 0] = 1
    made[3:6, 4:9, 0:5, 1] = 1
    return made


def expected(mask: Any) -> Any:
    """The first label wins."""
    return np.where(mask[..., 0] > 0, 1, np.where(mask[..., 1] > 0, 2, 0))


def seg(
    sources: list[Any], mask: Any, kind: str = "BINARY", syntax: Any = ExplicitVRLittleEndian
) -> Any:
    described = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            sr_codes.SCT.Tissue,
            sr_codes.SCT.Tissue,
            SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(("GTV-1", "Lung_L"), start=1)
    ]
    made = highdicom.seg.Segmentation(
        sources,
        mask,
        SegmentationTypeValues[kind],
        described,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "made",
        "made",
        "1",
        "1",
        # It writes no deflated objects, though pydicom does.
        transfer_syntax_uid=ExplicitVRLittleEndian if syntax.is_deflated else syntax,
        max_fractional_value=200,
    )
    made.file_meta.TransferSyntaxUID = syntax
    return made


def placed(tmp_path: Path, series: Series, made: Any, targets: Any = TWO, **more: Any) -> Any:
    volume = read_volume(zipped(tmp_path / "ct.zip", series.objects()))
    return read_labels([zipped(tmp_path / "seg.zip", [made])], volume, targets, **more)


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
def test_each_kind_of_segmentation_lands_in_its_place(
    tmp_path: Path, orientation: Any, kind: str, syntax: Any
) -> None:
    series = Series(grain(SHAPE), orientation=orientation)
    mask = masks()
    if kind == "LABELMAP":
        mask = expected(mask).astype(np.uint8)
    made = seg(series.objects(), mask if kind != "FRACTIONAL" else mask.astype(float), kind, syntax)
    labels = placed(tmp_path, series, made)
    assert np.array_equal(labels.voxels, expected(masks()))
    assert labels.voxels.dtype == np.uint8
    assert labels.names == {1: "tumour", 2: "lung"}
    assert labels.counts == {1: 45, 2: int((expected(masks()) == 2).sum())}
    assert codes(labels) == ([] if kind == "LABELMAP" else ["overlapping_labels"])


def test_highdicom_reads_the_same_labels(tmp_path: Path) -> None:
    series = Series(grain(SHAPE), orientation=OBLIQUE)
    mask = masks()
    mask[..., 1] *= 1 - mask[..., 0]
    made = seg(series.objects(), mask)
    theirs = highdicom.seg.Segmentation.from_dataset(made).get_volume(
        combine_segments=True, skip_overlap_checks=True
    )
    labels = placed(tmp_path, series, made)
    # Theirs is a box around the frames, in an order of its own.
    assert np.bincount(theirs.array.ravel(), minlength=3)[1:].tolist() == list(
        labels.counts.values()
    )
    for index in np.argwhere(theirs.array):
        point = theirs.affine @ [*index, 1]
        x, y, z = np.rint(np.linalg.inv(series.affine_lps) @ point)[:3].astype(int)
        assert labels.voxels[z, y, x] == theirs.array[tuple(index)]


def test_of_fractions_those_count_that_are_large_enough(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    mask = np.zeros((*SHAPE, 2))
    mask[2, 3, 4:8, 0] = [0.2, 0.45, 0.5, 0.9]
    made = seg(series.objects(), mask, "FRACTIONAL")
    assert placed(tmp_path, series, made).voxels[2, 3, 4:8].tolist() == [0, 0, 1, 1]
    again = placed(tmp_path, series, made, least_fraction=0.9)
    assert again.voxels[2, 3, 4:8].tolist() == [0, 0, 0, 1]


def test_the_declared_priority_decides_where_segments_overlap(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    made = seg(series.objects(), masks())
    lung_first = LabelPatterns.compile({"tumour": "GTV.*", "lung": "Lung.*"}, priority=["lung"])
    labels = placed(tmp_path, series, made, lung_first)
    mask = masks()
    assert np.array_equal(labels.voxels, np.where(mask[..., 1], 2, mask[..., 0]))
    assert found(labels, "overlapping_labels").numbers == {"voxels": 2}


@pytest.mark.parametrize("flip", [(1, -1, 1), (-1, 1, 1), (-1, -1, -1), "transposed"])
def test_frames_that_are_turned_against_the_image_are_turned_back(
    tmp_path: Path, flip: Any
) -> None:
    """The same places, from a source whose rows, columns or slices run the other way."""
    series = Series(grain(SHAPE))
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
    labels = placed(tmp_path, series, seg(turned.objects(), np.ascontiguousarray(mask)))
    assert np.array_equal(labels.voxels, expected(masks()))
    assert codes(labels) == ["overlapping_labels"]


def test_frames_in_another_plane_of_the_same_grid_are_placed(tmp_path: Path) -> None:
    series = Series(grain(SHAPE), spacing=(1.0, 1.0, 1.0))
    affine = series.affine_lps
    # Coronal frames from front to back: rows run down, from the highest slice.
    origin = tuple((affine @ [0, 0, SHAPE[0] - 1, 1])[:3])
    mask = masks().transpose(1, 0, 2, 3)[:, ::-1]
    coronal = Series(np.zeros(mask.shape[:3], np.int16), CORONAL, (1.0, 1.0, 1.0), origin)
    labels = placed(tmp_path, series, seg(coronal.objects(), np.ascontiguousarray(mask)))
    assert np.array_equal(labels.voxels, expected(masks()))


def test_frames_off_the_grid_are_told_and_left_out(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    moved = Series(grain(SHAPE), origin=(-31.25, 17.5, -119.0))
    labels = placed(tmp_path, series, seg(moved.objects(), masks()))
    assert codes(labels) == ["frames_off_grid", "empty_mask"]
    numbers = found(labels, "frames_off_grid").numbers
    assert numbers == {"frames": 6, "farthest_voxels": pytest.approx(0.4)}
    finer = Series(grain(SHAPE), spacing=(0.35, 0.4, 2.5))
    assert codes(placed(tmp_path, series, seg(finer.objects(), masks())))[0] == "frames_off_grid"


def test_what_lies_outside_of_the_volume_is_counted(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    made = seg(series.objects(), masks())
    volume = read_volume(zipped(tmp_path / "ct.zip", series.objects()[:4]))
    labels = read_labels([zipped(tmp_path / "seg.zip", [made])], volume, TWO)
    assert np.array_equal(labels.voxels, expected(masks())[:4])
    numbers = found(labels, "mask_outside_volume").numbers
    assert numbers == {"voxels_outside": 50, "voxels": 120}


def test_uneven_slices_get_the_frames_of_their_own_positions(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    objects = series.objects()
    # The last slice is two steps further away.
    objects[-1].ImagePositionPatient[2] += 5.0
    made = seg(objects, masks())
    volume = read_volume(zipped(tmp_path / "ct.zip", objects))
    assert codes(volume) == ["missing_slice"]
    labels = read_labels([zipped(tmp_path / "seg.zip", [made])], volume, TWO)
    assert np.array_equal(labels.voxels, expected(masks()))


def test_unmatched_names_and_missing_targets_are_told(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    made = seg(series.objects(), masks())
    targets = LabelPatterns.compile({"lung": "Lung.*", "heart": "Heart"})
    labels = placed(tmp_path, series, made, targets)
    assert labels.unmatched == ("GTV-1",)
    assert codes(labels) == ["unmatched_names", "target_missing"]
    assert found(labels, "target_missing").numbers == {"label": 2}
    nothing = placed(tmp_path, series, made, LabelPatterns.compile({"heart": "Heart"}))
    assert codes(nothing) == ["unmatched_names", "empty_mask"]


def test_another_frame_of_reference_is_told(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    made = seg(series.objects(), masks())
    made.FrameOfReferenceUID = "1.2.77"
    assert codes(placed(tmp_path, series, made))[0] == "other_frame_of_reference"


def test_only_the_chosen_objects_count(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    first, second = masks(), masks()
    first[..., 1], second[..., 0] = 0, 0
    one, other = (seg(series.objects(), mask) for mask in (first, second))
    volume = read_volume(zipped(tmp_path / "ct.zip", series.objects()))
    paths = [zipped(tmp_path / "a.zip", [one]), zipped(tmp_path / "b.zip", [other])]
    both = read_labels(paths, volume, TWO)
    assert np.array_equal(both.voxels, expected(masks()))
    chosen = read_labels(paths, volume, TWO, sop_instance_uids={other.SOPInstanceUID})
    assert np.array_equal(chosen.voxels, masks()[..., 1] * 2)


def test_an_image_among_the_masks_is_told(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    assert codes(placed(tmp_path, series, series.object(0))) == ["not_a_mask", "empty_mask"]


def test_more_than_255_labels_take_two_bytes(tmp_path: Path) -> None:
    series = Series(grain(SHAPE))
    many = {f"label {number}": f"none {number}" for number in range(299)} | {"tumour": "GTV-1"}
    labels = placed(tmp_path, series, seg(series.objects(), masks()), LabelPatterns.compile(many))
    assert labels.voxels.dtype == np.uint16
    assert np.array_equal(labels.voxels, masks()[..., 0] * np.uint16(300))


def test_the_sandbox_segments_the_lesion_that_its_images_show(tmp_path: Path) -> None:
    row = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "PatientID": "P"}
    image = row | {"Modality": "CT", "ImageCount": 40}
    mask = row | {"SeriesInstanceUID": "1.2.4", "Modality": "SEG", "ImageCount": 1}
    ct = zipped(tmp_path / "ct.zip", [content for _, content in phantom.objects(image)])
    made = zipped(tmp_path / "seg.zip", [content for _, content in phantom.objects(mask, image)])
    labels = read_labels(
        [made], read_volume(ct), LabelPatterns.compile({"lesion": "Lesion", "body": "Body"})
    )
    sections = Sections(anatomy("P"), grid_of(image))
    for place in grid_of(image).middle(8):
        assert np.array_equal(labels.voxels[place] == 1, sections.mask(LESION, place))
    assert codes(labels) == ["overlapping_labels"]


def test_labels_need_the_volume_as_it_was_read(tmp_path: Path) -> None:
    volume = read_volume(zipped(tmp_path / "ct.zip", Series(grain(SHAPE)).objects()))
    with pytest.raises(UsageError, match="as read_volume returned it"):
        read_labels([], reorient(volume, "RAS"), TWO)


def test_targets_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="regular expression"):
        LabelPatterns.compile({"tumour": "("})
    with pytest.raises(UnknownName, match="tumor"):
        LabelPatterns.compile({"tumour": "x"}, priority=["tumor"])
    with pytest.raises(UsageError, match="0"):
        LabelPatterns.compile({})
