"""Pixels and their position."""

from __future__ import annotations

import numpy as np
import pytest

from tcia_assets.sandbox.phantom.anatomy import (
    SIDE,
)
from tcia_assets_tests.sandbox.phantom.made_objects import (
    VOLUMES,
    WITH_PIXELS,
    opened,
    row,
)


@pytest.mark.parametrize("modality", WITH_PIXELS)
def test_pixels_can_be_read(modality: str) -> None:
    for dataset in opened(row(modality, 2), row("CT", 30)):
        pixels = dataset.pixel_array
        assert pixels.shape[-2:] == (SIDE, SIDE)
        assert pixels.min() < pixels.max()


@pytest.mark.parametrize("modality", VOLUMES)
@pytest.mark.parametrize("count", [1, 2, 7, 133, pytest.param(700, marks=pytest.mark.slow)])
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
