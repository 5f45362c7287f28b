"""The contact sheet: the right samples, in the right orientation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tcia_assets.datasets import contact_sheet, slice_preview
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    ExampleSample,
    build,
    example_info,
)


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


def panel(root: Path) -> Any:
    """Return the picture of the only sample, indexed [y, x, colour]."""
    pixels = np.asarray(Image.open(root / contact_sheet.NAME).convert("RGB")).astype(int)
    left, top = (
        contact_sheet.GAP,
        pixels.shape[0] - slice_preview.SIDE - 2 * contact_sheet.LINE - contact_sheet.GAP - 6,
    )
    return pixels[top : top + slice_preview.SIDE, left : left + slice_preview.SIDE]


def centre(pixels: Any, color: tuple[int, int, int]) -> tuple[float, float]:
    """Return the centre, across and down from 0 to 1, of the pixels with a label's own colour."""
    down, across = np.nonzero((pixels == color).all(axis=2))
    assert len(across)
    return across.mean() / pixels.shape[1], down.mean() / pixels.shape[0]


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PSR", "SLP", "IRA"])
def test_the_patients_right_is_on_the_left_and_the_front_on_top(
    tmp_path: Path, orientation: str
) -> None:
    samples = build(tmp_path, (ExampleSample(1, "train", "A", 0),), orientation=orientation)
    assert contact_sheet.write_contact_sheet(tmp_path, samples, example_info())
    across, down = centre(panel(tmp_path), slice_preview.color_of(2))
    # The tumour is at x = 14 of 48 and y = 13 of 40, as LPS counts.
    assert across == pytest.approx(14.5 / 48, abs=0.02)
    assert 0.3 < down < 0.42


def test_a_slice_is_shown_in_millimetres(tmp_path: Path) -> None:
    stretched = AFFINE @ np.diag([1.0, 2.0, 1.0, 1.0])
    samples = build(tmp_path, (ExampleSample(1, "train", "A", 0),), affine=stretched)
    contact_sheet.write_contact_sheet(tmp_path, samples, example_info())
    # Above the letters at its sides.
    columns = np.flatnonzero(panel(tmp_path)[:100].any(axis=(0, 2)))
    # 48 pixels of 0.8 mm across, 40 of 1.6 mm down.
    assert (np.ptp(columns) + 1) / slice_preview.SIDE == pytest.approx(48 / 80, abs=0.01)


def test_the_same_samples_give_the_same_picture(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        samples = build(tmp_path / name)
        contact_sheet.write_contact_sheet(
            tmp_path / name, samples.take([3, 1, 0, 2, 4, 5, 6]), example_info()
        )
        digests.add(hashlib.sha256((tmp_path / name / contact_sheet.NAME).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_each_split_is_in_the_picture(samples: pa.Table) -> None:
    assert [row["part"] for row in contact_sheet.choose_samples(samples, example_info(), 3)] == [
        "train",
        "val",
        "test",
    ]
    chosen = [row["part"] for row in contact_sheet.choose_samples(samples, example_info(), 4)]
    assert chosen == ["train", "train", "val", "test"]
    assert len(contact_sheet.choose_samples(samples, example_info(), 100)) == len(KEPT)
