"""Padding outside the field of view is no tissue: it is air in a CT, or a finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP, KEEP
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)

SHAPE = (4, 20, 24)
OUTSIDE = np.hypot(*(np.mgrid[:20, :24].T - [9.5, 11.5]).T) > 9.4


def padded(stored: Any, value: int) -> Any:
    """Return stored values with padding in the corners of each slice."""
    return np.where(OUTSIDE, np.array(value).astype(stored.dtype), stored)


def read(tmp_path: Path, series: Series, value: int, limit: int | None = None) -> Any:
    objects = [declared(each, value, limit) for each in series.objects()]
    return read_volume(write_zip(tmp_path / "a.zip", objects))


def declared(made: FileDataset, value: int, limit: int | None) -> FileDataset:
    kind = "SS" if value < 0 else "US"
    made.add_new("PixelPaddingValue", kind, value)
    if limit is not None:
        made.add_new("PixelPaddingRangeLimit", kind, limit)
    return made


@pytest.mark.parametrize(
    ("value", "declared_as", "intercept"),
    [(-2000, -2000, -1024), (-2000, 63536, -1024), (-2048, -2048, 0), (-32768, 32768, -1024)],
)
def test_padding_below_air_becomes_air_and_is_reported(
    tmp_path: Path, value: int, declared_as: int, intercept: int
) -> None:
    values = noise(SHAPE, 0, 2500)
    series = Series(padded(values, value), intercepts=[float(intercept)] * 4)
    volume = read(tmp_path, series, declared_as)
    expected = np.where(OUTSIDE, -1024, values + intercept)
    assert volume.voxels.dtype == np.int16 and np.array_equal(volume.voxels, expected)
    assert finding_codes(volume) == ["pixel_padding"]
    numbers = one_finding(volume, "pixel_padding").numbers
    assert numbers == {"voxels": 4 * OUTSIDE.sum(), "share": pytest.approx(OUTSIDE.mean())}
    assert DEFAULT_POLICIES["pixel_padding"] == KEEP


def test_padding_of_a_range_becomes_air(tmp_path: Path) -> None:
    values = noise(SHAPE, -1000, 1500)
    series = Series(np.where(OUTSIDE, noise(SHAPE, -3000, -2000), values))
    volume = read(tmp_path, series, -3000, -2000)
    assert np.array_equal(volume.voxels, np.where(OUTSIDE, -1024, values))


def test_padding_that_lossy_compression_changed_becomes_air(tmp_path: Path) -> None:
    values = noise(SHAPE, -1000, 1500)
    series = Series(np.where(OUTSIDE, noise(SHAPE, -3100, -1600), values))
    volume = read(tmp_path, series, -2000)
    assert np.array_equal(volume.voxels, np.where(OUTSIDE, -1024, values))


def test_padding_that_only_some_slices_declare_becomes_air_in_all(tmp_path: Path) -> None:
    values = noise(SHAPE, -1000, 1500)
    objects = Series(padded(values, -2000)).objects()
    declared(objects[1], -2000, None)
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, np.where(OUTSIDE, -1024, values))


def test_a_slice_of_nothing_but_padding_is_air(tmp_path: Path) -> None:
    values = noise(SHAPE, -1000, 1500)
    values[0] = -2000
    volume = read(tmp_path, Series(values), -2000)
    assert (volume.voxels[0] == -1024).all()
    assert np.array_equal(volume.voxels[1:], values[1:])


@pytest.mark.parametrize("value", [0, 40])
def test_padding_that_looks_like_tissue_is_dropped(tmp_path: Path, value: int) -> None:
    series = Series(padded(noise(SHAPE), value))
    volume = read(tmp_path, series, value)
    assert np.array_equal(volume.voxels, series.values)
    assert finding_codes(volume) == ["padding_like_tissue"]
    assert DEFAULT_POLICIES["padding_like_tissue"] == DROP


def test_bright_padding_of_an_mr_is_dropped(tmp_path: Path) -> None:
    values = padded(noise(SHAPE, 0, 900, np.uint16), 65535)
    volume = read(tmp_path, Series(values, modality="MR"), 65535)
    assert finding_codes(volume) == ["padding_like_tissue"]


@pytest.mark.parametrize(
    ("values", "value", "modality"),
    [
        # Values of tissue that some writers declare, although nothing is padded.
        (noise(SHAPE, -50, 50), 0, "CT"),
        # The background of an MR, and air.
        (padded(noise(SHAPE, 1, 900, np.uint16), 0), 0, "MR"),
        (padded(noise(SHAPE), -1000), -1000, "CT"),
        (padded(noise(SHAPE), -1024), -1024, "CT"),
    ],
)
def test_values_that_do_no_harm_stay_without_a_finding(
    tmp_path: Path, values: Any, value: int, modality: str
) -> None:
    volume = read(tmp_path, Series(values, modality=modality), value)
    assert np.array_equal(volume.voxels, values)
    assert finding_codes(volume) == []
