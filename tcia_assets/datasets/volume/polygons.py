"""Which pixels lie inside polygons, by the even-odd rule."""

from __future__ import annotations

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix, Voxels

# Finer than any contour is meant, coarser than rounding errors.
_PIXEL_DIGITS = 6


def pixels_inside(polygons: list[Matrix], shape: tuple[int, ...]) -> tuple[Voxels, Voxels]:
    """Return row and column of each pixel inside the polygons.

    Pixels outside the image are included too, up to its own size beyond each edge, so that they can
    be counted.

    Args:
        polygons: See `fill_even_odd`.
        shape: Rows and columns of the image.
    """
    points = np.concatenate(polygons)
    size = np.array(shape[::-1])
    low = np.maximum(np.ceil(points.min(axis=0)), -size).astype(np.int64)
    high = np.minimum(np.floor(points.max(axis=0)), 2 * size).astype(np.int64)
    width, height = np.maximum(high - low + 1, 0).tolist()
    mask = fill_even_odd([polygon - low for polygon in polygons], height, width)
    y, x = np.nonzero(mask)
    return y + low[1], x + low[0]


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
