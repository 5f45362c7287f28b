"""The grid of a volume, on which labels are put: what both SEG and RTSTRUCT need.

What belongs here: priority, and the tally of what fell outside. What does not: where a label lies.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Plane
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.errors import UsageError

_BYTE = 0xFF


class LabelGrid:
    """Labels while they are being put; `heights` are those of the slices along the normal."""

    def __init__(self, volume: Volume, targets: LabelPatterns) -> None:
        if len(volume.slices) != len(volume.voxels):
            raise UsageError(
                "labels are read onto a volume as it was read: turn and resample both afterwards"
            )
        self.volume, self.targets = volume, targets
        self.shape = volume.voxels.shape
        dtype = np.uint8 if len(targets.names) <= _BYTE else np.uint16
        self.voxels: Voxels = np.zeros(self.shape, dtype)
        self.affine = volume.affine_lps
        self.along_x, self.along_y = (self.affine[:3, axis] for axis in (0, 1))
        across = np.cross(self.along_x, self.along_y)
        self.normal: Matrix = across / np.linalg.norm(across)
        self.positions = np.array([each.position for each in volume.slices])
        self.heights: Matrix = self.positions @ self.normal
        self.step = self._step()
        self._ranks = np.array([len(targets.names), *targets.ranks])
        self._overlapping = self._outside = self._put = 0

    def _step(self) -> float:
        if len(self.heights) == 1:
            return float(abs(self.affine[:3, 2] @ self.normal))
        return float(np.median(np.diff(self.heights)))

    def nearest(self, height: float) -> tuple[int, float]:
        """The slice that is nearest to a height, and how far, in millimetres."""
        place = int(np.abs(self.heights - height).argmin())
        return place, float(abs(self.heights[place] - height))

    def in_plane(self, points: Matrix, place: int) -> Matrix:
        """Points of LPS millimetres as x and y in the pixels of a slice, wherever it lies."""
        off = points - self.positions[place]
        basis = np.stack([self.along_x, self.along_y], axis=1)
        return np.asarray(off @ np.linalg.pinv(basis).T)

    def fall_outside(self, voxels: int) -> None:
        """Counts voxels that would be labelled, were the volume larger."""
        self._outside += voxels

    def put(self, label: int, z: Voxels, y: Voxels, x: Voxels) -> None:
        """Labels these voxels, of which some may lie outside; the stronger label stays."""
        depth, height, width = self.shape
        inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not inside.all():
            self.fall_outside(int(len(z) - inside.sum()))
            z, y, x = z[inside], y[inside], x[inside]
        there = self.voxels[z, y, x]
        self._put += len(there)
        self._overlapping += int(np.count_nonzero((there != 0) & (there != label)))
        wins = self._ranks[label] < self._ranks[there]
        self.voxels[z[wins], y[wins], x[wins]] = label

    def labels(self, unmatched: Iterable[str], found: list[Finding]) -> Labels:
        """What was put, with all that is to be said of it."""
        names = tuple(sorted(set(unmatched)))
        tally = np.bincount(self.voxels.ravel(), minlength=len(self.targets.names) + 1)
        counts = {label: int(tally[label]) for label in self.targets.by_number}
        return Labels(
            self.voxels,
            self.volume.affine,
            self.targets.by_number,
            counts,
            names,
            (*found, *self._said(counts, names)),
        )

    def _said(self, counts: dict[int, int], unmatched: tuple[str, ...]) -> list[Finding]:
        found = []
        if self._outside:
            whole = self._outside + self._put
            numbers = {"voxels_outside": self._outside, "voxels": whole}
            found.append(
                make_finding("mask_outside_volume", f"{self._outside} of {whole}", **numbers)
            )
        if self._overlapping:
            found.append(make_finding("overlapping_labels", voxels=self._overlapping))
        if unmatched:
            shown = ", ".join(map(repr, unmatched))
            found.append(make_finding("unmatched_names", shown, names=len(unmatched)))
        if not any(counts.values()):
            return [*found, make_finding("empty_mask", labels=len(counts))]
        missing = [label for label, count in counts.items() if not count]
        names = self.targets.by_number
        return found + [
            make_finding("target_missing", repr(names[label]), label=label) for label in missing
        ]


def of_plane(plane: Plane) -> tuple[Matrix, Matrix, Matrix]:
    """A plane's first pixel, and the steps from column to column and from row to row."""
    to_column = np.multiply(plane.along_rows, plane.spacing[0])
    to_row = np.multiply(plane.along_columns, plane.spacing[1])
    return np.array(plane.position), to_column, to_row
