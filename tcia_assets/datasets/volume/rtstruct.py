"""Set labels from the contours of RTSTRUCT objects.

A pixel has a label if its centre is inside. Contours of one ROI in one plane are holes of each
other (the even-odd rule, which keyhole contours need too). Each contour goes to its nearest slice,
at most half a step away; contours that are farther away lie outside the volume.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import first_item, read_int, read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_grid import LabelGrid
from tcia_assets.datasets.volume.polygons import pixels_inside

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
# Fractions of the step between slices: a contour farther from its slice lies between slices, a
# contour whose points differ more in height is not parallel to the slices.
BETWEEN = 0.1
OFF_PLANE = 0.5
_HALF_STEP = 0.5 + 1e-6
_SAME_PLANE_MM = 0.01
_CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
_MIN_POINTS = 3
_CONTOUR_DATA = 0x3006_0050


@dataclass
class _Counts:
    """Contours that were moved to a slice or left out."""

    between: int = 0
    farthest_mm: float = 0.0
    off_plane: int = 0
    not_closed: int = 0
    unreadable: int = 0

    def add_between(self, distance_mm: float) -> None:
        self.between += 1
        self.farthest_mm = max(self.farthest_mm, distance_mm)

    def findings(self, uid: str) -> list[Finding]:
        findings = []
        if self.between:
            numbers = {"contours": self.between, "farthest_mm": self.farthest_mm}
            detail = f"{self.between} contours, up to {self.farthest_mm:.3f} mm"
            findings.append(make_finding("contours_between_slices", detail, [uid], **numbers))
        for code, count in (
            ("contours_off_plane", self.off_plane),
            ("contours_not_closed", self.not_closed),
            ("unreadable_mask", self.unreadable),
        ):
            if count:
                findings.append(make_finding(code, f"{count} contours", [uid], contours=count))
        return findings


def set_rois(grid: LabelGrid, header: Dataset) -> tuple[list[str], list[Finding]]:
    """Set all ROIs that match a label.

    Args:
        grid: The labels of the volume, which this adds to.
        header: A whole RTSTRUCT.

    Returns:
        The names of ROIs without a label, and findings.
    """
    contours = {
        read_int(roi, "ReferencedROINumber", -1): roi.get("ContourSequence") or []
        for roi in header.get("ROIContourSequence") or []
    }
    counts, unmatched = _Counts(), []
    for roi in header.get("StructureSetROISequence") or []:
        name = read_text(roi, "ROIName")
        if label := grid.patterns.label_of(name):
            _set_roi(grid, label, contours.get(read_int(roi, "ROINumber", -1), []), counts)
        else:
            unmatched.append(name)
    return unmatched, counts.findings(read_text(header, "SOPInstanceUID"))


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
            counts.off_plane += 1
            continue
        height = float(heights.mean())
        z, distance = grid.nearest_slice(height)
        if BETWEEN * grid.step < distance <= _HALF_STEP * grid.step:
            counts.add_between(distance)
        planes[z, round(height / _SAME_PLANE_MM)].append(grid.to_pixels(points, z))
    return planes


def _read_points(contour: Dataset, counts: _Counts) -> Matrix | None:
    """Return the points of a closed contour, one per row; count all other contours."""
    if read_text(contour, "ContourGeometricType") not in _CLOSED:
        counts.not_closed += 1
        return None
    try:
        points = _contour_data(contour).reshape(-1, 3)
    except (KeyError, TypeError, ValueError):
        counts.unreadable += 1
        return None
    if len(points) < _MIN_POINTS or not np.isfinite(points).all():
        counts.unreadable += 1
        return None
    return points


def _contour_data(contour: Dataset) -> Matrix:
    element = contour.get_item(_CONTOUR_DATA)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        # pydicom makes an object of each number, which takes most of the time of an RTSTRUCT.
        return np.array(element.value.strip(b" \0").split(b"\\"), dtype=np.float64)
    return np.array([float(each) for each in contour.ContourData], dtype=np.float64)
