"""The format of pixels, and their position in the patient.

Several modalities share these elements of the modules Image Pixel and Image Plane.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import element_values
from tcia_assets.sandbox.phantom.anatomy import SIDE, Grid
from tcia_assets.sandbox.phantom.header import (
    SYNTHETIC,
    Recipe,
    Row,
    add,
    dataset,
    frame_of_reference,
)

ORIENTATION = ("1", "0", "0", "0", "1", "0")  # axial, rows to the left, columns to the back

_PIXEL_DATA = 0x7FE00010
_BYTE = 8


def grid_of(row: Row) -> Grid:
    """Return the grid of a Series."""
    return Grid.of(str(row.get("SeriesInstanceUID")), element_values.count(row.get("ImageCount")))


def add_pixel_format(header: Dataset, bits: int) -> None:
    """Add the format of square grey images of `bits` per pixel: packed, or in one or two bytes."""
    allocated = 1 if bits == 1 else _BYTE if bits <= _BYTE else 2 * _BYTE
    add(
        header,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        Rows=SIDE,
        Columns=SIDE,
        BitsAllocated=allocated,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
    )
    if bits > 1:
        header.ImageComments = SYNTHETIC


def add_pixels(own: Dataset, image: NDArray[np.int32], bits: int) -> None:
    """Add the pixels, clipped to `bits`."""
    wide = bits > _BYTE
    cut = np.clip(image, 0, 2**bits - 1).astype("<u2" if wide else "u1")
    own.add_new(_PIXEL_DATA, "OW" if wide else "OB", cut.tobytes())


def image_recipe(
    header: Dataset,
    bits: int,
    image: Callable[[int], NDArray[np.int32]],
    own: Callable[[int], Dataset],
) -> Recipe:
    """Return the recipe of objects of one image each; `own` makes an object's other elements."""
    add_pixel_format(header, bits)

    def instance(index: int) -> Dataset:
        made = own(index)
        add_pixels(made, image(index), bits)
        return made

    return Recipe(header, instance)


def add_bits(own: Dataset, masks: list[NDArray[np.bool_]]) -> None:
    """Add the masks as frames of one bit per pixel."""
    bits = np.concatenate([mask.ravel() for mask in masks])
    own.add_new(_PIXEL_DATA, "OB", np.packbits(bits, bitorder="little").tobytes())


def add_plane(header: Dataset, row: Row, grid: Grid) -> None:
    """Add the geometry that all slices share."""
    add(
        header,
        FrameOfReferenceUID=frame_of_reference(row),
        PositionReferenceIndicator="",
        PixelSpacing=spacing(grid),
        SliceThickness=element_values.millimetres(grid.slice_um),
        ImageOrientationPatient=list(ORIENTATION),
    )


def spacing(grid: Grid) -> list[str]:
    """Return PixelSpacing."""
    return [element_values.millimetres(grid.pixel_um)] * 2


def position(grid: Grid, index: int) -> list[str]:
    """Return ImagePositionPatient of a slice."""
    return [element_values.millimetres(um) for um in grid.position_um(index)]


def plane(grid: Grid, index: int) -> Dataset:
    """Return the geometry of one slice."""
    place = position(grid, index)
    return dataset(ImagePositionPatient=place, SliceLocation=place[2])
