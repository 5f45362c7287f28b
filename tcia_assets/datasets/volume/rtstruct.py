"""Set labels from the contours of RTSTRUCT objects.

A pixel has a label if its centre is inside. Contours of one ROI in one plane are holes of each
other (the even-odd rule, which keyhole contours need too). Each contour goes to its nearest slice,
at most half a step away; contours that are farther away lie outside the volume.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.attributes import first_item, read_int, read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_grid import LabelGrid

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
# Fractions of the step between slices: a contour farther from its slice lies between slices, a
# contour whose points differ more in height is not parallel to the slices.
BETWEEN = 0.1
OFF_PLANE = 0.5
_HALF_STEP = 0.5 + 1e-6
_SAME_PLANE_MM = 0.01
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_MIN_POINTS = 3
_LEFT_OUT = ("contours_off_plane", "contours_not_closed", "unreadable_mask")
# Finer than any contour is meant, coarser than rounding errors.
_PIXEL_DIGITS = 6
_CONTOUR_DATA = 0x3006_0050


@dataclass
class _Counts:
    """How far contours were moved to a slice, and how many were left out, by code of finding."""

    moved_mm: list[float] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def findings(self, uid: str) -> Iterator[Finding]:
        if self.moved_mm:
            numbers = {"contours": len(self.moved_mm), "farthest_mm": max(self.moved_mm)}
            detail = f"{len(self.moved_mm)} contours, up to {max(self.moved_mm):.3f} mm"
            yield make_finding("contours_between_slices", detail, [uid], **numbers)
        for code in _LEFT_OUT:
            if count := self.left_out[code]:
                yield make_finding(code, f"{count} contours", [uid], contours=count)


def set_rois(grid: LabelGrid, header: Dataset) -> None:
    """Set all ROIs that match a label.

    Args:
        grid: The labels of the volume, which this adds to.
        header: A whole RTSTRUCT.
    """
    contours = {
        read_int(roi, "ReferencedROINumber", -1): roi.get("ContourSequence") or []
        for roi in header.get("ROIContourSequence") or []
    }
    counts = _Counts()
    for roi in header.get("StructureSetROISequence") or []:
        name = read_text(roi, "ROIName")
        if label := grid.patterns.label_of(name):
            _set_roi(grid, label, contours.get(read_int(roi, "ROINumber", -1), []), counts)
        else:
            grid.unmatched.add(name)
    grid.findings += counts.findings(read_text(header, "SOPInstanceUID"))


def frames_of_reference(header: Dataset) -> set[str]:
    """Return the frames of reference of the ROIs; without any, that of the object."""
    rois = header.get("StructureSetROISequence") or []
    uids = {read_text(roi, "ReferencedFrameOfReferenceUID") for roi in rois} - {""}
    first = first_item(header, "ReferencedFrameOfReferenceSequence") or header
    return uids or {read_text(first, "FrameOfReferenceUID")} - {""}


def _set_roi(grid: LabelGrid, label: int, contours: list[Dataset], counts: _Counts) -> None:
    for (z, level), polygons in sorted(_group_by_plane(grid, contours, counts).items()):
        y, x = pixels_inside(polygons, grid.shape[1:])
        distance = abs(level * _SAME_PLANE_MM - grid.heights[z])
        if distance > _HALF_STEP * grid.step + _SAME_PLANE_MM:
            grid.count_outside(len(x))
        else:
            grid.set_label(label, np.full(len(x), z), y, x)


def _group_by_plane(
    grid: LabelGrid, contours: list[Dataset], counts: _Counts
) -> dict[tuple[int, int], list[Matrix]]:
    """Return polygons in pixels by slice and by height, in units of `_SAME_PLANE_MM`."""
    planes: dict[tuple[int, int], list[Matrix]] = defaultdict(list)
    for contour in contours:
        points = _read_points(contour, counts)
        if points is None:
            continue
        heights = points @ grid.normal
        if np.ptp(heights) > OFF_PLANE * grid.step:
            counts.left_out["contours_off_plane"] += 1
            continue
        height = float(heights.mean())
        z, distance = grid.nearest_slice(height)
        if BETWEEN * grid.step < distance <= _HALF_STEP * grid.step:
            counts.moved_mm.append(distance)
        planes[z, round(height / _SAME_PLANE_MM)].append(grid.to_pixels(points, z))
    return planes


def _read_points(contour: Dataset, counts: _Counts) -> Matrix | None:
    """Return the points of a closed contour, one per row; count all other contours."""
    if read_text(contour, "ContourGeometricType") not in _CLOSED:
        counts.left_out["contours_not_closed"] += 1
        return None
    try:
        points = _contour_data(contour).reshape(-1, 3)
    except (KeyError, TypeError, ValueError):
        points = np.empty((0, 3))
    if len(points) < _MIN_POINTS or not np.isfinite(points).all():
        counts.left_out["unreadable_mask"] += 1
        return None
    return points


def _contour_data(contour: Dataset) -> Matrix:
    element = contour.get_item(_CONTOUR_DATA)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        # pydicom makes an object of each number, which takes most of the time of an RTSTRUCT.
        return np.array(element.value.strip(b" \0").split(b"\\"), dtype=np.float64)
    return np.array([float(each) for each in contour.ContourData], dtype=np.float64)


# --- Pixels inside polygons -----------------------------------------------------------------------


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
