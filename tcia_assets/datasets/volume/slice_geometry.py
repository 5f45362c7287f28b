"""Frames -> the slices of one volume in their order, its affine, and what is amiss with them.

What belongs here: geometry, from headers alone. What does not: pixels.

Slices are sorted by their position along the normal (the cross product of the two directions of
ImageOrientationPatient), so that x, y and z of a volume always make a right-handed system. The
affine takes the step from the first slice to the last, divided evenly: where slices lie off that
grid, or are shifted against each other, a finding says how far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import Numbers
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame, Plane

# The largest difference of two cosines, and of two millimetres, that count as one.
COSINES = 1e-3
MILLIMETRES = 1e-3
SPACING_MM = 1e-4
# Of the median step: beyond the first a slice is missing, beyond the second it is off the grid.
GAP = 1.5
UNEVEN = 0.1
TILT_DEGREES = 0.1


@dataclass(frozen=True)
class Stack:
    """The slices of a volume in their order; `affine_lps` takes x, y, z to LPS millimetres."""

    frames: tuple[Frame, ...]
    affine_lps: Matrix


def stacked(frames: Sequence[Frame], *, least_slices: int) -> tuple[Stack | None, list[Finding]]:
    """The largest group of frames that make one volume; None where there is none at all."""
    placed = [frame for frame in frames if frame.plane is not None]
    found: list[Finding] = []
    if lost := [frame for frame in frames if frame.plane is None]:
        found.append(_left_out("without_geometry", lost))
    for code, is_same in _ALIKE:
        placed, others = _largest(placed, is_same)
        if others:
            found.append(_left_out(code, others))
    if not placed:
        return None, [*found, make_finding("no_slices", slices=0)]
    ordered, heights, doubles = _ordered(placed)
    if doubles:
        found.append(_left_out("duplicate_position", doubles, positions=len(ordered)))
    if len(ordered) < least_slices:
        found.append(make_finding("too_few_slices", slices=len(ordered), least=least_slices))
    affine = _affine(ordered)
    return Stack(tuple(ordered), affine), found + _steps(ordered, heights, affine)


def normal(plane: Plane) -> Matrix:
    """The unit vector along which slices are sorted."""
    across = np.cross(plane.along_rows, plane.along_columns)
    return np.asarray(across / np.linalg.norm(across))


def plane_of(frame: Frame) -> Plane:
    """The plane of a frame that has one: one of a stack."""
    if frame.plane is None:
        raise ValueError(f"{frame.sop_instance_uid} has no plane")
    return frame.plane


# --- Which belong together ------------------------------------------------------------------------

_Same = Callable[[Frame, Frame], bool]


def _close(key: Callable[[Frame], Numbers], tolerance: float) -> _Same:
    def is_same(one: Frame, other: Frame) -> bool:
        return all(abs(a - b) <= tolerance for a, b in zip(key(one), key(other), strict=True))

    return is_same


def _cosines(frame: Frame) -> Numbers:
    return plane_of(frame).along_rows + plane_of(frame).along_columns


_ALIKE: tuple[tuple[str, _Same], ...] = (
    ("mixed_orientation", _close(_cosines, COSINES)),
    ("mixed_size", lambda one, other: (one.rows, one.columns) == (other.rows, other.columns)),
    ("mixed_spacing", _close(lambda frame: plane_of(frame).spacing, SPACING_MM)),
    (
        "mixed_frame_of_reference",
        lambda one, other: one.frame_of_reference_uid == other.frame_of_reference_uid,
    ),
)


def _largest(frames: list[Frame], is_same: _Same) -> tuple[list[Frame], list[Frame]]:
    """The largest group of frames that are the same, and the others.

    Of two as large, it is that with the lowest SOPInstanceUID.
    """
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: (frame.sop_instance_uid, frame.index)):
        for group in groups:
            if is_same(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    if not groups:
        return [], []
    most = max(groups, key=len)
    return most, [frame for group in groups if group is not most for frame in group]


def _left_out(code: str, frames: list[Frame], **more: float) -> Finding:
    uids = {frame.sop_instance_uid for frame in frames}
    return make_finding(code, "", uids, slices=len(frames), **more)


# --- Their order ----------------------------------------------------------------------------------


def _ordered(frames: list[Frame]) -> tuple[list[Frame], Matrix, list[Frame]]:
    """Slices by height along the normal, these heights, and those at a place that is taken."""
    along = normal(plane_of(frames[0]))
    heights = {id(frame): float(np.dot(along, plane_of(frame).position)) for frame in frames}
    places: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: heights[id(frame)]):
        if places and heights[id(frame)] - heights[id(places[-1][0])] <= MILLIMETRES:
            places[-1].append(frame)
        else:
            places.append([frame])
    ordered, doubles = [], []
    for place in places:
        first, *others = sorted(place, key=lambda frame: (frame.order, frame.sop_instance_uid))
        ordered.append(first)
        doubles += others
    return ordered, np.array([heights[id(frame)] for frame in ordered]), doubles


def _affine(ordered: Sequence[Frame]) -> Matrix:
    first, last = plane_of(ordered[0]), plane_of(ordered[-1])
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.along_rows, first.spacing[0])
    affine[:3, 1] = np.multiply(first.along_columns, first.spacing[1])
    affine[:3, 3] = first.position
    if len(ordered) > 1:
        affine[:3, 2] = np.subtract(last.position, first.position) / (len(ordered) - 1)
    else:
        affine[:3, 2] = normal(first) * (ordered[0].thickness or 1.0)
    return affine


# --- How they lie ---------------------------------------------------------------------------------


def _steps(ordered: Sequence[Frame], heights: Matrix, affine: Matrix) -> list[Finding]:
    if len(ordered) < 2:  # noqa: PLR2004 - a step needs two
        return []
    found = []
    steps = np.diff(heights)
    median = float(np.median(steps))
    gaps = steps[steps > GAP * median]
    if len(gaps):
        missing = int(np.sum(np.rint(gaps / median) - 1))
        largest = float(gaps.max())
        detail = f"{len(gaps)} gaps up to {largest:.3f} mm, where {median:.3f} mm are usual"
        found.append(
            make_finding(
                "missing_slice",
                detail,
                gaps=len(gaps),
                missing=missing,
                largest_step_mm=largest,
                median_step_mm=median,
            )
        )
    return found + _uneven(ordered, steps, median, affine) + _tilt(heights, affine)


def _uneven(
    ordered: Sequence[Frame], steps: Matrix, median: float, affine: Matrix
) -> list[Finding]:
    """Whether slices lie off an even grid, in which some may be missing, or off a straight line."""
    places = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(steps / median), 1))])
    positions = np.array([plane_of(frame).position for frame in ordered])
    even = positions[0] + np.outer(places / places[-1], positions[-1] - positions[0])
    along = normal(plane_of(ordered[0]))
    off = positions - even
    off_grid = np.abs(off @ along)
    off_line = np.linalg.norm(off - np.outer(off @ along, along), axis=1)
    pixel = float(np.linalg.norm(affine[:3, :2], axis=0).min())
    if off_grid.max() <= UNEVEN * median and off_line.max() <= UNEVEN * pixel:
        return []
    detail = f"up to {off_grid.max():.3f} mm along the normal, {off_line.max():.3f} mm across it"
    return [
        make_finding(
            "uneven_spacing",
            detail,
            off_grid_mm=float(off_grid.max()),
            off_line_mm=float(off_line.max()),
            smallest_step_mm=float(steps.min()),
            largest_step_mm=float(steps.max()),
            median_step_mm=median,
        )
    ]


def _tilt(heights: Matrix, affine: Matrix) -> list[Finding]:
    step = affine[:3, 2]
    rise = (heights[-1] - heights[0]) / (len(heights) - 1)
    across = float(np.sqrt(max(float(step @ step) - rise * rise, 0.0)))
    degrees = float(np.degrees(np.arctan2(across, rise)))
    if degrees <= TILT_DEGREES:
        return []
    return [
        make_finding(
            "gantry_tilt", f"{degrees:.2f} degrees", degrees=degrees, shift_mm_per_slice=across
        )
    ]
