"""Labels are read from the chosen objects of several zips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
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


def test_only_the_chosen_objects_are_read(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    first, second = masks(), masks()
    first[..., 1], second[..., 0] = 0, 0
    one, other = (seg(series.objects(), mask) for mask in (first, second))
    volume = read_volume(write_zip(tmp_path / "ct.zip", series.objects()))
    paths = [write_zip(tmp_path / "a.zip", [one]), write_zip(tmp_path / "b.zip", [other])]
    both = read_labels(paths, volume, TWO)
    assert np.array_equal(both.voxels, expected(masks()))
    chosen = read_labels(paths, volume, TWO, sop_instance_uids={other.SOPInstanceUID})
    assert np.array_equal(chosen.voxels, masks()[..., 1] * 2)


def test_an_image_among_the_masks_is_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    assert finding_codes(place_seg(tmp_path, series, series.object(0))) == [
        "not_a_mask",
        "empty_mask",
    ]


def test_a_different_frame_of_reference_is_reported(tmp_path: Path) -> None:
    series = Series(noise(SHAPE))
    made = seg(series.objects(), masks())
    made.FrameOfReferenceUID = "1.2.77"
    assert finding_codes(place_seg(tmp_path, series, made))[0] == "other_frame_of_reference"
