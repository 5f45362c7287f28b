"""A small picture of a Series: the middle frame of the middle object of its zip.

Only that object is read. The window is that of lungs or soft tissue for CT, what the header states
for other Modalities, or else what most pixels have. Needs the extra `datasets`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tcia_assets.datasets.grey_pictures import Pixels, auto_window, fitted_size, resize, to_grey
from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.attributes import read_int, read_number, read_numbers, read_text
from tcia_assets.datasets.volume.decoders import decoder_of
from tcia_assets.datasets.volume.series_zip import DicomObject, open_series_zip
from tcia_assets.errors import MissingExtra

try:
    import numpy as np
    from PIL import Image
    from pydicom import Dataset, dcmread
    from pydicom.pixels.utils import pixel_array
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "pictures of Series") from None

SIDE = 256
"""The longer side of a picture, in pixels."""

VERSION = 1
"""Part of a picture's key: pictures of another version are made again."""

_QUALITY = 82
_MAX_REASON = 200
# A window of the header that would show nothing but black or white is not used.
_LEAST_CONTRAST = 4.0


class NoPicture(Exception):
    """The object has no pixels that can be shown; the text is the reason."""


def picture_of(path: Path, entry_name: str) -> bytes:
    """Return a JPEG of an object's middle frame, in the proportions of its pixels.

    Args:
        path: The zip of a Series.
        entry_name: The object in it.

    Raises:
        NoPicture: It cannot be shown.
        BadArchive: The zip is damaged.
        MissingExtra: The pixels need a decoder that is not installed.
        OSError: The zip cannot be read.
    """
    with open_series_zip(path) as series_zip:
        entry = next((each for each in series_zip.entries if each.name == entry_name), None)
        if entry is None:
            raise NoPicture(f"its zip has no {entry_name!r}")
        dataset = dcmread(io.BytesIO(series_zip.read(entry)), force=True)
        if "PixelData" not in dataset and "FloatPixelData" not in dataset:
            raise NoPicture("the object has no pixels")
        decoder = decoder_of(DicomObject(entry, dataset, None))
        middle = max(read_int(dataset, "NumberOfFrames", 1), 1) // 2
        try:
            pixels = pixel_array(dataset, index=middle, decoding_plugin=decoder)
        except Exception as error:
            # Decoders raise nearly any exception on damaged pixels.
            raise NoPicture(f"its pixels cannot be decoded: {error}"[:_MAX_REASON]) from error
    shown = _shown(pixels, dataset)
    if shown.min() == shown.max():
        raise NoPicture("its middle slice is empty")
    spacing = _spacing(dataset)
    method = Image.Resampling.BICUBIC
    return to_jpeg(resize(shown, fitted_size(shown.shape[:2], spacing, SIDE), method))


def to_jpeg(pixels: Pixels) -> bytes:
    """Return pixels, grey or RGB, as a JPEG; the same pixels give the same bytes."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="JPEG", quality=_QUALITY)
    return file.getvalue()


def _shown(pixels: Voxels, dataset: Dataset) -> Pixels:
    if pixels.ndim > 2:  # noqa: PLR2004 - RGB
        return np.asarray(pixels if pixels.dtype == np.uint8 else pixels >> 8, np.uint8)
    slope = read_number(dataset, "RescaleSlope") or 1.0
    values = pixels.astype(np.float32) * slope + (read_number(dataset, "RescaleIntercept") or 0.0)
    modality = read_text(dataset, "Modality")
    # PET is read black on white.
    is_reversed = modality == "PT"
    is_inverted = read_text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    return to_grey(
        values, _window(values, dataset, modality), is_inverted=is_reversed != is_inverted
    )


def _window(values: Voxels, dataset: Dataset, modality: str) -> tuple[float, float]:
    if modality == "SEG" or values.min() == values.max():
        return 0.0, float(max(values.max(), 1.0))
    if modality == "CT" and "RescaleIntercept" in dataset:
        return auto_window(values, "HU")[0]
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if modality != "PT" and centre is not None and width is not None and width > 1:
        window = centre - width / 2, centre + width / 2
        if to_grey(values, window, is_inverted=False).std() > _LEAST_CONTRAST:
            return window
    return auto_window(values, "stored")[0]


def _first(dataset: Dataset, keyword: str) -> float | None:
    value: Any = dataset.get(keyword)
    try:
        return float(
            value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value
        )
    except (TypeError, ValueError, IndexError):
        return None


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """Return the distance from column to column, and from row to row; in any unit."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        found = read_numbers(dataset, keyword, 2)
        if found and min(found) > 0:
            return found[1], found[0]
    return 1.0, 1.0
