"""Volume and Labels: voxel arrays with an affine, and the axis convention of the whole package.

`voxels` is indexed [z, y, x]; x varies fastest in memory, as in DICOM pixels and NIfTI files.
`affine` maps the column (x, y, z, 1) to millimetres in RAS+ (right, anterior and superior are
positive), as in NIfTI; `affine_lps` maps it to the coordinates of DICOM. `voxels.T` and `affine`
are nibabel's data and affine. Labels of each reader on their own are indexed [reader, z, y, x].
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tcia_assets.datasets.volume.findings import Finding

Matrix = NDArray[np.float64]
Voxels = NDArray[Any]

# The largest cosine between two axes that count as orthogonal.
_ORTHOGONAL = 1e-4
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def sha256_of_values(values: Voxels) -> str:
    """Hash shape, dtype and values of an array, in hexadecimal; the same on every machine."""
    dtype = values.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{values.shape} {dtype.str}\n".encode())
    for part in values:
        digest.update(np.ascontiguousarray(part, dtype=dtype).data)
    return digest.hexdigest()


def swap_lps_ras(affine: Matrix) -> Matrix:
    """Convert an affine to LPS into one to RAS+, or back: the conversion is its own inverse."""
    return _LPS_TO_RAS @ affine


def is_sheared(affine: Matrix) -> bool:
    """Return whether two axes are not orthogonal, as under a gantry tilt."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _ORTHOGONAL)


@dataclass(frozen=True)
class Slice:
    """A slice's DICOM object, and the centre of its first pixel in LPS millimetres."""

    sop_instance_uid: str
    position: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class _Grid:
    voxels: Voxels
    affine: Matrix

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from voxel to voxel along x, y and z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z


@dataclass(frozen=True, eq=False)
class Volume(_Grid):
    """The voxels of one Series; the module documents the axes.

    `units` is "HU", "SUVbw", or "stored": the rescaled values in whatever unit they have. `slices`
    are in the order of `voxels`; a resampled or reoriented volume has none. `number` and `name`
    distinguish it from the other volumes of its Series; they are 0 and "" for the only one.
    `decoder` is the library that decompressed the pixels, "" for pixels that were not compressed.
    """

    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    units: str
    slices: tuple[Slice, ...] = ()
    findings: tuple[Finding, ...] = ()
    number: int = 0
    name: str = ""
    decoder: str = ""

    @property
    def affine_lps(self) -> Matrix:
        """The affine from voxel (x, y, z, 1) to LPS millimetres."""
        return swap_lps_ras(self.affine)

    def on_grid(self, voxels: Voxels, affine: Matrix) -> Self:
        """Return the volume on a new grid, without `slices`: they belong to the old one."""
        return replace(self, voxels=voxels, affine=affine, slices=())


@dataclass(frozen=True, eq=False)
class Labels(_Grid):
    """One label per voxel of a volume, 0 for none; the module documents the axes.

    `names` has the name of each requested label, `counts` its number of voxels, and `unmatched` the
    names of segments and ROIs that match no label. Where each reader has labels of their own,
    `readers` has the SOPInstanceUIDs of each one's objects, and `counts` are over all readers.
    """

    names: Mapping[int, str]
    counts: Mapping[int, int] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    readers: tuple[tuple[str, ...], ...] = ()

    def on_grid(self, voxels: Voxels, affine: Matrix) -> Self:
        """Return the labels on a new grid, with new counts."""
        return replace(self, voxels=voxels, affine=affine, counts=count_labels(voxels, self.names))


def count_labels(voxels: Voxels, names: Mapping[int, str]) -> dict[int, int]:
    """Count the voxels of each label in `names`, also of those that have none."""
    size = max(names, default=0) + 1
    counts = np.zeros(size, np.int64)
    # A slice at a time: numpy makes a copy with eight bytes a voxel.
    for plane in voxels.reshape(-1, voxels.shape[-2] * voxels.shape[-1]):
        if plane.any():
            counts += np.bincount(plane, minlength=size)
    return {label: int(counts[label]) for label in names}
