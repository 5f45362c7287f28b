"""The grid of a sample, which all its channels and its labels have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tcia_assets.datasets.volume.arrays import Matrix, Volume
from tcia_assets.datasets.volume.regrid import Size, reorient, resample, resample_onto
from tcia_assets.datasets.volume_settings import VolumeSettings


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid: from voxel (x, y, z, 1) to RAS+ millimetres, and its voxels along x, y, z."""

    affine: Matrix
    size: Size

    @classmethod
    def of(cls, volume: Volume) -> Grid:
        """Return the grid of a volume."""
        x, y, z = volume.voxels.shape[::-1]
        return cls(volume.affine, (x, y, z))


def to_grid(image: Any, settings: VolumeSettings, grid: Grid | None = None) -> Any:
    """Return a volume or labels on a grid, or where there is none as the settings say."""
    if grid is not None:
        return resample_onto(image, grid.affine, grid.size)
    if settings.spacing is not None:
        return resample(image, settings.spacing, settings.orientation)
    if settings.orientation is not None:
        return reorient(image, settings.orientation)
    return image
