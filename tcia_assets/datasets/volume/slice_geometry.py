"""Order frames into the slices of one volume, and compute its affine, from headers alone.

Slices are sorted along the normal (the cross product of the two directions of
ImageOrientationPatient), so the x, y and z of a volume are always a right-handed system. The affine
divides the way from the first slice to the last evenly; findings report how far slices lie off that
grid or are shifted against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import Numbers
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame, Plane

# Largest differences that count as equal.
COSINES = 1e-3
POSITION_MM = 1e-3
SPACING_MM = 1e-4
# Fractions of the median step: larger steps mean a missing slice, larger errors an uneven one.
GAP = 1.5
UNEVEN = 0.1
TILT_DEGREES = 0.1
# Slices that are thicker than this many steps overlap.
OVERLAP = 1.5


@dataclass(frozen=True)
class SliceStack:
    """The slices of a volume in order; `affine_lps` maps (x, y, z, 1) to LPS millimetres."""

    frames: tuple[Frame, ...]
    affine_lps: Matrix


def select_frames(frames: Iterable[Frame]) -> tuple[list[Frame], list[Finding]]:
    """Return the largest group of frames with one orientation, size, spacing and reference.

    Args:
        frames: All frames of a Series, in any order.

    Returns:
        The frames, none if no frame has a position, and a finding for each kind of the others.
    """
    findings: list[Finding] = []
    placed: list[Frame] = []
    without_plane: list[Frame] = []
    for frame in frames:
        (without_plane if frame.plane is None else placed).append(frame)
    if without_plane:
        findings.append(_left_out("without_geometry", without_plane))
    for code, is_equal in _CRITERIA:
        placed, others = _largest_group(placed, is_equal)
        if others:
            findings.append(_left_out(code, others))
    return placed, findings


def stack_frames(frames: Sequence[Frame], *, least_slices: int) -> tuple[SliceStack, list[Finding]]:
    """Stack the frames of one volume.

    Args:
        frames: Some of those that `select_frames` returned, in any order; at least one.
        least_slices: Fewer slices give a finding.
    """
    findings: list[Finding] = []
    ordered, heights, duplicates = _sort_by_height(frames)
    if duplicates:
        findings.append(_left_out("duplicate_position", duplicates, positions=len(ordered)))
    if len(ordered) < least_slices:
        findings.append(make_finding("too_few_slices", slices=len(ordered), least=least_slices))
    affine = _affine_of(ordered)
    findings += _check_steps(ordered, heights, affine)
    return SliceStack(tuple(ordered), affine), findings


def heights_of(frames: Sequence[Frame]) -> dict[int, float]:
    """Return the height along the normal of each frame by its `id`, in mm.

    Frames at one place have the same height.
    """
    return {id(frame): height for height, level in _levels(frames) for frame in level}


def normal_of(plane: Plane) -> Matrix:
    """Return the unit vector along which slices are sorted."""
    normal = np.cross(plane.along_rows, plane.along_columns)
    return np.asarray(normal / np.linalg.norm(normal))


def plane_of(frame: Frame) -> Plane:
    """Return the plane of a frame in a stack, which always has one."""
    if frame.plane is None:
        raise ValueError(f"{frame.sop_instance_uid} has no plane")
    return frame.plane


# --- Groups ---------------------------------------------------------------------------------------

_IsEqual = Callable[[Frame, Frame], bool]


def _close(key: Callable[[Plane], Numbers], tolerance: float) -> _IsEqual:
    def is_equal(one: Frame, other: Frame) -> bool:
        pairs = zip(key(plane_of(one)), key(plane_of(other)), strict=True)
        return all(abs(a - b) <= tolerance for a, b in pairs)

    return is_equal


def _same(*attributes: str) -> _IsEqual:
    key = attrgetter(*attributes)
    return lambda one, other: key(one) == key(other)


_CRITERIA: tuple[tuple[str, _IsEqual], ...] = (
    ("mixed_orientation", _close(lambda plane: plane.along_rows + plane.along_columns, COSINES)),
    ("mixed_size", _same("rows", "columns")),
    ("mixed_spacing", _close(lambda plane: plane.spacing, SPACING_MM)),
    ("mixed_frame_of_reference", _same("frame_of_reference_uid")),
)


def _largest_group(frames: list[Frame], is_equal: _IsEqual) -> tuple[list[Frame], list[Frame]]:
    """Return the largest group of equal frames, and all others.

    Of groups of the same size, the one with the lowest SOPInstanceUID is returned.
    """
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: (frame.sop_instance_uid, frame.index)):
        for group in groups:
            if is_equal(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    if not groups:
        return [], []
    largest = max(groups, key=len)
    return largest, [frame for group in groups if group is not largest for frame in group]


def _left_out(code: str, frames: list[Frame], **numbers: float) -> Finding:
    uids = {frame.sop_instance_uid for frame in frames}
    return make_finding(code, "", uids, slices=len(frames), **numbers)


# --- Order ----------------------------------------------------------------------------------------


def _levels(frames: Sequence[Frame]) -> list[tuple[float, list[Frame]]]:
    """Return the frames at each height along the normal, in order."""
    normal = normal_of(plane_of(frames[0]))
    heights = {id(frame): float(np.dot(normal, plane_of(frame).position)) for frame in frames}
    levels: list[tuple[float, list[Frame]]] = []
    for frame in sorted(frames, key=lambda frame: heights[id(frame)]):
        if levels and heights[id(frame)] - levels[-1][0] <= POSITION_MM:
            levels[-1][1].append(frame)
        else:
            levels.append((heights[id(frame)], [frame]))
    return levels


def _sort_by_height(frames: Sequence[Frame]) -> tuple[list[Frame], Matrix, list[Frame]]:
    """Return one frame per height along the normal, these heights in mm, and duplicates."""
    normal = normal_of(plane_of(frames[0]))
    ordered, duplicates = [], []
    for _, level in _levels(frames):
        first, *others = sorted(level, key=lambda frame: (frame.order, frame.sop_instance_uid))
        ordered.append(first)
        duplicates += others
    heights = [float(np.dot(normal, plane_of(frame).position)) for frame in ordered]
    return ordered, np.array(heights), duplicates


def _affine_of(ordered: Sequence[Frame]) -> Matrix:
    first, last = plane_of(ordered[0]), plane_of(ordered[-1])
    affine = np.eye(4)
    affine[:3, 0] = first.to_column
    affine[:3, 1] = first.to_row
    affine[:3, 3] = first.position
    if len(ordered) > 1:
        affine[:3, 2] = np.subtract(last.position, first.position) / (len(ordered) - 1)
    else:
        affine[:3, 2] = normal_of(first) * (ordered[0].declared_step or ordered[0].thickness or 1.0)
    return affine


# --- Findings about the steps ---------------------------------------------------------------------


def _check_steps(ordered: Sequence[Frame], heights: Matrix, affine: Matrix) -> Iterator[Finding]:
    if len(ordered) > 1:
        steps = np.diff(heights)
        yield from _find_gaps(steps)
        yield from _find_uneven(ordered, steps, affine)
        yield from _find_tilt(heights, affine)
        yield from _find_overlap(ordered, heights)


def _find_gaps(steps: Matrix) -> Iterator[Finding]:
    median = float(np.median(steps))
    gaps = steps[steps > GAP * median]
    if len(gaps):
        largest = float(gaps.max())
        yield make_finding(
            "missing_slice",
            f"{len(gaps)} gaps up to {largest:.3f} mm; the median is {median:.3f} mm",
            gaps=len(gaps),
            missing=int(np.sum(np.rint(gaps / median) - 1)),
            largest_step_mm=largest,
            median_step_mm=median,
        )


def _find_uneven(ordered: Sequence[Frame], steps: Matrix, affine: Matrix) -> Iterator[Finding]:
    """Report slices off an even grid, in which some may be missing, or off a straight line."""
    median = float(np.median(steps))
    numbers = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(steps / median), 1))])
    positions = np.array([plane_of(frame).position for frame in ordered])
    even = positions[0] + np.outer(numbers / numbers[-1], positions[-1] - positions[0])
    normal = normal_of(plane_of(ordered[0]))
    errors = positions - even
    off_grid = float(np.abs(errors @ normal).max())
    across = errors - np.outer(errors @ normal, normal)
    off_line = float(np.linalg.norm(across, axis=1).max())
    pixel = float(np.linalg.norm(affine[:3, :2], axis=0).min())
    if off_grid > UNEVEN * median or off_line > UNEVEN * pixel:
        yield make_finding(
            "uneven_spacing",
            f"up to {off_grid:.3f} mm along the normal, {off_line:.3f} mm across it",
            off_grid_mm=off_grid,
            off_line_mm=off_line,
            smallest_step_mm=float(steps.min()),
            largest_step_mm=float(steps.max()),
            median_step_mm=median,
        )


def _find_tilt(heights: Matrix, affine: Matrix) -> Iterator[Finding]:
    step = affine[:3, 2]
    rise = (heights[-1] - heights[0]) / (len(heights) - 1)
    shift = float(np.sqrt(max(float(step @ step) - rise * rise, 0.0)))
    degrees = float(np.degrees(np.arctan2(shift, rise)))
    if degrees > TILT_DEGREES:
        numbers = {"degrees": degrees, "shift_mm_per_slice": shift}
        yield make_finding("gantry_tilt", f"{degrees:.2f} degrees", **numbers)


def _find_overlap(ordered: Sequence[Frame], heights: Matrix) -> Iterator[Finding]:
    """Report slices that are closer than they are thick, unless that distance is declared.

    They may be of two acquisitions, half a step apart. Numbers that do not follow the positions
    make it likely.
    """
    step = float(heights[-1] - heights[0]) / (len(heights) - 1)
    thickness = float(np.median([frame.thickness or frame.declared_step for frame in ordered]))
    declared = float(np.median([frame.declared_step for frame in ordered]))
    if thickness < OVERLAP * step or abs(declared - step) <= UNEVEN * step:
        return
    numbers = [frame.number for frame in ordered]
    is_in_order = len(set(numbers)) == len(numbers) and sorted(numbers) in (numbers, numbers[::-1])
    yield make_finding(
        "overlapping_slices" if is_in_order else "interleaved_slices",
        f"they are {thickness:.3f} mm thick, in steps of {step:.3f} mm",
        thickness_mm=thickness,
        step_mm=step,
    )
