"""Draw the ROIs of RTSTRUCT objects.

Contours of one ROI in one plane are holes or islands of each other, or are united: see
`polygons.py`. Each plane goes to its nearest slice, at most half a step away; planes that are
farther away lie outside the volume.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import first_item, read_int, read_moment, read_text
from tcia_assets.datasets.volume.drawings import DrawingPad, Source
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_grid import LabelGrid
from tcia_assets.datasets.volume.label_references import references_of_contour, select_own
from tcia_assets.datasets.volume.polygons import pixels_inside

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
# Fractions of the step between slices.
SAME_PLANE = 0.05  # contours closer in height are in one plane
BETWEEN = 0.1  # a contour farther from its slice lies between slices
OFF_PLANE = 0.5  # a contour whose points differ more in height is not parallel to the slices
_HALF_STEP = 0.5 + 1e-3  # a contour farther from all slices is outside the volume
_XOR = "CLOSEDPLANAR_XOR"
_CLOSED = frozenset({"CLOSED_PLANAR", _XOR})
_MIN_POINTS = 3
_LEFT_OUT = ("contours_off_plane", "contours_not_closed", "unreadable_mask")
_CONTOUR_DATA = 0x3006_0050


@dataclass
class _Counts:
    """What was found about the contours of an object.

    Attributes:
        moved_mm: How far contours were moved to a slice.
        pixels: For each code of finding, the pixels concerned in each plane that has some.
        left_out: How many contours were left out, by code of finding.
    """

    moved_mm: list[float] = field(default_factory=list)
    pixels: dict[str, list[int]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add_pixels(self, code: str, pixels: int) -> None:
        if pixels:
            self.pixels.setdefault(code, []).append(pixels)

    def findings(self, uid: str) -> Iterator[Finding]:
        if self.moved_mm:
            numbers = {"contours": len(self.moved_mm), "farthest_mm": max(self.moved_mm)}
            detail = f"{len(self.moved_mm)} contours, up to {max(self.moved_mm):.3f} mm"
            yield make_finding("contours_between_slices", detail, [uid], **numbers)
        for code, by_plane in self.pixels.items():
            numbers = {"planes": len(by_plane), "pixels": sum(by_plane)}
            detail = f"in {numbers['planes']} planes, over {numbers['pixels']} pixels"
            yield make_finding(code, detail, [uid], **numbers)
        for code in _LEFT_OUT:
            if count := self.left_out[code]:
                yield make_finding(code, f"{count} contours", [uid], contours=count)


def set_rois(grid: LabelGrid, header: Dataset) -> None:
    """Draw all ROIs that match a label.

    Args:
        grid: Of the volume; this adds drawings to it.
        header: A whole RTSTRUCT.
    """
    contours: dict[int, list[Dataset]] = defaultdict(list)
    for item in header.get("ROIContourSequence") or []:
        # Some writers divide the contours of an ROI between several items.
        contours[read_int(item, "ReferencedROINumber", -1)] += item.get("ContourSequence") or []
    counts = _Counts()
    source = Source(read_text(header, "SOPInstanceUID"), read_moment(header, "StructureSet"))
    rois = [
        (read_int(roi, "ROINumber", -1), read_text(roi, "ROIName"))
        for roi in header.get("StructureSetROISequence") or []
    ]
    # Numbers that are shifted against each other would give each ROI the contours of another.
    unknown = contours.keys() - {number for number, _ in rois}
    counts.left_out["unreadable_mask"] += sum(len(contours[number]) for number in unknown)
    matched = grid.match_names(rois, source.sop_instance_uid)
    drawn = [(number, contour) for number in matched for contour in contours[number]]
    own, findings = select_own(
        grid.volume, drawn, lambda each: references_of_contour(each[1]), source.sop_instance_uid
    )
    grid.findings += findings
    for number, (label, name) in matched.items():
        pad = _draw_roi(grid, [contour for n, contour in own if n == number], counts)
        grid.add_drawing(pad.finish(label, name, source, number))
    grid.findings += counts.findings(source.sop_instance_uid)


def frames_of_reference(header: Dataset) -> set[str]:
    """Return the frames of reference of the ROIs; without any, that of the object."""
    rois = header.get("StructureSetROISequence") or []
    uids = {read_text(roi, "ReferencedFrameOfReferenceUID") for roi in rois} - {""}
    first = first_item(header, "ReferencedFrameOfReferenceSequence") or header
    return uids or {read_text(first, "FrameOfReferenceUID")} - {""}


@dataclass(frozen=True, eq=False)
class _Contour:
    points: Matrix
    height: float
    is_xor: bool


def _draw_roi(grid: LabelGrid, contours: list[Dataset], counts: _Counts) -> DrawingPad:
    pad = DrawingPad(grid.shape)
    drawn: set[int] = set()
    for plane in _group_by_plane(grid, contours, counts):
        z, distance = grid.nearest_slice(plane[0].height)
        polygons = [grid.to_pixels(contour.points, z) for contour in plane]
        is_xor = any(contour.is_xor for contour in plane)
        pixels = pixels_inside(polygons, grid.shape[1:], is_xor=is_xor)
        counts.add_pixels("overlapping_contours", pixels.overlapping_pixels)
        counts.add_pixels("thin_walls", pixels.thin_walled_pixels)
        if distance > _HALF_STEP * grid.step:
            grid.count_outside(len(pixels.rows))
            continue
        if distance > BETWEEN * grid.step or z in drawn:
            counts.moved_mm += [distance] * len(plane)
        drawn.add(z)
        pad.add_plane(0, z)
        grid.add_voxels(pad, np.full(len(pixels.rows), z), pixels.rows, pixels.columns)
    return pad


def _group_by_plane(
    grid: LabelGrid, contours: list[Dataset], counts: _Counts
) -> list[list[_Contour]]:
    """Return the contours of each plane, from the lowest plane to the highest.

    The heights of contours in one plane differ by rounding errors. They are compared with each
    other and not rounded: a limit of rounding may fall between an outline and its hole.
    """
    planes: list[list[_Contour]] = []
    for contour in sorted(_read_contours(grid, contours, counts), key=attrgetter("height")):
        if planes and contour.height - planes[-1][0].height <= SAME_PLANE * grid.step:
            planes[-1].append(contour)
        else:
            planes.append([contour])
    return planes


def _read_contours(grid: LabelGrid, contours: list[Dataset], counts: _Counts) -> Iterator[_Contour]:
    for contour in contours:
        points = _read_points(contour, counts)
        if points is None:
            continue
        heights = points @ grid.normal
        if np.ptp(heights) > OFF_PLANE * grid.step:
            counts.left_out["contours_off_plane"] += 1
            continue
        is_xor = read_text(contour, "ContourGeometricType") == _XOR
        yield _Contour(points, float(heights.mean()), is_xor)


def _read_points(contour: Dataset, counts: _Counts) -> Matrix | None:
    """Return the points of a closed contour, one per row; count all other contours."""
    if read_text(contour, "ContourGeometricType") not in _CLOSED:
        counts.left_out["contours_not_closed"] += 1
        return None
    try:
        points = _contour_data(contour).reshape(-1, 3)
    except (KeyError, TypeError, ValueError):
        points = np.empty((0, 3))
    # Explicit VR cannot hold more than 64 KiB: some writers cut contours off.
    declared = read_int(contour, "NumberOfContourPoints", 0)
    if len(points) < max(_MIN_POINTS, declared) or not np.isfinite(points).all():
        counts.left_out["unreadable_mask"] += 1
        return None
    return points


def _contour_data(contour: Dataset) -> Matrix:
    element = contour.get_item(_CONTOUR_DATA)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        # pydicom makes an object of each number, which takes most of the time of an RTSTRUCT.
        return np.array(element.value.strip(b" \0").split(b"\\"), dtype=np.float64)
    return np.array([float(each) for each in contour.ContourData], dtype=np.float64)
