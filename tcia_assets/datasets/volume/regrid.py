"""Put volumes and labels on other grids: turn the axes, or resample to a different spacing.

Turning changes no voxel. Resampling is done by SimpleITK (the extra `resample`): volumes are
interpolated linearly, labels by the nearest voxel. SimpleITK gets both grids as one transform
between voxel indices: its own images cannot have the shear of a gantry tilt, which is removed by
resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar

import nibabel
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels
from tcia_assets.errors import MissingExtra, UsageError

Image = TypeVar("Image", Volume, Labels)
Size = tuple[int, int, int]

# Grids that differ by less, in voxels, are the same: headers round.
_SAME_PLACE = 0.01
# Along each axis, to see how far a grid is covered.
_POSITIONS = 33
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


def resample(
    image: Image, spacing: Sequence[float | None], orientation: str | None = None
) -> Image:
    """Return the image on a grid with a different spacing and orthogonal axes.

    The centre stays the same, and so does the extent, to half a voxel. A volume gets the dtype
    float32, so that its values are rounded once, where they are converted for writing. Voxels
    outside the original grid get its lowest value, or no label.

    Args:
        image: A volume or labels.
        spacing: Millimetres along x, y and z of the result; None along an axis that keeps its own.
        orientation: The directions of the result's axes, see `reorient`; None keeps them.

    Raises:
        UsageError: The spacing is not three positive numbers, or the orientation is invalid.
        MissingExtra: SimpleITK is not installed.
    """
    turned = image if orientation is None else reorient(image, orientation)
    new_spacing = _new_spacing(turned.affine, spacing)
    affine, size = _new_grid(turned.affine, turned.voxels.shape[-3:][::-1], new_spacing)
    return _onto(turned, affine, size)


def resample_onto(image: Image, affine: Matrix, size: Size) -> Image:
    """Return the image on a given grid; the same image if that is its own.

    A volume on a new grid has the dtype float32, and labels are those of the nearest voxel: see
    `resample`.

    Args:
        image: A volume or labels.
        affine: Of the grid, from voxel (x, y, z, 1) to RAS+ millimetres.
        size: Voxels of the grid along x, y and z.

    Raises:
        MissingExtra: The grids differ, and SimpleITK is not installed.
    """
    own = image.voxels.shape[-3:][::-1]
    if own == tuple(size) and _farthest(image.affine, affine, size) < _SAME_PLACE:
        return image
    return _onto(image, affine, size)


def _onto(image: Image, affine: Matrix, size: Size) -> Image:
    to_old = np.linalg.inv(image.affine) @ affine
    is_linear = isinstance(image, Volume)
    boxes = image.voxels.reshape(-1, *image.voxels.shape[-3:])
    resampled = [_resample(box, to_old, size, is_linear=is_linear) for box in boxes]
    voxels = resampled[0] if image.voxels.ndim == 3 else np.stack(resampled)  # noqa: PLR2004
    return image.on_grid(voxels, affine)


def covered_share(image: Image, affine: Matrix, size: Size) -> float:
    """Return about which share of a grid, from 0 to 1, lies inside an image.

    It is that of at most 33 positions along each axis.
    """
    own = np.array(image.voxels.shape[-3:][::-1])
    axes = [np.linspace(0, count - 1, min(count, _POSITIONS)) for count in size]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    to_own = np.linalg.inv(image.affine) @ affine
    places = points @ to_own[:3, :3].T + to_own[:3, 3]
    inside = (places >= -0.5 - _SAME_PLACE) & (places <= own - 0.5 + _SAME_PLACE)
    return float(inside.all(axis=1).mean())


def _farthest(one: Matrix, other: Matrix, size: Size) -> float:
    """Return how far a corner of the second grid is from its place in the first, in voxels."""
    corners = np.array(list(product(*((0, count - 1) for count in size))), dtype=np.float64)
    to_one = np.linalg.inv(one) @ other
    return float(np.abs(corners @ to_one[:3, :3].T + to_one[:3, 3] - corners).max())


def _new_spacing(affine: Matrix, spacing: Sequence[float | None]) -> Matrix:
    """Return the spacing of the result, with that of the old grid along an axis that keeps it."""
    own = np.abs((_orthogonal_axes(affine[:3, :3]) * affine[:3, :3]).sum(axis=0))
    chosen = [old if new is None else new for old, new in zip(own, spacing, strict=False)]
    found = np.array(chosen, dtype=np.float64)
    if len(spacing) != own.size or not (np.isfinite(found) & (found > 0)).all():
        raise UsageError(f"a spacing is three positive numbers: {spacing!r}")
    return found


def _new_grid(affine: Matrix, size: Sequence[int], spacing: Matrix) -> tuple[Matrix, Size]:
    """Return affine and size (x, y, z) of a grid with orthogonal axes that covers the old grid.

    It has the centre of the old grid, and its extent to half a voxel.
    """
    axes = _orthogonal_axes(affine[:3, :3])
    corners = np.array(list(product(*((-0.5, count - 0.5) for count in size))))
    along = (corners @ affine[:3, :3].T + affine[:3, 3]) @ axes
    extent, centre = np.ptp(along, axis=0), axes @ (along.max(axis=0) + along.min(axis=0)) / 2
    counts = np.maximum(np.rint(extent / spacing), 1).astype(int)
    new_affine = np.eye(4)
    new_affine[:3, :3] = axes * spacing
    new_affine[:3, 3] = centre - new_affine[:3, :3] @ ((counts - 1) / 2)
    x, y, z = counts.tolist()
    return new_affine, (x, y, z)


def _orthogonal_axes(columns: Matrix) -> Matrix:
    """Return unit vectors: x as it is, y in the old xy plane, z on the side of the old z."""
    x = columns[:, 0] / np.linalg.norm(columns[:, 0])
    y = columns[:, 1] - (columns[:, 1] @ x) * x
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    return np.stack([x, y, z * np.sign(z @ columns[:, 2])], axis=1)


def _resample(voxels: Voxels, to_old: Matrix, size: Size, *, is_linear: bool) -> Voxels:
    """Resample between grids of voxel indices: linearly, or to the nearest voxel."""
    try:
        import SimpleITK  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("SimpleITK", "resample", "resampling") from None
    itk: Any = SimpleITK  # partly typed
    transform = itk.AffineTransform(3)
    transform.SetMatrix(to_old[:3, :3].ravel().tolist())
    transform.SetTranslation(to_old[:3, 3].tolist())
    interpolator = itk.sitkLinear if is_linear else itk.sitkNearestNeighbor
    origin, unit_spacing, no_rotation = (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist()
    grid = (size, transform, interpolator, origin, unit_spacing, no_rotation)
    outside = float(voxels.min()) if is_linear else 0.0
    pixel_type = itk.sitkFloat32 if is_linear else itk.sitkUnknown  # which keeps the type
    image = itk.GetImageFromArray(np.ascontiguousarray(voxels))
    values: Voxels = itk.GetArrayFromImage(itk.Resample(image, *grid, outside, pixel_type))
    return values
