"""Volumes and labels on other axes or another grid.

What belongs here: turning by whole axes, which changes no voxel, and resampling, which does. What
does not: intensities.

SimpleITK (the extra `resample`) interpolates: linearly for volumes, by the nearest voxel for
labels. The grids are given to it as one transform between their indices, so that a volume whose
slices are shifted against each other (a gantry tilt) is straightened, which ITK's own notion of an
image could not express.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any, TypeVar

import numpy as np

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels
from tcia_assets.errors import MissingExtra, UsageError

Image = TypeVar("Image", Volume, Labels)

_ENDS = ("LR", "PA", "IS")


def axis_codes(affine: Matrix) -> str:
    """The ends to which x, y and z rise most, of Right or Left, Anterior, Posterior, Superior ...

    >>> axis_codes(np.diag([-1.0, -1.0, 2.0, 1.0]))
    'LPS'
    """
    order = _world_axes(affine)
    ends = (_ENDS[world][int(affine[world, axis] > 0)] for axis, world in enumerate(order))
    return "".join(ends)


def reorient(image: Image, orientation: str) -> Image:
    """The same voxels with axes that rise to these ends, as "RAS" or "LPS"; a view, no copy.

    An oblique image stays oblique: its axes are those that come nearest.

    Raises:
        UsageError: that is no orientation.
    """
    _demand_orientation(orientation)
    own = axis_codes(image.affine)
    if own == orientation:
        return image
    old_of = [next(a for a in range(3) if own[a] in _pair(end)) for end in orientation]
    voxels = image.voxels.T.transpose(old_of)
    from_new = np.eye(4)
    from_new[:3, :3] = 0
    for new, old in enumerate(old_of):
        is_flipped = own[old] != orientation[new]
        from_new[old, new] = -1 if is_flipped else 1
        from_new[old, 3] = voxels.shape[new] - 1 if is_flipped else 0
        if is_flipped:
            voxels = np.flip(voxels, new)
    return image.on_grid(voxels.T, image.affine @ from_new)


def resample(image: Image, spacing: Sequence[float], orientation: str | None = None) -> Image:
    """The image at another spacing, in millimetres along x, y and z of the result.

    Its axes are at right angles, and its centre and (to half a voxel) its extent stay. Volumes keep
    their dtype: where that is whole, values are rounded. What lies outside of the original is its
    lowest value, or no label.

    Raises:
        UsageError: a spacing that is not three numbers above zero, or no orientation.
        MissingExtra: SimpleITK is not installed.
    """
    wanted = np.array(spacing, dtype=np.float64)
    if wanted.shape != (3,) or not (np.isfinite(wanted) & (wanted > 0)).all():
        raise UsageError(f"a spacing is three numbers above zero, not {spacing!r}")
    turned = image if orientation is None else reorient(image, orientation)
    affine, size = _new_grid(turned.affine, turned.voxels.shape[::-1], wanted)
    # Labels have no values in between.
    is_linear = isinstance(image, Volume)
    voxels = _interpolated(turned.voxels, turned.affine, affine, size, is_linear=is_linear)
    return image.on_grid(voxels, affine)


def _demand_orientation(orientation: str) -> None:
    if sorted(orientation) not in [sorted(ends) for ends in product(*_ENDS)]:
        raise UsageError(
            f"an orientation is one of L and R, of P and A, and of I and S, not {orientation!r}"
        )


def _pair(end: str) -> str:
    return next(ends for ends in _ENDS if end in ends)


def _world_axes(affine: Matrix) -> tuple[int, ...]:
    """The world's axis that each axis of the voxels follows most, each once."""
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return max(
        permutations(range(3)),
        key=lambda order: sum(cosines[order[axis], axis] for axis in range(3)),
    )


# --- Resampling -----------------------------------------------------------------------------------


def _new_grid(
    affine: Matrix, size: Sequence[int], spacing: Matrix
) -> tuple[Matrix, tuple[int, int, int]]:
    """Axes at right angles around all of the old grid, to half a voxel, and with its centre."""
    axes = _right_angled(affine[:3, :3])
    corners = np.array(list(product(*((-0.5, count - 0.5) for count in size))))
    along = (corners @ affine[:3, :3].T + affine[:3, 3]) @ axes
    extent, centre = np.ptp(along, axis=0), axes @ (along.max(axis=0) + along.min(axis=0)) / 2
    counts = np.maximum(np.rint(extent / spacing), 1).astype(int)
    made = np.eye(4)
    made[:3, :3] = axes * spacing
    made[:3, 3] = centre - made[:3, :3] @ ((counts - 1) / 2)
    x, y, z = counts.tolist()
    return made, (x, y, z)


def _right_angled(columns: Matrix) -> Matrix:
    x = columns[:, 0] / np.linalg.norm(columns[:, 0])
    y = columns[:, 1] - (columns[:, 1] @ x) * x
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    return np.stack([x, y, z * np.sign(z @ columns[:, 2])], axis=1)


def _interpolated(
    voxels: Voxels,
    affine: Matrix,
    new_affine: Matrix,
    size: tuple[int, int, int],
    *,
    is_linear: bool,
) -> Voxels:
    itk = _itk()
    source = itk.GetImageFromArray(np.ascontiguousarray(voxels))
    to_source = np.linalg.inv(affine) @ new_affine
    transform = itk.AffineTransform(3)
    transform.SetMatrix(to_source[:3, :3].ravel().tolist())
    transform.SetTranslation(to_source[:3, 3].tolist())
    made = itk.Resample(
        source,
        size,
        transform,
        itk.sitkLinear if is_linear else itk.sitkNearestNeighbor,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        np.eye(3).ravel().tolist(),
        float(voxels.min()) if is_linear else 0.0,
        # ITK cuts off what whole numbers cannot hold.
        itk.sitkFloat32 if is_linear else source.GetPixelID(),
    )
    found: Voxels = itk.GetArrayFromImage(made)
    if is_linear and voxels.dtype.kind in "iu":
        return np.rint(found, out=found).astype(voxels.dtype)
    return found


def _itk() -> Any:
    try:
        import SimpleITK  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("SimpleITK", "resample", "resampling") from None
    return SimpleITK
