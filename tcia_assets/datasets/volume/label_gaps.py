"""Gaps in drawings: slices between drawn ones in which nothing was drawn.

Contours on every third slice and thick SEG frames on thin slices leave such gaps. A user chooses
what is `between` drawn slices: nothing, the nearest drawn slice, or a shape that is interpolated
between the two slices around the gap, by their signed distance maps (Raya and Udupa, 1990).

Slices without a drawing are a gap if the slices around them have a pixel in common, or if the
drawing usually leaves slices out. A step of more than twice the usual one may be between two
structures: it is reported, but not filled. Nor are gaps between shapes that hardly meet, of which
interpolation would leave next to nothing in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.drawings import Drawing
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.errors import MissingExtra

NOTHING, NEAREST, INTERPOLATE = "nothing", "nearest", "interpolate"
BETWEEN: Mapping[str, str] = {
    NOTHING: "no label",
    NEAREST: "the label of the nearest drawn slice",
    INTERPOLATE: "a shape between those of the two slices around the gap; needs SimpleITK",
}
"""What is between drawn slices."""

# In the drawing's usual steps.
_LONGEST = 2.0
# An interpolated shape with less than this part of the smaller of its two neighbours is no shape
# between them.
_LEAST_SHAPE = 0.5


@dataclass(frozen=True)
class Gap:
    """Slices without a drawing between two with one, by their positions along the axis.

    `step_mm` is the distance of the two. A gap that is too long is not filled.
    """

    before: int
    after: int
    step_mm: float
    is_too_long: bool

    @property
    def slices(self) -> int:
        """How many slices are in the gap."""
        return self.after - self.before - 1


def find_gaps(drawing: Drawing, positions: Matrix) -> list[Gap]:
    """Return the gaps of a drawing.

    Args:
        drawing: Drawn in planes along one axis; otherwise it has no gaps.
        positions: Of the volume's planes along that axis, in mm.
    """
    if drawing.axis is None or len(drawing.planes) < 2:  # noqa: PLR2004 - two planes make a step
        return []
    planes = _drawn_planes(drawing)
    usual = float(np.median(np.diff(planes)))
    gaps = []
    for before, after in pairwise(planes):
        if after - before == 1:
            continue
        one, other = _plane(drawing, before), _plane(drawing, after)
        if not (one.any() and other.any()):
            continue
        is_too_long = after - before > _LONGEST * usual
        is_sparse = usual > 1 and not is_too_long
        if is_sparse or (one & other).any():
            step = float(positions[after] - positions[before])
            gaps.append(Gap(before, after, step, is_too_long))
    return gaps


def fill_gaps(
    drawing: Drawing,
    gaps: Sequence[Gap],
    positions: Matrix,
    spacing: tuple[float, float],
    between: str,
) -> tuple[Drawing, list[Gap]]:
    """Return a drawing whose gaps are filled, and the gaps that were filled.

    Gaps that are too long, or between shapes that hardly meet, are not filled.

    Args:
        drawing: With an axis.
        gaps: Of the drawing.
        positions: Of the volume's planes along its axis, in mm.
        spacing: Of the pixels of a plane along its rows and its columns, in mm.
        between: A key of `BETWEEN`.

    Raises:
        MissingExtra: SimpleITK is not installed, and shapes are interpolated.
    """
    to_fill = [] if between == NOTHING else [gap for gap in gaps if not gap.is_too_long]
    if drawing.axis is None or not to_fill:
        return drawing, []
    mask = drawing.mask.copy()
    planes = np.moveaxis(mask, drawing.axis, 0)
    first = drawing.box[drawing.axis].start
    filled = []
    for gap in to_fill:
        one, other = planes[gap.before - first], planes[gap.after - first]
        blend = (
            _blend_shapes(one, other, spacing) if between == INTERPOLATE else _nearer(one, other)
        )
        inside = range(gap.before + 1, gap.after)
        shares = [(positions[place] - positions[gap.before]) / gap.step_mm for place in inside]
        shapes = [blend(float(share)) for share in shares]
        least = _LEAST_SHAPE * min(np.count_nonzero(one), np.count_nonzero(other))
        if all(np.count_nonzero(shape) >= least for shape in shapes):
            planes[inside.start - first : inside.stop - first] |= np.array(shapes)
            filled.append(gap)
    return drawing.with_mask(mask), filled


_ByObject = defaultdict[str, list[tuple[Drawing, Gap]]]


def gap_findings(
    found: Sequence[tuple[Drawing, Sequence[Gap], Sequence[Gap]]],
) -> Iterator[Finding]:
    """Yield the findings about the gaps of all drawings, one for each object and code.

    Args:
        found: Each drawing, its gaps, and those of them that were filled.
    """
    left: _ByObject = defaultdict(list)
    filled: _ByObject = defaultdict(list)
    for drawing, gaps, its_filled in found:
        for gap in gaps:
            by_object = filled if gap in its_filled else left
            by_object[drawing.source.sop_instance_uid].append((drawing, gap))
    for code, by_object in (("label_gaps", left), ("label_gaps_filled", filled)):
        for uid, pairs in by_object.items():
            yield _finding(code, uid, pairs)


def _finding(code: str, uid: str, pairs: Sequence[tuple[Drawing, Gap]]) -> Finding:
    names = ", ".join(sorted({repr(drawing.name) for drawing, _ in pairs}))
    slices = sum(gap.slices for _, gap in pairs)
    longest = max(gap.step_mm for _, gap in pairs)
    detail = f"{slices} slices in {len(pairs)} gaps, up to {longest:.3f} mm from slice to slice"
    numbers = {"slices": slices, "gaps": len(pairs), "longest_step_mm": longest}
    return make_finding(code, f"{detail}, of {names}", [uid], **numbers)


def _drawn_planes(drawing: Drawing) -> Sequence[int]:
    """Return the planes between which gaps may be: all, or those with voxels if most are apart.

    Writers of a SEG may add an empty frame for each slice that was left out.
    """
    filled = [position for position in drawing.planes if _plane(drawing, position).any()]
    is_sparse = len(filled) > 1 and np.median(np.diff(filled)) > 1
    return filled if is_sparse else drawing.planes


def _plane(drawing: Drawing, position: int) -> Voxels:
    """Return the mask of a plane, empty where the plane is outside of the box."""
    axis = drawing.axis or 0
    side = drawing.box[axis]
    planes = np.moveaxis(drawing.mask, axis, 0)
    if not side.start <= position < side.stop:
        return np.zeros(planes.shape[1:], bool)
    return np.asarray(planes[position - side.start])


# --- Shapes between two planes --------------------------------------------------------------------

_Blend = Callable[[float], Voxels]


def _nearer(one: Voxels, other: Voxels) -> _Blend:
    return lambda share: one if share <= 0.5 else other  # noqa: PLR2004 - half of the way


def _blend_shapes(one: Voxels, other: Voxels, spacing: tuple[float, float]) -> _Blend:
    """Return the shape at a share of the way from one plane to the other."""
    here, there = (_signed_distance(np.pad(mask, 1), spacing) for mask in (one, other))

    def blend(share: float) -> Voxels:
        inside = (1 - share) * here + share * there > 0
        return np.asarray(inside[1:-1, 1:-1])

    return blend


def _signed_distance(mask: Voxels, spacing: tuple[float, float]) -> Matrix:
    """Return the distance from the outline in mm, positive inside."""
    try:
        import SimpleITK  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("SimpleITK", "resample", "interpolating labels") from None
    itk: Any = SimpleITK  # partly typed

    def distance(inside: Voxels) -> Matrix:
        image = itk.GetImageFromArray(inside.astype(np.uint8))
        image.SetSpacing(spacing)
        found = itk.SignedMaurerDistanceMap(
            image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True
        )
        return np.asarray(itk.GetArrayFromImage(found), dtype=np.float64)

    # It measures from the outermost pixels inside: the outline is half a pixel beyond them.
    return np.asarray((distance(mask) - distance(~mask)) / 2)
