"""Boxes of voxels: around what is not background, or of a fixed size, and images cut to them.

A box may reach beyond an image, which is then padded. The affine moves with the first voxel: each
voxel stays where it was in the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels

Image = TypeVar("Image", Volume, Labels)

# Lengths of a margin are whole steps, apart from what headers round.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Box:
    """Voxels along x, y, z: the first, which may be negative, and how many."""

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @classmethod
    def of(cls, image: Volume | Labels) -> Box:
        """Return the box of all voxels of an image."""
        x, y, z = image.voxels.shape[-3:][::-1]
        return cls((0, 0, 0), (x, y, z))

    def with_margin(self, margin: float, spacing: Sequence[float], limit: Box) -> Box:
        """Return the box with so many millimetres around it, within another box."""
        steps = [int(np.ceil(margin / step - _ROUNDING)) for step in spacing]
        low = [max(a - n, b) for a, n, b in zip(self.start, steps, limit.start, strict=True)]
        high = [min(end + n, most) for end, n, most in zip(self.end, steps, limit.end, strict=True)]
        return _box(low, high)

    def resized(self, size: Sequence[int | None]) -> Box:
        """Return a box of this size about the same centre; None keeps the size along an axis.

        Where the difference is odd, the voxel more or less is at the end.
        """
        new = [own if each is None else each for own, each in zip(self.size, size, strict=True)]
        low = [a + int((n - m) / 2) for a, n, m in zip(self.start, self.size, new, strict=True)]
        return _box(low, [a + m for a, m in zip(low, new, strict=True)])

    def covers(self, other: Box) -> bool:
        """Return whether another box is inside this one."""
        return all(a <= b for a, b in zip(self.start, other.start, strict=True)) and all(
            a >= b for a, b in zip(self.end, other.end, strict=True)
        )

    @property
    def end(self) -> tuple[int, int, int]:
        """The voxel after the last one, along x, y, z."""
        x, y, z = (a + n for a, n in zip(self.start, self.size, strict=True))
        return x, y, z


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box around what is true, indexed [..., z, y, x]; None if nothing is."""
    inside = np.any(mask.reshape(-1, *mask.shape[-3:]), axis=0, keepdims=True)[0]
    others = ((0, 1), (0, 2), (1, 2))
    places = [np.flatnonzero(np.any(inside, axis=axes)) for axes in others]
    if not all(each.size for each in places):
        return None
    return _box([int(each[0]) for each in places], [int(each[-1]) + 1 for each in places])


def cut(image: Image, box: Box) -> Image:
    """Return an image cut to a box; beyond the image a volume has its lowest value, labels none."""
    if box == Box.of(image):
        return image
    old: Voxels = image.voxels
    fill = old.min() if isinstance(image, Volume) else 0
    new = np.full((*old.shape[:-3], *box.size[::-1]), fill, old.dtype)
    own = Box.of(image).end
    low = [max(a, 0) for a in box.start]
    high = [min(a, n) for a, n in zip(box.end, own, strict=True)]
    if all(a < b for a, b in zip(low, high, strict=True)):
        new[_slices(low, high, box.start)] = old[_slices(low, high, (0, 0, 0))]
    return image.on_grid(new, _moved(image.affine, box.start))


def count_outside(voxels: Voxels, box: Box) -> int:
    """Count the voxels that are not 0 and lie outside a box."""
    limits = zip(box.start, box.end, voxels.shape[-3:][::-1], strict=True)
    low, high = zip(*((max(a, 0), max(min(b, n), 0)) for a, b, n in limits), strict=True)
    inside = voxels[_slices(low, high, (0, 0, 0))]
    return int(np.count_nonzero(voxels) - np.count_nonzero(inside))


def _slices(low: Sequence[int], high: Sequence[int], start: Sequence[int]) -> Any:
    """Return the index, along [..., z, y, x], of a part of an array that begins at `start`."""
    ends = [slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True)]
    return (..., *ends[::-1])


def _moved(affine: Matrix, start: Sequence[int]) -> Matrix:
    moved: Matrix = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.array(start, dtype=np.float64)
    return moved


def _box(low: Sequence[int], high: Sequence[int]) -> Box:
    (x, y, z), (i, j, k) = low, high
    return Box((x, y, z), (i - x, j - y, k - z))
