"""Values as grey pixels in the proportions of millimetres, and JPEGs of bounded size.

Which object or slice is shown is the caller's choice. Nothing here depends on a declaration, so
that a single picture is made without importing what reads one.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcia_assets.errors import MissingExtra

try:
    from PIL import Image
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "drawing pictures") from None

Pixels = NDArray[np.uint8]

# CT windows, in HU; a slice shows lungs if enough of its voxels have the values of lungs.
_SOFT_TISSUE, _LUNGS = (-160.0, 240.0), (-1350.0, 150.0)
_LUNG_VALUES, _LEAST_LUNG_SHARE = (-950.0, -500.0), 0.04
_PERCENTILES = (1.0, 99.5)
# In Base64 a third more: 48 kB.
_SMALL_BYTES, _SMALL_SIZE, _QUALITIES = 36_000, (840, 840), (80, 70, 60, 50, 40, 30, 20, 10)


def auto_window(values: NDArray[Any], units: str) -> tuple[tuple[float, float], str]:
    """Return the values to show of an image, lower and upper, and a text about them.

    Args:
        values: The values.
        units: See `arrays.Volume`: in HU the window is that of lungs or of soft tissue.
    """
    if units == "HU":
        is_lung = (values > _LUNG_VALUES[0]) & (values < _LUNG_VALUES[1])
        window = _LUNGS if is_lung.mean() > _LEAST_LUNG_SHARE else _SOFT_TISSUE
        return window, f"{window[0]:g} to {window[1]:g} HU"
    # Most pixels are air, which would hide how bright the rest is.
    bright = values[values > values.min()]
    low, high = np.percentile(bright if bright.size else values, _PERCENTILES).tolist()
    low = 0.0 if units == "SUVbw" else low
    return (low, high), window_name(low, high, units)


def window_name(low: float, high: float, units: str) -> str:
    """Return a text about the values that are shown."""
    unit = "" if units in {"HU", "stored"} else f" {units}"
    return f"{low:.3g} to {high:.3g}{unit}"


def to_grey(values: NDArray[Any], window: tuple[float, float], *, is_inverted: bool) -> Pixels:
    """Return values as grey levels, from black at the window's lower end to white, or reversed."""
    low, high = window
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    # PET is read black on white.
    share = 1 - share if is_inverted else share
    return np.nan_to_num(np.rint(share * 255)).astype(np.uint8)


def fitted_size(shape: Sequence[int], spacing: Sequence[float], side: int) -> tuple[int, int]:
    """Return width and height in pixels, in the proportions of millimetres.

    Args:
        shape: Rows and columns.
        spacing: Millimetres from column to column, and from row to row.
        side: The longer one of the two.
    """
    width, height = shape[1] * spacing[0], shape[0] * spacing[1]
    scale = side / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def resize(pixels: Pixels, size: tuple[int, int], method: Image.Resampling) -> Pixels:
    """Return pixels in another size, width and height."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, method))


def fit_jpeg(picture: Image.Image) -> bytes:
    """Return a picture as a JPEG of at most 36 kB and 840 pixels."""
    small = picture.copy()
    small.thumbnail(_SMALL_SIZE)
    for quality in _QUALITIES:
        written = BytesIO()
        small.save(written, format="JPEG", quality=quality, optimize=True)
        if written.tell() <= _SMALL_BYTES:
            break
    return written.getvalue()
