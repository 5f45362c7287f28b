"""Frames of a SEG are read one by one, and what cannot be read is an error with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.seg_pixels import SegPixels, UnreadableFrame
from tcia_assets.datasets.volume.series_zip import open_series_zip
from tcia_assets_tests.datasets.volume.synthetic import Series, noise, write_zip
from tcia_assets_tests.datasets.volume.synthetic_labels import SHAPE, masks, seg


def read_all(tmp_path: Path, made: Any) -> list[Any]:
    with open_series_zip(write_zip(tmp_path / "seg.zip", [made])) as series_zip:
        (dicom_object,), _ = series_zip.read_headers()
        pixels = SegPixels(series_zip, dicom_object)
        return [pixels.read(index) for index in range(made.NumberOfFrames)]


def test_frames_of_one_bit_start_within_bytes(tmp_path: Path) -> None:
    made = seg(Series(noise(SHAPE)).objects(), masks())
    assert SHAPE[1] * SHAPE[2] % 8
    drawn = [image for segment in range(2) for image in masks()[..., segment] if image.any()]
    assert np.array_equal(read_all(tmp_path, made), drawn)


def test_frames_that_are_cut_off_are_an_error(tmp_path: Path) -> None:
    made = seg(Series(noise(SHAPE)).objects(), masks())
    made.PixelData = made.PixelData[:-200]
    with pytest.raises(UnreadableFrame, match="fewer pixels than frames"):
        read_all(tmp_path, made)
