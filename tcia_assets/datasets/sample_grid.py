"""The grid of a sample, which all its channels and its labels have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcia_assets.datasets.crop_settings import LABEL, CropSettings
from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume
from tcia_assets.datasets.volume.boxes import Box, box_of, count_outside
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.intensities import HOUNSFIELD
from tcia_assets.datasets.volume.regrid import Size, reorient, resample, resample_onto
from tcia_assets.datasets.volume_settings import VolumeSettings

# In HU: what is above is no air.
_AIR = -500.0


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


def find_box(
    settings: VolumeSettings, volume: Volume, labels: Labels | None
) -> tuple[Box, list[Finding]]:
    """Return the box of voxels that is written, and findings about it.

    Args:
        settings: How volumes are written.
        volume: On its grid; that of the reference channel.
        labels: On the same grid, if there are any.
    """
    box, findings = Box.of(volume), []
    if settings.crop is not None:
        found = box_of(_cropped_to(settings.crop, volume, labels))
        if found is None:
            findings.append(make_finding("nothing_to_crop_to", settings.crop.to))
        else:
            box = found.with_margin(settings.crop.margin, volume.spacing, box)
    if settings.size is not None:
        box = box.resized(settings.size)
        if labels is not None and (lost := count_outside(labels.voxels, box)):
            findings.append(make_finding("labels_cut_off", f"{lost} voxels", voxels=lost))
        if not Box.of(volume).covers(box):
            findings.append(make_finding("padded_to_size", _sizes(volume, box)))
    return box, findings


def _sizes(volume: Volume, box: Box) -> str:
    own, size = (" x ".join(map(str, each)) for each in (Box.of(volume).size, box.size))
    return f"the grid has {own} voxels, and {size} are written"


def _cropped_to(crop: CropSettings, volume: Volume, labels: Labels | None) -> Any:
    """Return which voxels a grid is cropped to; none where an image has no labels."""
    if crop.to == LABEL:
        return np.zeros((1, 1, 1), bool) if labels is None else labels.voxels > 0
    least = _AIR if volume.units == HOUNSFIELD else 0.0
    return volume.voxels > (least if crop.above is None else crop.above)


def to_grid(image: Any, settings: VolumeSettings, grid: Grid | None = None) -> Any:
    """Return a volume or labels on a grid, or where there is none as the settings say."""
    if grid is not None:
        return resample_onto(image, grid.affine, grid.size)
    if settings.spacing is not None:
        return resample(image, settings.spacing, settings.orientation)
    if settings.orientation is not None:
        return reorient(image, settings.orientation)
    return image
