"""The pixels inside the contours of one ROI in one plane.

A pixel is inside a contour if its centre is: by the even-odd rule, which keyholes need, contours
that surround a hole and touch themselves. Several contours in a plane are combined by how they lie:

- apart: each adds its pixels;
- one inside another: the inner one is a hole, a third one inside it an island, and so on;
- overlapping, or the same contour twice: they are united, which `overlapping_pixels` counts.

Contours of the type CLOSEDPLANAR_XOR exclude each other wherever they overlap, as DICOM says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix, Voxels

# Finer than any contour is meant, coarser than rounding errors.
_PIXEL_DIGITS = 6
# Two contours are one that was drawn twice if they are closer than this, in pixels on average.
_SAME_OUTLINE = 0.25
# The largest part of a hole that may lie, by one pixel, beyond the outline around it.
_BEYOND = 0.1


@dataclass(frozen=True, eq=False)
class PlanePixels:
    """Row and column of each pixel inside the contours of a plane.

    `overlapping_pixels` are those that would be different if all contours excluded each other.
    """

    rows: Voxels
    columns: Voxels
    overlapping_pixels: int = 0


def pixels_inside(
    polygons: list[Matrix], shape: tuple[int, ...], *, is_xor: bool = False
) -> PlanePixels:
    """Return the pixels inside the contours of one plane.

    Pixels outside the image are included too, up to its own size beyond each edge, so that they can
    be counted.

    Args:
        polygons: See `fill_even_odd`.
        shape: Rows and columns of the image.
        is_xor: The contours exclude each other wherever they overlap.
    """
    points = np.concatenate(polygons)
    size = np.array(shape[::-1])
    # With a margin of one pixel, which is outside.
    low = np.maximum(np.ceil(points.min(axis=0)), -size).astype(np.int64) - 1
    high = np.minimum(np.floor(points.max(axis=0)), 2 * size).astype(np.int64) + 1
    columns, rows = np.maximum(high - low + 1, 0).tolist()
    moved = [polygon - low for polygon in polygons]
    mask = fill_even_odd(moved, rows, columns)
    overlapping = 0
    if not is_xor and _may_overlap(moved):
        united = _unite([fill_even_odd([each], rows, columns) for each in moved])
        overlapping = int(np.count_nonzero(united ^ mask))
        mask = united
    y, x = np.nonzero(mask)
    return PlanePixels(y + low[1], x + low[0], overlapping)


def fill_even_odd(polygons: list[Matrix], rows: int, columns: int) -> Voxels:
    """Return a mask [row, column] of the pixels whose centre is inside an odd number of polygons.

    Pixel centres are at integer x and y. A centre on a left or upper edge counts as inside.

    Args:
        polygons: The points of each as x and y, one per row; the last one is joined to the first.
        rows: Rows of the image.
        columns: Columns of the image.

    >>> square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])
    >>> fill_even_odd([square], 3, 4).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    rounded = [np.round(polygon, _PIXEL_DIGITS) for polygon in polygons]
    x1, y1 = np.concatenate(rounded).T
    x2, y2 = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in rounded]).T
    # An edge crosses the rows from its upper end, inclusive, to its lower end, exclusive.
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, rows).astype(np.int64)
    crossed = np.clip(np.ceil(np.maximum(y1, y2)), 0, rows).astype(np.int64) - first
    edge = np.repeat(np.arange(len(x1)), crossed)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    slope = (x2[edge] - x1[edge]) / (y2[edge] - y1[edge])
    crossing = np.round(x1[edge] + (row - y1[edge]) * slope, _PIXEL_DIGITS)
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    toggles = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    inside = np.cumsum(toggles.reshape(rows, columns + 1), axis=1) & 1
    return inside[:, :columns].astype(bool)


# --- Several contours -----------------------------------------------------------------------------


def _may_overlap(polygons: list[Matrix]) -> bool:
    """Return whether the boxes around two polygons have a point in common."""
    boxes = [(each.min(axis=0), each.max(axis=0)) for each in polygons]
    return any(
        bool((low <= other_high).all() and (other_low <= high).all())
        for (low, high), (other_low, other_high) in combinations(boxes, 2)
    )


def _unite(masks: list[Voxels]) -> Voxels:
    """Unite the masks that overlap; then let those that are nested exclude each other."""
    filled = [mask for mask in masks if mask.any()]
    inside = np.zeros(masks[0].shape, bool)
    for group in _overlapping_groups(filled):
        inside ^= np.logical_or.reduce(group)
    return inside


def _overlapping_groups(masks: list[Voxels]) -> Iterator[list[Voxels]]:
    """Yield the masks that overlap each other, directly or through others."""
    group_of = list(range(len(masks)))
    for one, other in combinations(range(len(masks)), 2):
        if group_of[one] != group_of[other] and _do_overlap(masks[one], masks[other]):
            old, new = group_of[other], group_of[one]
            group_of = [new if group == old else group for group in group_of]
    for group in sorted(set(group_of)):
        yield [mask for mask, its in zip(masks, group_of, strict=True) if its == group]


def _do_overlap(one: Voxels, other: Voxels) -> bool:
    """Return whether two masks overlap: neither apart, nor one a hole in the other."""
    if not (one & other).any():
        return False
    small, large = sorted((one, other), key=np.count_nonzero)
    beyond = small & ~large
    is_loose = np.count_nonzero(beyond) > _BEYOND * np.count_nonzero(small)
    if is_loose or (beyond & ~_grow(large)).any():
        return True
    outline = np.count_nonzero(large & _grow(~large))
    return bool(np.count_nonzero(large ^ small) < _SAME_OUTLINE * outline)


def _grow(mask: Voxels) -> Voxels:
    """Return the mask with all eight neighbours of its pixels."""
    padded = np.pad(mask, 1)
    tall = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:])
