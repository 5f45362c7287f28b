"""A volume and its labels, as values.

What belongs here: the two nouns, and the one convention on axes that all else keeps. What does
not: where they come from and where they go.

`voxels` is indexed [z, y, x] and lies in memory so that x runs fastest, as in a slice of DICOM and
in a file of NIfTI. `affine` takes the column (x, y, z, 1) to millimetres in RAS+ (right, anterior,
superior rise), as NIfTI has it; `affine_lps` takes it to DICOM's own coordinates. So `voxels.T`
and `affine` are what nibabel calls an image's data and affine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcia_assets.datasets.volume.findings import Finding

Matrix = NDArray[np.float64]
Voxels = NDArray[Any]

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras(affine_lps: Matrix) -> Matrix:
    """An affine to LPS as one to RAS+; and back, for it is its own inverse."""
    return _TO_RAS @ affine_lps


@dataclass(frozen=True)
class Slice:
    """A slice as DICOM has it: the object, and the centre of its first pixel in LPS millimetres."""

    sop_instance_uid: str
    position: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Volume:
    """The voxels of one Series; see the module for axes.

    `units` is "HU", "SUVbw", or "stored": what rescaling gave, whatever its unit is. `slices` are
    those of `voxels`, in its order; a volume that was resampled or turned has none.
    """

    voxels: Voxels
    affine: Matrix
    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    units: str
    slices: tuple[Slice, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from voxel to voxel along x, y and z."""
        return spacing_of(self.affine)

    @property
    def affine_lps(self) -> Matrix:
        return ras(self.affine)

    def on_grid(self, voxels: Voxels, affine: Matrix) -> Self:
        """The same volume on another grid, whose slices are no longer those of the Series."""
        return replace(self, voxels=voxels, affine=affine, slices=())


@dataclass(frozen=True, eq=False)
class Labels:
    """A label for each voxel of a volume, 0 for none; see the module for axes.

    `names` has each label that was asked for, `counts` its voxels, `unmatched` the names of
    segments and ROIs that are no label.
    """

    voxels: Voxels
    affine: Matrix
    names: Mapping[int, str]
    counts: Mapping[int, int] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from voxel to voxel along x, y and z."""
        return spacing_of(self.affine)

    def on_grid(self, voxels: Voxels, affine: Matrix) -> Self:
        """The same labels on another grid, counted anew."""
        tally = np.bincount(voxels.ravel(), minlength=max(self.names, default=0) + 1)
        counts = {label: int(tally[label]) for label in self.names}
        return replace(self, voxels=voxels, affine=affine, counts=counts)


def spacing_of(affine: Matrix) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z
