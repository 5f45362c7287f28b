"""Write and read PNG files: grey with 8 or 16 bits, or RGB.

The same pixels give the same bytes, with the same version of Pillow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.errors import MissingExtra, StorageError
from tcia_assets.store.files import publish

try:
    from PIL import Image, UnidentifiedImageError
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "writing PNG files") from None

_LEVEL = 6
_MM_PER_INCH = 25.4


def write_png(path: Path, pixels: Voxels, spacing: tuple[float, float] | None) -> int:
    """Write a PNG file and return its size in bytes.

    Args:
        path: The file.
        pixels: [y, x] as uint8 or uint16, or [y, x, 3] as uint8.
        spacing: Millimetres from column to column and from row to row, which the file holds as its
            resolution.

    Raises:
        StorageError: The file cannot be written; a file that was there is unchanged.
    """
    options = {"dpi": tuple(_MM_PER_INCH / each for each in spacing)} if spacing else {}
    picture = Image.fromarray(np.ascontiguousarray(pixels))

    def write(draft: Path) -> None:
        picture.save(draft, format="PNG", compress_level=_LEVEL, **options)

    publish(path, write, keep_equal=False)
    return path.stat().st_size


def read_png(path: Path) -> Voxels:
    """Read a PNG file: [y, x] as uint8 or uint16, or [y, x, 3] as uint8.

    Raises:
        StorageError: The file is missing or cannot be read.
    """
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    return pixels.astype(np.uint16) if picture.mode.startswith("I") else pixels
