"""Order frames into the slices of one volume, and compute its affine, from headers alone.

Slices are sorted along the normal (the cross product of the two directions of
ImageOrientationPatient), so the x, y and z of a volume are always a right-handed system. The affine
divides the way from the first slice to the last evenly; findings (`slice_steps.py`) report how far
slices lie off that grid or are shifted against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import Numbers
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame, Plane, normal_of, plane_of
from tcia_assets.datasets.volume.slice_steps import check_steps

# Largest differences that count as equal.
COSINES = 1e-3
POSITION_MM = 1e-3
SPACING_MM = 1e-4

# Of slices that are left out, those turned by less belong to the volume, and so do as many as this
# part of all. A localizer is neither.
_SMALL_ANGLE = 30.0
_MANY = 0.25


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
    left_out: list[Frame] = []
    placed, foreign = _largest_group(placed, _same("kind"))
    if foreign:
        findings.append(_left_out("foreign_objects", foreign))
    for code, is_equal in _CRITERIA:
        placed, others = _largest_group(placed, is_equal)
        if others:
            findings.append(_left_out(code, others))
            left_out += others
    return placed, [*findings, *_find_incomplete(placed, left_out)]


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
    findings += check_steps(ordered, heights, affine)
    return SliceStack(tuple(ordered), affine), findings


def heights_of(frames: Sequence[Frame]) -> dict[int, float]:
    """Return the height along the normal of each frame by its `id`, in mm.

    Frames at one place have the same height.
    """
    return {id(frame): height for height, level in _levels(frames) for frame in level}


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


def _find_incomplete(kept: list[Frame], others: list[Frame]) -> Iterator[Finding]:
    """Report that slices of the volume itself are probably among those that are left out."""
    is_same_way = _CRITERIA[0][1]
    angles = [_angle(kept[0], frame) for frame in others if not is_same_way(kept[0], frame)]
    turned = [angle for angle in angles if angle < _SMALL_ANGLE]
    count = len(kept) + len(others)
    if turned or len(others) > _MANY * count:
        detail = f"{len(others)} of {count}"
        if turned:
            detail += f", {len(turned)} of them turned by up to {max(turned):.2f} degrees"
        uids = {frame.sop_instance_uid for frame in others}
        numbers = {"slices": count, "left_out": len(others), "turned": len(turned)}
        yield make_finding("incomplete_volume", detail, uids, **numbers)


def _angle(one: Frame, other: Frame) -> float:
    """Return the angle between two planes, in degrees."""
    cosine = float(abs(normal_of(plane_of(one)) @ normal_of(plane_of(other))))
    return math.degrees(math.acos(min(cosine, 1.0)))


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
