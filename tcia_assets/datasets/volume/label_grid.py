"""The grid of a volume, on which labels are set voxel by voxel.

It resolves overlaps by priority and counts voxels outside the volume. Where a label lies is decided
by `dicom_seg.py` and `rtstruct.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels, count_labels
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.errors import UsageError

_MAX_BYTE = 0xFF


class LabelGrid:
    """Labels under construction, on the voxels of a volume.

    All lengths are LPS millimetres. `normal` is the unit vector across the slices, `heights` are
    the positions of the slices along it, and `step` is their median distance. Readers of masks add
    names of segments and ROIs without a label to `unmatched`, and problems to `findings`.
    """

    def __init__(self, volume: Volume, patterns: LabelPatterns) -> None:
        if len(volume.slices) != len(volume.voxels):
            raise UsageError(
                "labels need the volume as read_volume returned it: reorient and resample later"
            )
        self.volume, self.patterns = volume, patterns
        self.shape = volume.voxels.shape
        dtype = np.uint8 if len(patterns.names) <= _MAX_BYTE else np.uint16
        self.voxels: Voxels = np.zeros(self.shape, dtype)
        self.affine = volume.affine_lps
        self.to_column, self.to_row = (self.affine[:3, axis] for axis in (0, 1))
        normal = np.cross(self.to_column, self.to_row)
        self.normal: Matrix = normal / np.linalg.norm(normal)
        self.positions = np.array([each.position for each in volume.slices])
        self.heights: Matrix = self.positions @ self.normal
        self.step = self._median_step()
        self._ranks = np.array([len(patterns.names), *patterns.ranks])
        self.unmatched: set[str] = set()
        self.findings: list[Finding] = []
        self._overlapping = self._outside = self._inside = 0

    def _median_step(self) -> float:
        if len(self.heights) == 1:
            return float(abs(self.affine[:3, 2] @ self.normal))
        return float(np.median(np.diff(self.heights)))

    def nearest_slice(self, height: float) -> tuple[int, float]:
        """Return the number of the slice nearest to a height, and its distance in millimetres."""
        z = int(np.abs(self.heights - height).argmin())
        return z, float(abs(self.heights[z] - height))

    def to_pixels(self, points: Matrix, z: int) -> Matrix:
        """Project LPS points, one per row, to the x and y of a slice, in pixels."""
        basis = np.stack([self.to_column, self.to_row], axis=1)
        return np.asarray((points - self.positions[z]) @ np.linalg.pinv(basis).T)

    def count_outside(self, voxels: int) -> None:
        """Count voxels that would have a label if the volume were larger."""
        self._outside += voxels

    def set_label(self, label: int, z: Voxels, y: Voxels, x: Voxels) -> None:
        """Set the label of voxels, some of which may be outside; the lower rank wins.

        Args:
            label: 1 or higher.
            z: Indices of the slices.
            y: Indices of the rows, as many.
            x: Indices of the columns, as many.
        """
        depth, height, width = self.shape
        inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not inside.all():
            self.count_outside(int(len(z) - inside.sum()))
            z, y, x = z[inside], y[inside], x[inside]
        old = self.voxels[z, y, x]
        self._inside += len(old)
        self._overlapping += int(np.count_nonzero((old != 0) & (old != label)))
        wins = self._ranks[label] < self._ranks[old]
        self.voxels[z[wins], y[wins], x[wins]] = label

    def to_labels(self) -> Labels:
        """Return the labels with all findings."""
        names = self.patterns.by_number
        counts = count_labels(self.voxels, names)
        return Labels(
            self.voxels,
            self.volume.affine,
            names,
            counts,
            tuple(sorted(self.unmatched)),
            (*self.findings, *self._placement_findings(), *self._name_findings(counts)),
        )

    def _placement_findings(self) -> Iterator[Finding]:
        if self._outside:
            total = self._outside + self._inside
            numbers = {"voxels_outside": self._outside, "voxels": total}
            detail = f"{self._outside} of {total} voxels"
            yield make_finding("mask_outside_volume", detail, **numbers)
        if self._overlapping:
            yield make_finding("overlapping_labels", voxels=self._overlapping)

    def _name_findings(self, counts: dict[int, int]) -> Iterator[Finding]:
        if self.unmatched:
            detail = ", ".join(map(repr, sorted(self.unmatched)))
            yield make_finding("unmatched_names", detail, names=len(self.unmatched))
        if not any(counts.values()):
            yield make_finding("empty_mask", labels=len(counts))
            return
        for label, count in counts.items():
            if not count:
                name = self.patterns.by_number[label]
                yield make_finding("target_missing", repr(name), label=label)
