"""Findings about the steps between slices: gaps, uneven steps, a tilt, overlapping slices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame, normal_of, plane_of
from tcia_assets.datasets.volume.traits import Value
from tcia_assets.units import counted

# Fractions of the median step: larger steps mean a missing slice, larger errors an uneven one.
GAP = 1.5
UNEVEN = 0.1
TILT_DEGREES = 0.1
# Slices that are thicker than this many steps overlap.
OVERLAP = 1.5
# In voxels, and in steps: slices that are farther from their places are in the wrong voxels.
MISPLACED = 0.5
# Slices in the order of their numbers go through a range in passes of at least so many, on average.
LEAST_PASS = 4


def check_steps(ordered: Sequence[Frame], heights: Matrix, affine: Matrix) -> Iterator[Finding]:
    """Yield findings about the positions of slices.

    Args:
        ordered: The slices of a volume, in order.
        heights: Their positions along the normal, in mm.
        affine: The affine to LPS.
    """
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
            f"{counted(len(gaps), 'gap')} of up to {largest:.3f} mm; the median is {median:.3f} mm",
            gaps=len(gaps),
            missing=int(np.sum(np.rint(gaps / median) - 1)),
            largest_step_mm=largest,
            median_step_mm=median,
        )


def _find_uneven(ordered: Sequence[Frame], steps: Matrix, affine: Matrix) -> Iterator[Finding]:
    """Report slices off an even grid, in which some may be missing, or off a straight line.

    Those that are misplaced by more than half a voxel at any corner are a finding of their own: no
    affine puts their voxels at their places.
    """
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
    turned = _corner_errors(ordered, affine)
    voxels = np.array([pixel, pixel, median])
    farthest = max(off_grid / median, off_line / pixel, float((turned / voxels).max()))
    smallest = float(steps.min()) / median
    if farthest > MISPLACED or smallest < MISPLACED:
        yield make_finding(
            "misplaced_slices",
            f"up to {farthest:.2f} voxels; the smallest step is {smallest:.2f} of the median",
            farthest_voxels=farthest,
            smallest_step=smallest,
        )


def _corner_errors(ordered: Sequence[Frame], affine: Matrix) -> Matrix:
    """Return how far the last pixel of each slice is off because the slice is turned, in mm.

    Along the rows, the columns and the normal of the first slice, one slice per row.
    """
    first = ordered[0]
    last = np.array([first.columns - 1, first.rows - 1])
    planes = [plane_of(frame) for frame in ordered]
    steps = np.array([np.stack([plane.to_column, plane.to_row]) for plane in planes])
    axes = np.stack([*affine[:3, :2].T, normal_of(planes[0])])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    ways = np.abs((steps - steps[0]) @ axes.T)
    return np.asarray(np.einsum("i,nij->nj", last, ways))


def _find_tilt(heights: Matrix, affine: Matrix) -> Iterator[Finding]:
    step = affine[:3, 2]
    rise = (heights[-1] - heights[0]) / (len(heights) - 1)
    shift = float(np.sqrt(max(float(step @ step) - rise * rise, 0.0)))
    degrees = float(np.degrees(np.arctan2(shift, rise)))
    if degrees > TILT_DEGREES:
        numbers = {"degrees": degrees, "shift_mm_per_slice": shift}
        yield make_finding("gantry_tilt", f"{degrees:.2f} degrees", **numbers)


def _find_overlap(ordered: Sequence[Frame], heights: Matrix) -> Iterator[Finding]:
    """Report slices of several acquisitions, as far as numbers and thickness show them.

    Slices may be closer than they are thick, unless that distance is declared; so are those of two
    acquisitions half a step apart. Numbers that do not follow the positions, or uneven steps, make
    these likely; without numbers, attributes that divide the slices do, unless the steps are as
    declared.
    """
    step = float(heights[-1] - heights[0]) / (len(heights) - 1)
    thickness = float(np.median([frame.thickness or frame.declared_step for frame in ordered]))
    declared = float(np.median([frame.declared_step for frame in ordered]))
    is_close = thickness >= OVERLAP * step and abs(declared - step) > UNEVEN * step
    # Slices that are computed to overlap have even steps.
    is_even = np.ptp(np.diff(heights)) <= 2 * UNEVEN * step
    is_declared = abs((declared or thickness) - step) <= UNEVEN * step
    numbers = [frame.number for frame in ordered]
    if len(set(numbers)) > 1:
        passes = _count_passes(_passes(numbers, heights))
    else:
        passes = 1 if is_declared else max(map(_count_passes, _find_parts(ordered, heights)))
    if is_close or passes > 1:
        yield make_finding(
            "overlapping_slices" if is_even and passes == 1 else "interleaved_slices",
            f"they are {thickness:.3f} mm thick, in steps of {step:.3f} mm",
            thickness_mm=thickness,
            step_mm=step,
        )


def _find_parts(ordered: Sequence[Frame], heights: Matrix) -> Iterator[list[Matrix]]:
    """Yield for each attribute the heights of the slices with each of its values; not of one."""
    for name in ordered[0].traits:
        parts: dict[Value, list[float]] = defaultdict(list)
        for frame, height in zip(ordered, heights, strict=True):
            parts[frame.traits[name]].append(height)
        yield [np.array(part) for part in parts.values() if len(part) > 1]


def _count_passes(passes: Sequence[Matrix]) -> int:
    """Return how many passes go through the same range; 1 if they are very short.

    Slices in no order at all go once.
    """
    if len(passes) > sum(map(len, passes)) / LEAST_PASS:
        return 1
    return 1 + sum(_do_overlap(one, other) for one, other in pairwise(passes))


def _passes(numbers: Sequence[tuple[int, int]], heights: Matrix) -> list[Matrix]:
    """Return the heights of slices in passes: each with numbers of its own, or in one direction."""
    seen: Counter[tuple[int, int]] = Counter()
    times = []
    for number in numbers:
        times.append(seen[number])
        seen[number] += 1
    if sum(count for count in seen.values() if count > 1) > len(numbers) / 2:
        return [heights[np.array(times) == time] for time in range(max(times) + 1)]
    along = heights[sorted(range(len(numbers)), key=numbers.__getitem__)]
    steps = np.sign(np.diff(along))
    return np.split(along, np.flatnonzero(steps != np.sign(steps.sum())) + 1)


def _do_overlap(one: Matrix, other: Matrix) -> bool:
    """Return whether two passes share half of the shorter one's range."""
    shared = min(one.max(), other.max()) - max(one.min(), other.min())
    return bool(shared >= min(np.ptp(one), np.ptp(other)) / 2)
