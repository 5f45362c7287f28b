"""Values become grey pixels in proportion, and a JPEG of bounded size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tcia_assets.datasets import grey_pictures


def test_values_are_black_to_white_within_the_window() -> None:
    values = np.array([[-500.0, 0.0, 50.0, 100.0, 9000.0, np.nan]])
    grey = grey_pictures.to_grey(values, (0.0, 100.0), is_inverted=False)
    assert grey.tolist() == [[0, 0, 128, 255, 255, 0]]
    inverted = grey_pictures.to_grey(values, (0.0, 100.0), is_inverted=True)
    assert inverted.tolist() == [[255, 255, 128, 0, 0, 0]]


@pytest.mark.parametrize(
    ("shape", "spacing", "size"),
    [
        ((512, 512), (0.7, 0.7), (64, 64)),
        ((40, 80), (1.0, 2.0), (64, 64)),
        ((1, 99), (1, 1), (64, 1)),
    ],
)
def test_a_picture_has_the_proportions_of_millimetres(
    shape: tuple[int, int], spacing: tuple[float, float], size: tuple[int, int]
) -> None:
    assert grey_pictures.fitted_size(shape, spacing, 64) == size
    pixels = grey_pictures.resize(np.zeros(shape, np.uint8), size, Image.Resampling.BICUBIC)
    assert pixels.shape == (size[1], size[0])


def test_a_jpeg_has_at_most_36_kb_and_840_pixels() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    assert 10_000 < len(grey_pictures.fit_jpeg(Image.fromarray(noise))) <= 36_000
    wide = grey_pictures.fit_jpeg(Image.new("RGB", (2000, 1500), "gray"))
    with Image.open(io.BytesIO(wide)) as picture:
        assert picture.size == (840, 630)
