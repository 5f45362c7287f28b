"""Which slice, which window, which colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets import slice_preview
from tcia_assets_tests.datasets.example_dataset import (
    example_info,
)


def test_the_slice_with_the_labels_is_shown() -> None:
    labels = np.zeros((9, 4, 4), np.uint8)
    assert slice_preview.choose_slice(labels, 9) == slice_preview.choose_slice(None, 9) == 4
    labels[6, 1, 1] = 2  # small, and all of it in one slice
    labels[:, 2:] = 1
    assert slice_preview.choose_slice(labels, 9) == 6


@pytest.mark.parametrize(
    ("member", "values", "window"),
    [
        ({}, [-1000, -800, 40, 60], "-1350 to 150 HU"),
        ({}, [-1000, -100, 40, 60], "-160 to 240 HU"),
        ({"modality": "MR", "units": "stored"}, [0, 100, 200, 300], "100 to 300"),
        ({"modality": "PT", "units": "SUVbw"}, [0.0, 1.0, 2.0, 12.0], "0 to 12 SUVbw"),
    ],
)
def test_the_window_depends_on_the_units(
    member: dict[str, Any], values: list[float], window: str
) -> None:
    row = {"modality": "CT", "units": "HU"} | member
    image = np.array([values] * 4, np.float32)
    assert slice_preview.choose_window(image, row, example_info())[1] == window
    # A volume that was written with a window is shown in its full range.
    chosen = example_info(settings={"volume": {"window": [-100, 300]}})
    low, high = slice_preview.choose_window(image, row, chosen)[0]
    assert (low, high) == (min(values), max(values))


def test_forty_labels_have_different_colours() -> None:
    assert len({slice_preview.color_of(label) for label in range(1, 41)}) == 40
