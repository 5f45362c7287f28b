"""Write volumes and labels as NIfTI-1 files: headers by nibabel, bytes a slice at a time.

The same voxels and affine give the same bytes on every machine; compressed files also need the same
compression library (`isal` of the extra `fast` where it is installed, otherwise zlib).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels, is_sheared
from tcia_assets.errors import UsageError
from tcia_assets.store.files import publish

_LONGEST_SIDE = 0x7FFF
# Labels of each reader on their own have a fourth.
_AXES = (3, 4)
_SCANNER = 1
_FASTEST = 1
# The wbits of zlib for a gzip header, which then has no file name and no time.
_GZIP = 31
# The matrix of a rotation by 180 degrees is symmetric; DICOM's cosines have six digits.
_SYMMETRIC = 1e-5
_NO_ROTATION = 1e-7


def write_nifti(path: Path, image: Volume | Labels, *, is_placed: bool = True) -> int:
    """Write a NIfTI-1 file and return its size in bytes.

    The sform is the affine. The qform is the same, unless the affine has a shear (a gantry tilt),
    which only an sform can hold; its code is 0 then. Units are millimetres; slope 1, intercept 0.

    Args:
        path: Must end in `.nii`, or in `.nii.gz` for a compressed file.
        image: The voxels to write; their dtype is kept.
        is_placed: Whether the affine is a place in the patient; else its codes are 0, and the
            spacing alone is valid.

    Raises:
        UsageError: The path has a different ending, or NIfTI-1 cannot hold the image.
        StorageError: The file cannot be written; a file that was there is unchanged.
    """
    is_compressed = path.name.endswith(".nii.gz")
    if not is_compressed and path.suffix != ".nii":
        raise UsageError(f"the name of a NIfTI file must end in .nii or .nii.gz: {path.name!r}")
    header = nifti_header(image.voxels, image.affine)
    if not is_placed:
        header["sform_code"] = header["qform_code"] = 0

    def write(draft: Path) -> None:
        pieces = _pieces(header, image.voxels)
        with draft.open("wb") as file:
            for piece in _compressed(pieces) if is_compressed else pieces:
                file.write(piece)

    publish(path, write, keep_equal=False)
    return path.stat().st_size


def nifti_header(voxels: Voxels, affine: Matrix) -> nibabel.Nifti1Header:
    """Return the header of a single-file NIfTI-1 image; see `write_nifti`."""
    # nibabel has a form of its own for longer sides, which other readers cannot read.
    if voxels.ndim not in _AXES or max(voxels.shape) > _LONGEST_SIDE:
        raise UsageError(f"NIfTI-1 cannot hold a volume of shape {voxels.shape}")
    header = nibabel.Nifti1Header(endianness="<")
    try:
        header.set_data_dtype(voxels.dtype)
    except HeaderDataError as error:
        raise UsageError(f"NIfTI-1 cannot hold {voxels.dtype} voxels") from error
    header.set_data_shape(voxels.shape[::-1])
    header.set_data_offset(nibabel.Nifti1Header.single_vox_offset)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header.set_sform(affine, _SCANNER)
    header.set_qform(affine, 0 if is_sheared(affine) else _SCANNER)
    _stabilise_quaternion(header, affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    return header


def _stabilise_quaternion(header: nibabel.Nifti1Header, axes: Matrix) -> None:
    """Remove what depends on the processor's linear algebra library.

    That is noise in place of zeros and, at half a turn, the sign: both signs mean the same there.
    """
    quaternion = np.array([header[f"quatern_{name}"] for name in "bcd"])
    quaternion[np.abs(quaternion) < _NO_ROTATION] = 0
    rotation = axes * [1, 1, np.sign(np.linalg.det(axes))]
    is_half_turn = np.trace(rotation) < 0 and np.abs(rotation - rotation.T).max() < _SYMMETRIC
    if is_half_turn and quaternion[np.flatnonzero(quaternion)[0]] < 0:
        quaternion = -quaternion
    for name, value in zip("bcd", quaternion, strict=True):
        header[f"quatern_{name}"] = value + 0  # makes 0 of a negative zero


def _pieces(header: nibabel.Nifti1Header, voxels: Voxels) -> Iterator[Any]:
    """Yield the bytes of a file, a slice at a time: x runs fastest."""
    block = header.binaryblock
    yield block + bytes(header.get_data_offset() - len(block))
    for image in voxels.reshape(-1, *voxels.shape[-2:]):
        little_endian = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
        yield little_endian.data.cast("B")


def _compressed(pieces: Iterator[Any]) -> Iterator[bytes]:
    """Compress with gzip; what isal returns also depends on where the pieces end."""
    try:
        from isal import isal_zlib as zlib  # noqa: PLC0415 - an optional extra
    except ImportError:
        import zlib  # type: ignore[no-redef] # noqa: PLC0415
    compressor = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
