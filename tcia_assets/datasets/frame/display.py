"""Real values to grey levels, as a viewer shows them: window or lookup table, then inversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut, apply_windowing

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.attributes import read_int, read_number, read_text

HEADER = "header"
# Beyond any window: the values to which its two ends are mapped.
_FAR = 1e12
_BYTE = 8


@dataclass(frozen=True)
class Display:
    """Grey levels [y, x], higher is brighter, and a text that says how they were made."""

    pixels: Voxels
    shown_by: str


def to_display(
    values: Voxels, header: Dataset, window: str | tuple[float, float], bits: int
) -> Display:
    """Map real values to grey levels.

    Args:
        values: Real values [y, x]: after slope and intercept, or the modality's lookup table.
        header: Of their object.
        window: `header` for its first lookup table or window (without one, bytes as they are, and
            the whole range of other values); `full` for the whole range; or a lower and an upper
            end.
        bits: 8 or 16.
    """
    scaled, low, high, shown_by = _scaled(values, header, window)
    share = np.clip((scaled - low) / max(high - low, 1e-9), 0, 1)
    if read_text(header, "PhotometricInterpretation") == "MONOCHROME1":
        share, shown_by = 1 - share, f"{shown_by}, inverted"
    dtype = np.dtype(f"uint{bits}")
    return Display(np.rint(share * np.iinfo(dtype).max).astype(dtype), shown_by)


def _scaled(
    values: Voxels, header: Dataset, window: str | tuple[float, float]
) -> tuple[Voxels, float, float, str]:
    """Return values, those of black and white among them, and how they were made."""
    if isinstance(window, tuple):
        low, high = window
        return values.astype(np.float64), low, high, f"window {low:g} to {high:g}"
    if window == HEADER:
        with np.errstate(over="ignore"):  # a sigmoid, far from its centre
            found = _by_header(values, header)
        if found is not None:
            return found
        if (most := _byte_range(header)) is not None:
            return values, 0.0, most, f"stored range, 0 to {most:g}"
    inside = values[~_is_padding(values, header)]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    return values.astype(np.float64), low, high, f"whole range, {low:g} to {high:g}"


def _by_header(values: Voxels, header: Dataset) -> tuple[Voxels, float, float, str] | None:
    """Apply the header's lookup table or window; None if it has none that can be used."""
    try:
        if table := header.get("VOILUTSequence"):
            most = (1 << int(table[0].LUTDescriptor[2])) - 1
            shown = apply_voi_lut(values.astype(np.int64), header)
            if shown.dtype.kind == "u":
                return shown, 0.0, float(most), "VOI LUT of the header"
        center, width = (_first(header, f"Window{name}") for name in ("Center", "Width"))
        if center is None or width is None:
            return None
        low, high = apply_windowing(np.array([[-_FAR, _FAR]]), header)[0].tolist()
        shown = apply_windowing(values, header)
    # What pydicom raises for a header that contradicts itself: any of several errors.
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError):
        return None
    function = read_text(header, "VOILUTFunction").upper()
    how = f" ({function})" if function not in {"", "LINEAR"} else ""
    return shown, low, high, f"window {center:g}/{width:g} of the header{how}"


def _byte_range(header: Dataset) -> float | None:
    """Return the greatest value of pixels that are grey levels already; None if they are not.

    So is ultrasound: without a window its bytes are shown as they are.
    """
    bits = read_int(header, "BitsStored", 16)
    is_plain = read_int(header, "PixelRepresentation", 0) == 0
    is_plain = is_plain and not header.get("ModalityLUTSequence")
    slope = read_number(header, "RescaleSlope") or 1.0
    intercept = read_number(header, "RescaleIntercept") or 0.0
    if bits > _BYTE or not is_plain or (slope, intercept) != (1.0, 0.0):
        return None
    return float((1 << bits) - 1)


def _first(header: Dataset, keyword: str) -> float | None:
    value: Any = header.get(keyword)
    if isinstance(value, int | float):
        return read_number(header, keyword)
    try:
        return None if value is None else float(value[0])
    except (TypeError, ValueError, IndexError):
        return None


def _is_padding(values: Voxels, header: Dataset) -> Voxels:
    """Return which pixels are padding, which says nothing about the range of the image."""
    ends = [read_number(header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [each for each in ends if each is not None]
    if ends[0] is None:
        return np.zeros(values.shape, bool)
    slope = read_number(header, "RescaleSlope") or 1.0
    intercept = read_number(header, "RescaleIntercept") or 0.0
    low, high = sorted((min(known) * slope + intercept, max(known) * slope + intercept))
    return np.asarray((values >= low) & (values <= high))
