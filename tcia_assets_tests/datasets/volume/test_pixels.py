"""Stored pixels are rescaled exactly, and damaged pixels leave no volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcia_assets.datasets.volume.findings import NoVolume
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    write_zip,
)


def read(tmp_path: Path, series: Series, **more: Any) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", series.objects()), **more)


@pytest.mark.parametrize(
    ("values", "slopes", "intercepts", "dtype"),
    [
        (noise((4, 5, 6)), [-2] * 4, [10] * 4, np.int16),
        (noise((4, 5, 6), 0, 4000, np.uint16), [1] * 4, [-1024] * 4, np.int16),
        (noise((4, 5, 6), 60000, 65535, np.uint16), [1] * 4, [-60000] * 4, np.int16),
        (noise((4, 5, 6), 0, 65535, np.uint16), [1] * 4, [0] * 4, np.float32),
        (noise((4, 5, 6)), [0.5, 1, 2, 3], [0, 1, -1, 0.25], np.float32),
        (noise((4, 5, 6)), [1, 2, 3, 4], [0, -7, 9, 0], np.int16),
        (noise((4, 5, 6), 0, 255, np.uint8), [3] * 4, [-5] * 4, np.int16),
        (noise((4, 5, 6), -40000, 40000, np.int32), [1] * 4, [0] * 4, np.float32),
        (noise((4, 5, 6), -4000, 4000, np.int32), [1] * 4, [0] * 4, np.int16),
    ],
)
def test_rescaling_is_exact_in_the_smallest_dtype(
    tmp_path: Path, values: Any, slopes: Any, intercepts: Any, dtype: Any
) -> None:
    bits = 8 * values.itemsize
    # Not a CT, in which such values would be implausible.
    series = Series(values, modality="MR", slopes=slopes, intercepts=intercepts, bits=bits)
    volume = read(tmp_path, series)
    assert volume.voxels.dtype == dtype
    assert np.array_equal(volume.voxels, series.real.astype(np.float32))
    mixed = len(set(zip(slopes, intercepts, strict=True))) > 1
    assert finding_codes(volume) == (["mixed_rescale"] if mixed else [])


def test_unused_bits_are_ignored(tmp_path: Path) -> None:
    true = noise((4, 5, 6), -2000, 2000)
    # Signed numbers of 12 bits, with an overlay in the four bits above.
    written = (true.astype(np.uint16) & 0x0FFF | 0x5000).astype(np.int16)
    volume = read(tmp_path, Series(written, bits=12))
    assert np.array_equal(volume.voxels, true)


def test_truncated_pixels_leave_no_volume(tmp_path: Path) -> None:
    objects = Series().objects()
    objects[2].PixelData = objects[2].PixelData[:-20]
    with pytest.raises(NoVolume, match="cannot be read") as caught:
        read_volume(write_zip(tmp_path / "a.zip", objects))
    assert caught.value.findings[0].sop_instance_uids == (objects[2].SOPInstanceUID,)
