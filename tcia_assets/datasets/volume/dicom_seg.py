"""Draw the segments of DICOM SEG objects: binary, fractional and label maps.

A frame may be rotated or flipped against the image, and may be in one of its orthogonal planes. It
must lie on the image's grid, to a tenth of a voxel at each corner; frames are not resampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_int,
    read_moment,
    read_number,
    read_text,
)
from tcia_assets.datasets.volume.drawings import Drawing, DrawingPad, Source
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import FunctionalGroups, Plane
from tcia_assets.datasets.volume.label_grid import LabelGrid
from tcia_assets.datasets.volume.label_references import (
    References,
    references_of_frame,
    select_own,
)
from tcia_assets.datasets.volume.seg_pixels import SegPixels, UnreadableFrame
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip

SOP_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}  # and label maps
)
_LABEL_MAP = "LABELMAP"
# In voxels, at the worst corner of a frame.
TOLERANCE = 0.1
# A frame that is thicker than so many slices covers more than one.
THICK = 1.5
_HALF = 0.5


@dataclass
class _Failures:
    """Frames that were left out: their distances from the grid in voxels, or the reasons."""

    off_grid: list[float] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def findings(self, uid: str) -> Iterator[Finding]:
        if self.off_grid:
            detail = f"{len(self.off_grid)} frames, up to {max(self.off_grid):.2f} voxels off"
            numbers = {"frames": len(self.off_grid), "farthest_voxels": max(self.off_grid)}
            yield make_finding("frames_off_grid", detail, [uid], **numbers)
        if self.unreadable:
            count = len(self.unreadable)
            detail = f"{count} frames, {self.unreadable[-1]}"
            yield make_finding("unreadable_mask", detail, [uid], frames=count)


def set_segments(grid: LabelGrid, series_zip: SeriesZip, dicom_object: DicomObject) -> None:
    """Draw all segments that match a label; of a fractional SEG, from half of its maximum on.

    Args:
        grid: Of the volume; this adds drawings to it.
        series_zip: The zip of the object.
        dicom_object: A SEG.

    Raises:
        MissingExtra: The pixels need a decoder that is not installed.
        BadArchive: The zip is damaged.
    """
    header = dicom_object.header
    segments = _match_segments(grid, header)
    pads = {number: DrawingPad(grid.shape) for number in segments}
    is_label_map = read_text(header, "SegmentationType") == _LABEL_MAP
    threshold = _threshold(header)
    failures = _Failures()
    reader = SegPixels(series_zip, dicom_object)
    frames = _Frames()
    uid = read_text(header, "SOPInstanceUID")
    planes = list(_planes(header))
    without_plane = read_int(header, "NumberOfFrames", len(planes)) - len(planes)
    failures.unreadable += ["which have no functional groups"] * without_plane
    declared = {read_int(item, "SegmentNumber", 0) for item in header.get("SegmentSequence") or []}
    if not is_label_map:
        # Numbers that are shifted against each other would give each segment the frames of another.
        unknown = [each for each in planes if each.segment not in declared]
        failures.unreadable += ["of a segment that is not declared"] * len(unknown)
    matched = [each for each in planes if is_label_map or each.segment in segments]
    own, findings = select_own(grid.volume, matched, lambda each: each.references, uid)
    grid.findings += findings
    for each in own:
        try:
            placement = _place(grid, each.plane, reader.rows, reader.columns)
            if placement.error > TOLERANCE:
                failures.off_grid.append(placement.error)
                continue
            image = reader.read(each.number)
        except UnreadableFrame as error:
            failures.unreadable.append(str(error))
            continue
        frames.add(placement, each.thickness)
        if is_label_map:
            for number, pad in pads.items():
                _draw(grid, pad, image == number, placement)
        else:
            _draw(grid, pads[each.segment], image >= threshold, placement)
    source = Source(uid, read_moment(header, "Content"))
    drawings = [
        pads[number].finish(label, name, source, number)
        for number, (label, name) in segments.items()
    ]
    for drawing in drawings:
        grid.add_drawing(drawing)
    grid.findings += failures.findings(uid)
    grid.findings += frames.findings(grid, [drawing for drawing in drawings if drawing is not None])


def _threshold(header: Dataset) -> float:
    """Return the lowest value that belongs to a segment."""
    if read_text(header, "SegmentationType") != "FRACTIONAL":
        return 1
    highest = read_number(header, "MaximumFractionalValue") or float(np.iinfo(np.uint8).max)
    return _HALF * highest


def _match_segments(grid: LabelGrid, header: Dataset) -> dict[int, tuple[int, str]]:
    """Return labels and names by segment number."""
    segments = [
        (read_int(segment, "SegmentNumber", 0), segment_name(segment))
        for segment in header.get("SegmentSequence") or []
    ]
    if read_text(header, "SegmentationType") == _LABEL_MAP:
        # Number 0 is the background.
        segments = [(number, name) for number, name in segments if number]
    return grid.match_names(segments, read_text(header, "SOPInstanceUID"))


def segment_name(segment: Dataset) -> str:
    """Return SegmentLabel; if empty, SegmentDescription; if empty, the meaning of its type."""
    kind = first_item(segment, "SegmentedPropertyTypeCodeSequence") or Dataset()
    return (
        read_text(segment, "SegmentLabel")
        or read_text(segment, "SegmentDescription")
        or read_text(kind, "CodeMeaning")
    )


class _FramePlane(NamedTuple):
    """A frame: its number in the pixels, and its thickness in mm, 0.0 if it is unknown."""

    number: int
    plane: Plane | None
    thickness: float
    segment: int
    groups: FunctionalGroups

    @property
    def references(self) -> References:
        return references_of_frame(self.groups)


def _planes(header: Dataset) -> Iterator[_FramePlane]:
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    for number, own in enumerate(header.get("PerFrameFunctionalGroupsSequence") or []):
        groups = FunctionalGroups(header, shared, own)
        segment = groups.holder("SegmentIdentificationSequence")
        measures = groups.holder("PixelMeasuresSequence")
        # Frames may overlap: then the distance of their centres is what each one stands for.
        step = read_number(measures, "SpacingBetweenSlices")
        yield _FramePlane(
            number,
            groups.plane(is_alone=False),
            abs(step or read_number(measures, "SliceThickness") or 0.0),
            read_int(segment, "ReferencedSegmentNumber", 0),
            groups,
        )


# --- Placement ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placement:
    """The voxel (x, y, z) of a frame's first pixel, and the steps to the next column and row.

    `error` is the distance, in voxels, between the worst corner and its rounded voxel.
    """

    first: Voxels
    to_column: Voxels
    to_row: Voxels
    error: float

    @property
    def across(self) -> int:
        """Of x, y and z, the axis across the frame."""
        return int(np.argmin(np.abs(self.to_column) + np.abs(self.to_row)))


@dataclass
class _Frames:
    """The planes of the frames of an object, as axis and position, and their thickness in mm."""

    planes: set[tuple[int, int]] = field(default_factory=set)
    thickness: float = 0.0

    def add(self, placement: _Placement, thickness: float) -> None:
        across = placement.across
        self.planes.add((2 - across, int(placement.first[across])))
        self.thickness = max(self.thickness, thickness)

    def findings(self, grid: LabelGrid, drawings: Sequence[Drawing]) -> Iterator[Finding]:
        """Yield a finding if drawings are in one plane only, and frames cover several slices.

        Of several planes, `label_gaps.py` finds what is between them.
        """
        steps = (grid.step, *(float(np.linalg.norm(way)) for way in (grid.to_row, grid.to_column)))
        if any((axis, position + 1) in self.planes for axis, position in self.planes):
            return
        thick = [
            each
            for each in drawings
            if each.axis is not None
            and each.box[each.axis].stop - each.box[each.axis].start == 1
            and self.thickness > THICK * steps[each.axis]
        ]
        if thick:
            names = ", ".join(sorted(repr(drawing.name) for drawing in thick))
            detail = f"{self.thickness:.3f} mm, of {names}"
            uids = [drawing.source.sop_instance_uid for drawing in thick]
            numbers = {"structures": len(thick), "thickness_mm": self.thickness}
            yield make_finding("thick_frames", detail, uids, **numbers)


def _place(grid: LabelGrid, plane: Plane | None, rows: int, columns: int) -> _Placement:
    if plane is None:
        raise UnreadableFrame("frames have no position")
    linear = np.linalg.inv(grid.affine[:3, :3])
    steps = linear @ np.stack([plane.to_column, plane.to_row], axis=1)
    whole_steps = np.rint(steps)
    position = np.array(plane.position)
    first = linear @ (position - grid.affine[:3, 3])
    if not whole_steps[2].any():
        # The slices' own positions are right where they are uneven or shifted.
        first = _in_nearest_slice(grid, position)
    drift = np.abs(steps - whole_steps) @ np.array([columns - 1.0, rows - 1.0])
    error = float((np.abs(first - np.rint(first)) + drift).max())
    if sorted(np.abs(whole_steps).sum(axis=1)) != [0, 1, 1]:
        # Not along axes of the image, or pixels that are larger or smaller than voxels.
        error = max(error, 1.0)
    to_column, to_row = whole_steps.T.astype(np.int64)
    return _Placement(np.rint(first).astype(np.int64), to_column, to_row, error)


def _in_nearest_slice(grid: LabelGrid, position: Matrix) -> Matrix:
    """Return voxel coordinates by the nearest slice; the grid continues beyond its ends."""
    height = float(position @ grid.normal)
    z, _ = grid.nearest_slice(height)
    x, y = grid.to_pixels(position[None], z)[0]
    return np.array([x, y, z + (height - grid.heights[z]) / grid.step])


def _draw(grid: LabelGrid, pad: DrawingPad, mask: Voxels, placement: _Placement) -> None:
    pad.add_plane(2 - placement.across, int(placement.first[placement.across]))
    row, column = np.nonzero(mask)
    x, y, z = (
        placement.first[axis] + column * placement.to_column[axis] + row * placement.to_row[axis]
        for axis in range(3)
    )
    grid.add_voxels(pad, z, y, x)
