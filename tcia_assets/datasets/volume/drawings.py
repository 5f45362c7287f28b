"""Drawings: single segments and ROIs on the grid of a volume, before they become labels.

A drawing is one segment of a SEG or one ROI of an RTSTRUCT, as one reader drew it. Gaps in it are
found in `label_gaps.py`; drawings of the same label by several readers are combined in
`label_readers.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from tcia_assets.datasets.volume.arrays import Voxels

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Source:
    """The object that a drawing is from.

    Attributes:
        sop_instance_uid: Of the SEG or RTSTRUCT.
        drawn_at: Date and time as DICOM writes them, which orders readers; "" if unknown.
    """

    sop_instance_uid: str
    drawn_at: str = ""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A segment or ROI as the voxels of a box.

    Attributes:
        label: 1 or higher.
        name: Of the segment or ROI.
        source: The object that it is from.
        number: Of the segment or ROI in its object.
        box: Where `mask` lies in the volume, along z, y, x.
        mask: Which voxels of the box belong to it, [z, y, x].
        axis: Of z, y, x, the one across the planes in which it was drawn; None if planes differ.
        planes: The positions along `axis` of all planes in which it was drawn, empty ones too.
    """

    label: int
    name: str
    source: Source
    number: int
    box: Box
    mask: Voxels
    axis: int | None
    planes: tuple[int, ...]

    def with_mask(self, mask: Voxels) -> Drawing:
        """Return the drawing with different voxels in its box."""
        return replace(self, mask=mask)


class DrawingPad:
    """A drawing under construction: voxels are added to it plane by plane."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._voxels: Voxels = np.zeros(shape, bool)
        self._low, self._high = np.array(shape), np.zeros(len(shape), np.int64)
        self._planes: set[tuple[int, int]] = set()

    def add_plane(self, axis: int, position: int) -> None:
        """Note that something may be drawn in a plane, if it is inside the volume."""
        if 0 <= position < self._voxels.shape[axis]:
            self._planes.add((axis, position))

    def add_voxels(self, z: Voxels, y: Voxels, x: Voxels) -> None:
        """Add voxels by their indices, which must be inside the volume."""
        if len(z):
            self._voxels[z, y, x] = True
            indices = (z, y, x)
            self._low = np.minimum(self._low, [each.min() for each in indices])
            self._high = np.maximum(self._high, [each.max() + 1 for each in indices])

    def finish(self, label: int, name: str, source: Source, number: int) -> Drawing | None:
        """Return the drawing; None if it has no voxel."""
        if not self._high.any():
            return None
        z, y, x = (slice(int(a), int(b)) for a, b in zip(self._low, self._high, strict=True))
        axes = {axis for axis, _ in self._planes}
        axis = axes.pop() if len(axes) == 1 else None
        planes = tuple(sorted(position for _, position in self._planes))
        mask = self._voxels[z, y, x].copy()
        return Drawing(label, name, source, number, (z, y, x), mask, axis, planes)


# --- Boxes ----------------------------------------------------------------------------------------


def shared_voxels(one: Drawing, other: Drawing) -> int:
    """Return how many voxels two drawings have in common."""
    box = [
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one.box, other.box, strict=True)
    ]
    if any(side.start >= side.stop for side in box):
        return 0
    z, y, x = box
    return int(np.count_nonzero(_cut(one, (z, y, x)) & _cut(other, (z, y, x))))


def unite_masks(drawings: Iterable[Drawing], box: Box) -> Voxels:
    """Return the voxels of all drawings in a box that holds them."""
    united = np.zeros([side.stop - side.start for side in box], bool)
    for drawing in drawings:
        united[_inner(drawing.box, box)] |= drawing.mask
    return united


def box_around(drawings: Iterable[Drawing]) -> Box:
    """Return the smallest box that holds all drawings."""

    def hull(one: Box, other: Box) -> Box:
        z, y, x = (
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(one, other, strict=True)
        )
        return z, y, x

    return reduce(hull, (drawing.box for drawing in drawings))


def _cut(drawing: Drawing, box: Box) -> Voxels:
    return drawing.mask[_inner(box, drawing.box)]


def _inner(box: Box, outer: Box) -> Box:
    """Return the box in coordinates of a box around it."""
    z, y, x = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))
    return z, y, x
