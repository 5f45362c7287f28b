"""The pixels inside the contours of one ROI in one plane.

A pixel is inside a contour if its centre is: by the even-odd rule, which keyholes need, contours
that surround a hole and touch themselves. Several contours in a plane are combined by how they lie:

- apart: each adds its pixels;
- one inside another: the inner one is a hole, a third one inside it an island, and so on;
  If the wall between them is about a pixel thin, `thin_walled_pixels` counts the inner one;
- overlapping, or the same contour twice: they are united, which `overlapping_pixels` counts.

Contours of the type CLOSEDPLANAR_XOR exclude each other wherever they overlap, as DICOM says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix, Voxels

# Finer than any contour is meant, coarser than rounding errors.
_PIXEL_DIGITS = 6
# Two contours are one that was drawn twice if they are closer than this, in pixels on average.
_SAME_OUTLINE = 0.25
# The mean wall between nested contours, in pixels of the outline around it, that may be none.
_THIN_WALL = 1.25
# Contours that enclose more than their pixels, by this factor, enclose some of them twice.
_CLOSE_AREA = 2
# The largest part of a hole that may lie, by one pixel, beyond the outline around it; as a part of
# the wall that the hole leaves, too. A contour that was drawn twice leaves as much on both sides.
_BEYOND = 0.1


@dataclass(frozen=True, eq=False)
class PlanePixels:
    """Row and column of each pixel inside the contours of a plane.

    `overlapping_pixels` are those that would be different if all contours excluded each other, and
    `thin_walled_pixels` those in a contour with a thin wall between it and the one around it.
    """

    rows: Voxels
    columns: Voxels
    overlapping_pixels: int = 0
    thin_walled_pixels: int = 0


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
    overlapping = thin_walled = 0
    if not is_xor and (close := _close_pairs(moved)):
        contours = [_Filled.of(polygon, rows, columns) for polygon in moved]
        united = _unite(contours, close, rows, columns)
        thin_walled = sum(_thin_walled(contours[one], contours[other]) for one, other in close)
        overlapping = int(np.count_nonzero(united ^ mask))
        mask = united
    if not is_xor and sum(map(_area, moved)) > _CLOSE_AREA * np.count_nonzero(mask):
        thin_walled += sum(_thin_walled_by_itself(polygon, rows, columns) for polygon in moved)
    y, x = np.nonzero(mask)
    return PlanePixels(y + low[1], x + low[0], overlapping, thin_walled)


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
    return np.asarray(_turns(polygons, rows, columns) % 2 == 1)


def _turns(polygons: list[Matrix], rows: int, columns: int, *, is_signed: bool = False) -> Voxels:
    """Return how often edges cross each row left of a pixel, [row, column].

    With signs, edges that go up count against those that go down, which is how often the polygons
    run around the pixel.
    """
    rounded = [np.round(polygon, _PIXEL_DIGITS) for polygon in polygons]
    x1, y1 = np.concatenate(rounded).T
    x2, y2 = np.concatenate([part for each in rounded for part in (each[1:], each[:1])]).T
    # An edge crosses the rows from its upper end, inclusive, to its lower end, exclusive.
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, rows).astype(np.int64)
    crossed = np.clip(np.ceil(np.maximum(y1, y2)), 0, rows).astype(np.int64) - first
    edge = np.repeat(np.arange(len(x1)), crossed)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + first[edge]
    slope = (x2[edge] - x1[edge]) / (y2[edge] - y1[edge])
    crossing = np.round(x1[edge] + (row - y1[edge]) * slope, _PIXEL_DIGITS)
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    weights = np.sign(y2 - y1)[edge] if is_signed else None
    size = rows * (columns + 1)
    counts = np.bincount(row * (columns + 1) + column, weights, minlength=size)
    return np.asarray(np.cumsum(counts.reshape(rows, columns + 1), axis=1)[:, :columns])


# --- Several contours -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Filled:
    """A contour as the pixels of a box around it, which has a margin of one pixel."""

    top: int
    left: int
    mask: Voxels
    pixels: int

    @classmethod
    def of(cls, polygon: Matrix, rows: int, columns: int) -> _Filled:
        limit = np.array([columns, rows])
        low = np.clip(np.ceil(polygon.min(axis=0)) - 1, 0, limit).astype(int)
        high = np.clip(np.floor(polygon.max(axis=0)) + 2, low, limit).astype(int)
        width, height = (high - low).tolist()
        mask = fill_even_odd([polygon - low], height, width)
        return cls(int(low[1]), int(low[0]), mask, int(np.count_nonzero(mask)))

    def window(self, plane: Voxels) -> Voxels:
        """Return the part of a plane that is in the box."""
        height, width = self.mask.shape
        return plane[self.top : self.top + height, self.left : self.left + width]


def _close_pairs(polygons: list[Matrix]) -> list[tuple[int, int]]:
    """Return the numbers of each two polygons whose boxes have a point in common."""
    if len(polygons) == 1:
        return []
    low = np.array([polygon.min(axis=0) for polygon in polygons])
    high = np.array([polygon.max(axis=0) for polygon in polygons])
    meet = (low[:, None] <= high).all(axis=2) & (low <= high[:, None]).all(axis=2)
    return [(one, other) for one, other in np.argwhere(np.triu(meet, 1)).tolist()]


def _unite(
    contours: list[_Filled], close: list[tuple[int, int]], rows: int, columns: int
) -> Voxels:
    """Unite the contours that overlap; then let those that are nested exclude each other."""
    inside = np.zeros((rows, columns), bool)
    for group in _overlapping_groups(contours, close):
        united = np.zeros_like(inside)
        for contour in group:
            contour.window(united)[...] |= contour.mask
        inside ^= united
    return inside


def _overlapping_groups(
    contours: list[_Filled], close: list[tuple[int, int]]
) -> Iterator[list[_Filled]]:
    """Yield the contours that overlap each other, directly or through others."""
    group_of = list(range(len(contours)))
    for one, other in close:
        if group_of[one] != group_of[other] and _do_overlap(contours[one], contours[other]):
            old, new = group_of[other], group_of[one]
            group_of = [new if group == old else group for group in group_of]
    for group in sorted(set(group_of)):
        yield [each for each, its in zip(contours, group_of, strict=True) if its == group]


def _do_overlap(one: _Filled, other: _Filled) -> bool:
    """Return whether two contours overlap: neither apart, nor one a hole in the other."""
    small, large = sorted((one, other), key=lambda contour: contour.pixels)
    around = _seen_from(large, small)
    shared = int(np.count_nonzero(small.mask & around))
    if not shared:
        return False
    beyond = small.mask & ~around
    wall = large.pixels - shared
    is_loose = small.pixels - shared > _BEYOND * min(small.pixels, wall)
    if is_loose or (beyond & ~_grow(around)).any():
        return True
    different = small.pixels + large.pixels - 2 * shared
    return different < _SAME_OUTLINE * large.pixels and _is_same_outline(large, different)


def _is_same_outline(contour: _Filled, different: int) -> bool:
    return different < _SAME_OUTLINE * _outline(contour)


def _thin_walled(one: _Filled, other: _Filled) -> int:
    """Return the pixels of the inner one of two contours, if the wall between them is thin."""
    small, large = sorted((one, other), key=lambda contour: contour.pixels)
    if not (small.mask & _seen_from(large, small)).any() or _do_overlap(one, other):
        return 0
    wall = large.pixels - small.pixels
    return small.pixels if wall < _THIN_WALL * _outline(large) else 0


def _thin_walled_by_itself(polygon: Matrix, rows: int, columns: int) -> int:
    """Return the pixels in the hole of a contour that runs around twice, if its wall is thin."""
    filled = _Filled.of(polygon, rows, columns)
    moved = polygon - np.array([filled.left, filled.top])
    around = _turns([moved], *filled.mask.shape, is_signed=True) != 0
    hole = int(np.count_nonzero(around & ~filled.mask))
    whole = replace(filled, mask=around, pixels=filled.pixels + hole)
    return hole if filled.pixels < _THIN_WALL * _outline(whole) else 0


def _area(polygon: Matrix) -> float:
    """Return the area of a polygon in pixels; what it runs around twice counts twice."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _outline(contour: _Filled) -> int:
    """Return how many pixels of a contour are at its edge."""
    return int(np.count_nonzero(contour.mask & _grow(~contour.mask)))


def _seen_from(contour: _Filled, other: _Filled) -> Voxels:
    """Return the pixels of a contour in the box of another one."""
    seen = np.zeros(other.mask.shape, bool)
    shift = np.array([contour.top - other.top, contour.left - other.left])
    start = np.maximum(shift, 0)
    stop = np.maximum(np.minimum(shift + contour.mask.shape, seen.shape), start)
    (top, left), (bottom, right) = start.tolist(), stop.tolist()
    down, across = shift.tolist()
    part = contour.mask[top - down : bottom - down, left - across : right - across]
    seen[top:bottom, left:right] = part
    return seen


def _grow(mask: Voxels) -> Voxels:
    """Return the mask with all eight neighbours of its pixels."""
    padded = np.pad(mask, 1)
    tall = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:])
