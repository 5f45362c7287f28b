"""Labels are set on the grid of a volume, by priority."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tcia_assets.datasets.volume.drawings import DrawingPad, Source
from tcia_assets.datasets.volume.label_grid import LabelChoices, LabelGrid
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.regrid import reorient
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.errors import UsageError
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.synthetic_labels import (
    SHAPE,
    TWO,
    masks,
    place_seg,
    seg,
)


def test_reoriented_volumes_are_refused(tmp_path: Path) -> None:
    volume = read_volume(write_zip(tmp_path / "ct.zip", Series(noise(SHAPE)).objects()))
    with pytest.raises(UsageError, match="as read_volume returned it"):
        read_labels([], reorient(volume, "RAS"), TWO)


def test_more_than_255_labels_take_two_bytes(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    many = {f"label {number}": f"none {number}" for number in range(299)} | {"tumour": "GTV-1"}
    labels = place_seg(
        tmp_path, series, seg(series.objects(), masks()), LabelPatterns.compile(many)
    )
    assert labels.voxels.dtype == np.uint16
    assert np.array_equal(labels.voxels, masks()[..., 0] * np.uint16(300))


def test_priority_decides_where_segments_overlap(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    lung_first = LabelPatterns.compile({"tumour": "GTV.*", "lung": "Lung.*"}, priority=["lung"])
    labels = place_seg(tmp_path, series, made, lung_first)
    mask = masks()
    assert np.array_equal(labels.voxels, np.where(mask[..., 1], 2, mask[..., 0]))
    assert one_finding(labels, "overlapping_labels").numbers == {"voxels": 2}


def test_the_nearest_slice_has_its_distance_in_millimetres(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    volume = read_volume(write_zip(tmp_path / "ct.zip", series.objects()))
    grid = LabelGrid(volume, TWO)
    z, distance = grid.nearest_slice(float(grid.heights[3]) + 0.5)
    assert (z, distance) == (3, pytest.approx(0.5))
    point = (series.affine_lps @ [4, 2, 3, 1])[:3]
    assert grid.to_pixels(point[None], 3)[0] == pytest.approx([4, 2], abs=1e-4)


def test_a_number_of_several_names_is_ambiguous_if_one_has_a_label(tmp_path: Path) -> None:
    volume = read_volume(write_zip(tmp_path / "ct.zip", Series(noise(SHAPE)).objects()))
    grid = LabelGrid(volume, TWO)
    names = [(1, "GTV-1"), (2, "GTV-2"), (2, "Body"), (3, "x"), (3, "y"), (4, "Lung_L")]
    assert grid.match_names(names, "1.2.7") == {1: (1, "GTV-1"), 4: (2, "Lung_L")}
    assert grid.unmatched == {"Body", "x", "y"}
    (finding,) = grid.findings
    assert (finding.code, finding.sop_instance_uids) == ("ambiguous_numbers", ("1.2.7",))
    assert "2 of 'GTV-2', 'Body'" in finding.message


def test_overlaps_and_voxels_outside_are_counted(tmp_path: Path) -> None:
    volume = read_volume(write_zip(tmp_path / "ct.zip", Series(noise(SHAPE)).objects()))
    grid = LabelGrid(volume, TWO)
    z, y, x = np.array([0, 0, 9]), np.array([1, 1, 1]), np.array([1, 2, 1])
    for label, size in ((2, 3), (1, 1)):
        pad = DrawingPad(grid.shape)
        grid.add_voxels(pad, z[:size], y[:size], x[:size])
        grid.add_drawing(pad.finish(label, "any", Source("1.2"), label))
    grid.unmatched |= {"Body"}
    labels = grid.to_labels(LabelChoices())
    assert labels.counts == {1: 1, 2: 1} and labels.unmatched == ("Body",)
    assert one_finding(labels, "mask_outside_volume").numbers == {"voxels_outside": 1, "voxels": 4}
    assert one_finding(labels, "overlapping_labels").numbers == {"voxels": 1}
