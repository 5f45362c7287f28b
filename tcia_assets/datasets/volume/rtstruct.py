"""RTSTRUCT -> labels on the grid of the image.

What belongs here: contours, and which pixels lie in them. What does not: what the labels are
(`label_patterns.py`).

A pixel is labelled if its centre lies inside: on an edge, those to the left and above count as
inside. Contours of one ROI in one plane are holes of each other (even-odd, as keyholes ask for,
too). Each goes to its nearest slice, at most half a step away; those further away are outside of
the volume.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.attributes import first_item, read_int, read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_grid import LabelGrid

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
# Of the step between slices: what is further off lies between slices, or in no plane of theirs.
BETWEEN = 0.1
OFF_PLANE = 0.5
_HALF = 0.5 + 1e-6
_SAME_PLANE_MM = 0.01
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_LEAST_POINTS = 3
_CONTOUR_DATA = 0x3006_0050
# Finer than any contour is meant, coarser than what rounding leaves.
_PIXEL_DIGITS = 6


@dataclass
class _Tally:
    """What was not placed, or not where it lies."""

    between: int = 0
    farthest_mm: float = 0.0
    off_plane: int = 0
    not_closed: int = 0
    unreadable: int = 0


def put_contours(canvas: LabelGrid, header: Dataset) -> tuple[list[str], list[Finding]]:
    """Puts all ROIs that have a label; gives the names of the others, and what is amiss."""
    contours = {
        read_int(roi, "ReferencedROINumber", -1): roi.get("ContourSequence") or []
        for roi in header.get("ROIContourSequence") or []
    }
    tally, unmatched = _Tally(), []
    for roi in header.get("StructureSetROISequence") or []:
        name = read_text(roi, "ROIName")
        if label := canvas.targets.label_of(name):
            _put_roi(canvas, label, contours.get(read_int(roi, "ROINumber", -1), []), tally)
        else:
            unmatched.append(name)
    return unmatched, _findings(tally, read_text(header, "SOPInstanceUID"))


def frames_of_reference(header: Dataset) -> set[str]:
    """Those in which the ROIs lie."""
    rois = header.get("StructureSetROISequence") or []
    said = {read_text(roi, "ReferencedFrameOfReferenceUID") for roi in rois}
    first = first_item(header, "ReferencedFrameOfReferenceSequence") or header
    return said - {""} or {read_text(first, "FrameOfReferenceUID")} - {""}


def _put_roi(canvas: LabelGrid, label: int, contours: list[Dataset], tally: _Tally) -> None:
    planes: dict[tuple[int, int], list[Matrix]] = defaultdict(list)
    for contour in contours:
        points = _points(contour, tally)
        if points is None:
            continue
        heights = points @ canvas.normal
        if np.ptp(heights) > OFF_PLANE * canvas.step:
            tally.off_plane += 1
            continue
        height = float(heights.mean())
        place, distance = canvas.nearest(height)
        if BETWEEN * canvas.step < distance <= _HALF * canvas.step:
            tally.between += 1
            tally.farthest_mm = max(tally.farthest_mm, distance)
        planes[place, round(height / _SAME_PLANE_MM)].append(canvas.in_plane(points, place))
    for (place, level), polygons in sorted(planes.items(), key=lambda each: each[0]):
        y, x = _inside(polygons, canvas.shape[1:])
        distance = abs(level * _SAME_PLANE_MM - canvas.heights[place])
        if distance > _HALF * canvas.step + _SAME_PLANE_MM:
            canvas.fall_outside(len(x))
        else:
            canvas.put(label, np.full(len(x), place), y, x)


def _points(contour: Dataset, tally: _Tally) -> Matrix | None:
    """The points of a closed contour, one a row; None, and counted, for all else."""
    if read_text(contour, "ContourGeometricType") not in _CLOSED:
        tally.not_closed += 1
        return None
    try:
        points = _contour_data(contour).reshape(-1, 3)
    except (KeyError, TypeError, ValueError):
        tally.unreadable += 1
        return None
    if len(points) < _LEAST_POINTS or not np.isfinite(points).all():
        tally.unreadable += 1
        return None
    return points


def _contour_data(contour: Dataset) -> Matrix:
    element = contour.get_item(_CONTOUR_DATA)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        # pydicom would make a decimal object of each number.
        return np.array(element.value.strip(b" \0").split(b"\\"), dtype=np.float64)
    return np.array([float(each) for each in contour.ContourData], dtype=np.float64)


def _findings(tally: _Tally, uid: str) -> list[Finding]:
    found = []
    if tally.between:
        numbers = {"contours": tally.between, "farthest_mm": tally.farthest_mm}
        detail = f"{tally.between} contours, up to {tally.farthest_mm:.3f} mm"
        found.append(make_finding("contours_between_slices", detail, [uid], **numbers))
    for code, count in (
        ("contours_off_plane", tally.off_plane),
        ("contours_not_closed", tally.not_closed),
        ("unreadable_mask", tally.unreadable),
    ):
        if count:
            found.append(make_finding(code, f"{count} contours", [uid], contours=count))
    return found


# --- Which pixels lie inside ----------------------------------------------------------------------


def _inside(polygons: list[Matrix], shape: tuple[int, ...]) -> tuple[Voxels, Voxels]:
    """Row and column of each pixel inside, also outside of the image as far as it is large."""
    points = np.concatenate(polygons)
    size = np.array(shape[::-1])
    low = np.maximum(np.ceil(points.min(axis=0)), -size).astype(np.int64)
    high = np.minimum(np.floor(points.max(axis=0)), 2 * size).astype(np.int64)
    width, height = np.maximum(high - low + 1, 0).tolist()
    mask = even_odd([polygon - low for polygon in polygons], height, width)
    y, x = np.nonzero(mask)
    return y + low[1], x + low[0]


def even_odd(polygons: list[Matrix], rows: int, columns: int) -> Voxels:
    """The pixels, whose centres are whole x and y, inside an odd number of polygons.

    Args:
        polygons: the points of each, as x and y, one a row; the last is joined to the first.
        rows: of the image.
        columns: of the image.

    >>> even_odd([np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5], [0.5, 2.5]])], 3, 4).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    rounded = [np.round(polygon, _PIXEL_DIGITS) for polygon in polygons]
    x1, y1 = np.concatenate(rounded).T
    x2, y2 = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in rounded]).T
    # An edge crosses the rows from its upper end, that one included, to its lower, that one not.
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
