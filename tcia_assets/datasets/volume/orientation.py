"""Turn volumes and labels to other axes, without changing a voxel."""

from __future__ import annotations

from itertools import product
from typing import TypeVar

import nibabel
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume
from tcia_assets.errors import UsageError

Image = TypeVar("Image", Volume, Labels)

_DIRECTIONS = {frozenset(letters) for letters in product("LR", "PA", "IS")}


def axis_codes(affine: Matrix) -> str:
    """Return the direction of each axis: x, y, z as letters out of L/R, P/A and I/S.

    Args:
        affine: From voxel (x, y, z, 1) to RAS+ millimetres.

    >>> import numpy as np
    >>> axis_codes(np.diag([-1.0, -1.0, 2.0, 1.0]))
    'LPS'
    """
    return "".join(nibabel.aff2axcodes(affine))


def reorient(image: Image, orientation: str) -> Image:
    """Return the image with axes in these directions, as a view of the same voxels.

    An oblique image stays oblique: each axis is the one nearest to its direction.

    Args:
        image: A volume or labels.
        orientation: The directions of x, y and z, such as "RAS" or "LPS".

    Raises:
        UsageError: The orientation is not three letters, one out of each pair.
    """
    check_orientation(orientation)
    if axis_codes(image.affine) == orientation:
        return image
    voxels = image.voxels.T
    turn = ornt_transform(nibabel.io_orientation(image.affine), axcodes2ornt(orientation))
    turned = apply_orientation(voxels, turn)
    return image.on_grid(turned.T, image.affine @ inv_ornt_aff(turn, voxels.shape))


def check_orientation(orientation: str) -> None:
    """Raise UsageError unless the orientation is three letters, one out of each pair."""
    if len(orientation) != 3 or frozenset(orientation) not in _DIRECTIONS:  # noqa: PLR2004
        raise UsageError(
            "an orientation is three letters, one of L and R, one of P and A, one of I and S: "
            f"{orientation!r}"
        )
