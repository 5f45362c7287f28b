"""The grid of a volume, on which segments and ROIs are drawn and then become labels.

It resolves overlaps by priority and counts voxels outside the volume. Where a segment or ROI lies
is decided by `dicom_seg.py` and `rtstruct.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels, count_labels
from tcia_assets.datasets.volume.drawings import Drawing, DrawingPad
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.label_gaps import (
    INTERPOLATE,
    NOTHING,
    fill_gaps,
    find_gaps,
    gap_findings,
)
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_readers import (
    EACH,
    STAPLE,
    UNION,
    LabelMask,
    combine_drawings,
)
from tcia_assets.errors import UsageError

_MAX_BYTE = 0xFF
# The positions of slices are rounded; a contour half a step between two goes to the lower one.
_TIE = 1e-3


@dataclass(frozen=True)
class LabelChoices:
    """A user's choices: a key of `label_gaps.BETWEEN`, and one of `label_readers.READERS`."""

    between: str = NOTHING
    readers: str = UNION

    @property
    def needs_simpleitk(self) -> bool:
        """Whether the extra `resample` is needed."""
        return self.between == INTERPOLATE or self.readers == STAPLE


class LabelGrid:
    """Labels under construction, on the voxels of a volume.

    All lengths are LPS millimetres. `normal` is the unit vector across the slices, `heights` are
    the positions of the slices along it, and `step` is their median distance. Names of segments
    and ROIs without a label are added to `unmatched`, and problems to `findings`.
    """

    def __init__(self, volume: Volume, patterns: LabelPatterns) -> None:
        if len(volume.slices) != len(volume.voxels):
            raise UsageError(
                "labels need the volume as read_volume returned it: reorient and resample later"
            )
        self.volume, self.patterns = volume, patterns
        self.shape = volume.voxels.shape
        self.affine = volume.affine_lps
        self.to_column, self.to_row = (self.affine[:3, axis] for axis in (0, 1))
        normal = np.cross(self.to_column, self.to_row)
        self.normal: Matrix = normal / np.linalg.norm(normal)
        self.positions = np.array([each.position for each in volume.slices])
        self.heights: Matrix = self.positions @ self.normal
        self.step = self._median_step()
        basis = np.stack([self.to_column, self.to_row], axis=1)
        self._to_pixels: Matrix = np.asarray(np.linalg.pinv(basis).T)
        self.unmatched: set[str] = set()
        self.findings: list[Finding] = []
        self._drawings: list[Drawing] = []
        self._overlapping = self._outside = self._inside = 0

    def _median_step(self) -> float:
        if len(self.heights) == 1:
            return float(abs(self.affine[:3, 2] @ self.normal))
        return float(np.median(np.diff(self.heights)))

    def nearest_slice(self, height: float) -> tuple[int, float]:
        """Return the number of the slice nearest to a height, and its distance in millimetres."""
        distances = np.abs(self.heights - height)
        z = int(np.argmax(distances <= distances.min() + _TIE * self.step))
        return z, float(distances[z])

    def to_pixels(self, points: Matrix, z: int) -> Matrix:
        """Project LPS points, one per row, to the x and y of a slice, in pixels."""
        return np.asarray((points - self.positions[z]) @ self._to_pixels)

    def count_outside(self, voxels: int) -> None:
        """Count voxels that would have a label if the volume were larger."""
        self._outside += voxels

    def add_voxels(self, pad: DrawingPad, z: Voxels, y: Voxels, x: Voxels) -> None:
        """Add voxels to a drawing; those outside the volume are counted.

        Args:
            pad: Of the drawing.
            z: Indices of the slices.
            y: Indices of the rows, as many.
            x: Indices of the columns, as many.
        """
        depth, height, width = self.shape
        inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not inside.all():
            self.count_outside(int(len(z) - inside.sum()))
            z, y, x = z[inside], y[inside], x[inside]
        self._inside += len(z)
        pad.add_voxels(z, y, x)

    def match_names(
        self, names: Iterable[tuple[int, str]], sop_instance_uid: str
    ) -> dict[int, tuple[int, str]]:
        """Return the label and the name of each segment or ROI that has a label, by its number.

        Names without a label are added to `unmatched`. A number that stands for several names, of
        which one has a label, is left out with a finding.

        Args:
            names: The number and the name of each segment or ROI of an object.
            sop_instance_uid: Of the object.
        """
        by_number: dict[int, list[str]] = {}
        for number, name in names:
            by_number.setdefault(number, []).append(name)
        matched, ambiguous = {}, []
        for number, its in by_number.items():
            labels = [self.patterns.label_of(name) for name in its]
            self.unmatched.update(
                name for name, label in zip(its, labels, strict=True) if not label
            )
            if len(its) > 1 and any(labels):
                ambiguous.append(f"{number} of {', '.join(map(repr, its))}")
            elif label := labels[0]:
                matched[number] = (label, its[0])
        if ambiguous:
            detail = "; ".join(ambiguous)
            finding = make_finding(
                "ambiguous_numbers", detail, [sop_instance_uid], numbers=len(ambiguous)
            )
            self.findings.append(finding)
        return matched

    def add_drawing(self, drawing: Drawing | None) -> None:
        """Add a finished drawing, unless it has no voxel."""
        if drawing is not None:
            self._drawings.append(drawing)

    def to_labels(self, choices: LabelChoices) -> Labels:
        """Return the labels with all findings.

        Raises:
            MissingExtra: A choice needs SimpleITK, which is not installed.
        """
        names = self.patterns.by_number
        combined = combine_drawings(self._fill_gaps(choices.between), choices.readers)
        layers = [self._paint(layer) for layer in combined.layers]
        voxels = np.stack(layers) if choices.readers == EACH else layers[0]
        counts = count_labels(voxels, names)
        findings = [*self.findings, *combined.findings, *self._placement_findings()]
        return Labels(
            voxels,
            self.volume.affine,
            names,
            counts,
            tuple(sorted(self.unmatched)),
            (*findings, *self._name_findings(counts)),
            combined.readers,
        )

    def _fill_gaps(self, between: str) -> list[Drawing]:
        """Return all drawings with their gaps filled, and add the findings about these."""
        across, down = (float(np.linalg.norm(step)) for step in (self.to_column, self.to_row))
        _, rows, columns = self.shape
        positions: tuple[Matrix, ...] = (
            self.heights,
            np.asarray(np.arange(rows) * down),
            np.asarray(np.arange(columns) * across),
        )
        spacings = ((across, down), (across, self.step), (down, self.step))
        found, drawings = [], []
        for drawing in self._drawings:
            axis = drawing.axis or 0
            gaps = find_gaps(drawing, positions[axis])
            whole, filled = fill_gaps(drawing, gaps, positions[axis], spacings[axis], between)
            found.append((drawing, gaps, filled))
            drawings.append(whole)
        self.findings += gap_findings(found)
        return drawings

    def _paint(self, masks: Iterable[LabelMask]) -> Voxels:
        """Return the voxels of a layer; the label of the lowest rank is painted last."""
        dtype = np.uint8 if len(self.patterns.names) <= _MAX_BYTE else np.uint16
        voxels: Voxels = np.zeros(self.shape, dtype)
        for each in sorted(masks, key=lambda mask: -self.patterns.ranks[mask.label - 1]):
            below = voxels[each.box]
            under = below[each.mask]
            self._overlapping += int(np.count_nonzero((under != 0) & (under != each.label)))
            below[each.mask] = each.label
        return voxels

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
