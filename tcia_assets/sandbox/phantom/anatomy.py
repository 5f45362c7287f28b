"""The anatomy of a patient: ellipsoids, their sections and their projection.

Positions are in patient coordinates (x to the left, y to the back, z to the head), the same for
every Series of a patient, so that a SEG or RTSTRUCT fits its images.

Only integers and + - * / and the square root are used, whose results are the same on every machine
(IEEE 754). Those of sines, powers and sums over arrays are not, hence `_square` and `_QUARTER`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

SIDE = 64  # rows and columns of every image
EXTENT_UM = 300_000  # the scanned length along z, if the Series has enough slices
# Usual values of scanners. The body fits into 64 of the smallest pixels.
PIXELS_UM = (4500, 4800, 5000)
SLICES_UM = (5000, 3000, 2500, 2000, 1500, 1250, 1000, 625)

BODY, LESION = "body", "lesion"

Mask = NDArray[np.bool_]


def _square(value: float) -> float:
    return value * value


class SeededNumbers:
    """Pseudo-random numbers that depend on the seed alone, in every process."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.shake_256(seed.encode("utf-8", "replace")).digest(128)
        self._numbers = iter(np.frombuffer(digest, "<u2").tolist())

    def between(self, low: float, high: float) -> float:
        """Return the next number, between two limits."""
        return low + (high - low) * float(next(self._numbers)) / 65535

    def one_of(self, choices: tuple[int, ...]) -> int:
        """Return one of the choices."""
        return choices[int(next(self._numbers)) % len(choices)]


@dataclass(frozen=True)
class Ellipsoid:
    """A tissue of the shape of an ellipsoid, in millimetres."""

    tissue: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def section_scale(self, z: float) -> float:
        """Return the squared scale of the section at height z: 1 at the centre, below 0 outside."""
        return 1 - _square((z - self.centre[2]) / self.radii[2])

    def outline(self, z: float) -> list[tuple[float, float]]:
        """Return points around the section at height z, or none outside."""
        if self.section_scale(z) <= 0:
            return []
        size = sqrt(self.section_scale(z))
        (x, y, _), (rx, ry, _) = self.centre, self.radii
        return [(x + rx * size * cos, y + ry * size * sin) for cos, sin in _CIRCLE]


# A quarter of the unit circle without sines: for t from 0 to 1 it runs from (1, 0) to (0, 1).
_QUARTER = [((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)) for t in (i / 6 for i in range(6))]
_CIRCLE = [
    *_QUARTER,
    *[(-sin, cos) for cos, sin in _QUARTER],
    *[(-cos, -sin) for cos, sin in _QUARTER],
    *[(sin, -cos) for cos, sin in _QUARTER],
]


@dataclass(frozen=True)
class Grid:
    """The position of the pixels of a Series, in whole micrometres, so that decimals are exact."""

    pixel_um: int
    slice_um: int
    count: int

    @classmethod
    def of(cls, series_uid: str, count: int) -> Grid:
        """Return the grid of a Series: with the thickest usual slices within `EXTENT_UM`."""
        pixel_um = SeededNumbers(f"grid {series_uid}").one_of(PIXELS_UM)
        usual = (step for step in SLICES_UM if step * count <= EXTENT_UM)
        return cls(pixel_um, next(usual, max(EXTENT_UM // max(count, 1), 1)), count)

    def position_um(self, index: int) -> tuple[int, int, int]:
        """Return the centre (x, y, z) of the first pixel of a slice; z grows towards the head."""
        corner = -(SIDE - 1) * self.pixel_um // 2
        bottom = -(self.count - 1) * self.slice_um // 2
        return corner, corner, bottom + index * self.slice_um

    def z(self, index: int) -> float:
        """Return the z coordinate of a slice in millimetres."""
        return self.position_um(index)[2] / 1000

    def axis(self) -> NDArray[np.float64]:
        """Return the pixel centres along x, which are also those along y, in millimetres."""
        steps = np.arange(SIDE, dtype=np.int64) * self.pixel_um
        return (steps + self.position_um(0)[0]) / 1000

    def middle(self, limit: int) -> range:
        """Return the indices of at most `limit` slices around the middle."""
        length = min(limit, self.count)
        first = (self.count - length) // 2
        return range(first, first + length)


def anatomy(patient: str, revision: int = 0) -> tuple[Ellipsoid, ...]:
    """Return the ellipsoids of a patient in painting order; the lesion is the last.

    Only the outer shape depends on the revision, so that masks of the lesion stay valid.
    """
    outer, inner = SeededNumbers(f"body {patient} {revision}"), SeededNumbers(f"organs {patient}")
    across, deep, tall = outer.between(125, 140), outer.between(88, 110), outer.between(185, 210)
    shift = inner.between(-4, 4)
    lung = (inner.between(38, 46), inner.between(48, 58), inner.between(70, 80))
    side = inner.one_of((-1, 1))
    width = inner.between(14, 22)
    spot = (side * inner.between(52, 66), inner.between(-22, 12), inner.between(-8, 8))
    return (
        Ellipsoid(BODY, (0, 0, 0), (across, deep, tall)),
        Ellipsoid("lung", (-60 + shift, -5, 45), lung),
        Ellipsoid("lung", (60 + shift, -5, 45), lung),
        Ellipsoid(
            "heart",
            (14 + shift, -20, inner.between(10, 25)),
            (inner.between(30, 38), inner.between(26, 32), inner.between(38, 46)),
        ),
        Ellipsoid(
            "liver",
            (-40, -8, inner.between(-75, -60)),
            (inner.between(52, 62), inner.between(45, 55), inner.between(36, 44)),
        ),
        Ellipsoid("spine", (shift, 62, 0), (inner.between(14, 18), inner.between(13, 16), 400)),
        Ellipsoid(LESION, spot, (width, inner.between(14, 22), inner.between(16, 26))),
    )


class Sections:
    """Axial sections of an anatomy, on the slices of a grid."""

    def __init__(self, ellipsoids: tuple[Ellipsoid, ...], grid: Grid) -> None:
        self._grid = grid
        axis = grid.axis()
        # Computed once, because it is the same in all slices.
        self._flat = [
            (
                ellipsoid,
                _squares((axis - ellipsoid.centre[0]) / ellipsoid.radii[0])[None, :]
                + _squares((axis - ellipsoid.centre[1]) / ellipsoid.radii[1])[:, None],
            )
            for ellipsoid in ellipsoids
        ]

    def masks(self, index: int) -> Iterator[tuple[str, Mask]]:
        """Yield each tissue in a slice and its mask, in painting order."""
        z = self._grid.z(index)
        for ellipsoid, flat in self._flat:
            if (scale := ellipsoid.section_scale(z)) > 0:
                yield ellipsoid.tissue, flat <= scale

    def mask(self, tissue: str, index: int) -> Mask:
        """Return the mask of a tissue in a slice."""
        found = np.zeros((SIDE, SIDE), bool)
        for name, mask in self.masks(index):
            if name == tissue:
                found |= mask
        return found

    def paint(self, levels: Mapping[str, int], index: int) -> NDArray[np.int32]:
        """Return a slice with each tissue at its level, and `air` outside the body."""
        image = np.full((SIDE, SIDE), levels["air"], np.int32)
        for tissue, mask in self.masks(index):
            image[mask] = levels[tissue]
        return image


def project(
    ellipsoids: tuple[Ellipsoid, ...], density: Mapping[str, float], grid: Grid
) -> NDArray[np.float64]:
    """Return the projection from the front, head up: path length in each tissue times density."""
    axis = grid.axis()
    image = np.zeros((SIDE, SIDE))
    for ellipsoid in ellipsoids:
        (x, _, z), (rx, ry, rz) = ellipsoid.centre, ellipsoid.radii
        flat = _squares((axis - x) / rx)[None, :] + _squares((-axis - z) / rz)[:, None]
        image += density[ellipsoid.tissue] * 2 * ry * np.sqrt(np.maximum(1 - flat, 0))
    return image


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * values


class Noise:
    """Noise from -128 to 127 that differs between slices."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.shake_256(seed.encode("utf-8", "replace")).digest(2 * SIDE * SIDE)
        self._grain = np.frombuffer(digest, np.int8).astype(np.int32)

    def at(self, index: int) -> NDArray[np.int32]:
        """Return the noise of a slice."""
        start = index * 1021 % (SIDE * SIDE)
        return self._grain[start : start + SIDE * SIDE].reshape(SIDE, SIDE)
