"""The values of a volume as they are written: in the declared dtype, after the declared window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tcia_assets.datasets.volume.arrays import Volume
from tcia_assets.datasets.volume.findings import (
    WRONG_VALUES,
    ZERO_VARIANCE,
    Finding,
    NoVolume,
    make_finding,
)
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.errors import BadValue


def convert_values(
    volume: Volume, settings: VolumeSettings, native: np.dtype[Any]
) -> tuple[Volume, list[Finding]]:
    """Return the volume in the declared dtype and window, and a finding if nothing in it differs.

    Args:
        volume: On the grid on which it is written.
        settings: Dtype and window.
        native: The dtype of the volume as it was read, which is written where none is declared: a
            resampled volume has float32.

    Raises:
        BadValue: Voxels do not fit into the dtype.
    """
    converted = _convert(volume, settings, np.dtype(settings.dtype or native))
    least, greatest = converted.voxels.min(), converted.voxels.max()
    was_constant = any(finding.code == ZERO_VARIANCE for finding in volume.findings)
    if least != greatest or was_constant:
        return converted, []
    where = "in the new dtype or on the new grid"
    if settings.window is not None:
        where = f"after the window from {settings.window[0]:g} to {settings.window[1]:g}"
    return converted, [make_finding(ZERO_VARIANCE, f"{least:g}, {where}", value=float(least))]


def check_values(volume: Volume, settings: VolumeSettings) -> None:
    """Raise NoVolume if values that are wrong do not fit into the dtype: no build stops for them.

    Raises:
        BadValue: Values that are right do not fit.
    """
    try:
        check_range(volume, settings)
    except BadValue as error:
        if not any(finding.code in WRONG_VALUES for finding in volume.findings):
            raise
        finding = make_finding("values_beyond_dtype", str(settings.dtype))
        raise NoVolume(volume.series_instance_uid, (*volume.findings, finding)) from error


def check_range(volume: Volume, settings: VolumeSettings) -> None:
    """Raise BadValue if voxels do not fit into the declared dtype."""
    if settings.window is None:
        _check_range(volume, np.dtype(settings.dtype or volume.voxels.dtype))


def _convert(volume: Volume, settings: VolumeSettings, dtype: np.dtype[Any]) -> Volume:
    """Convert slice by slice; this is the only time that values are rounded."""
    old = volume.voxels
    if settings.window is None and dtype == old.dtype:
        return volume
    check_range(volume, settings)
    is_integer = dtype.kind in "iu"
    lowest, highest = (np.iinfo(dtype).min, np.iinfo(dtype).max) if is_integer else (0, 1)
    voxels = np.empty(old.shape, dtype)
    for new, values in zip(voxels, old, strict=True):
        scaled = values
        if settings.window is not None:
            low, high = settings.window
            share = (np.clip(values, low, high).astype(np.float64) - low) / (high - low)
            scaled = lowest + share * (highest - lowest)
        new[...] = np.rint(scaled) if is_integer else scaled
    return replace(volume, voxels=voxels)


def _check_range(volume: Volume, dtype: np.dtype[Any]) -> None:
    least, greatest = float(volume.voxels.min()), float(volume.voxels.max())
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= least <= greatest <= np.iinfo(dtype).max:
        problem = (
            f"its values from {least:g} to {greatest:g} do not fit into {dtype}: declare a window, "
            "or the dtype float32"
        )
        uid = volume.series_instance_uid
        raise BadValue(problem, table="samples", column="dtype", value=str(dtype), key=uid)
