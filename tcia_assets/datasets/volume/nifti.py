"""Volumes and labels -> files of NIfTI-1.

What belongs here: the format. What does not: what is written, and where.

The same voxels and affine give the same bytes, on each machine; compressed, with the same library
(`isal`, of the extra `fast`, or else zlib).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels, spacing_of
from tcia_assets.errors import UsageError

_HEADER_BYTES = 348
# Four bytes say that there are no extensions.
_VOXELS_AT = _HEADER_BYTES + 4
# sizeof_hdr, 36 unused bytes, dim, intent; datatype to slice_start, pixdim, vox_offset to
# toffset, two unused; descrip, aux_file; the codes, quaternion and offsets; sform; intent_name.
_HEADER = struct.Struct("<i36x8h3fh 3h8f3fhBB4f2i 80s24s 2h6f 12f 16s4s")
_DATATYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "u2": 512}
_MILLIMETRES = 2
_SCANNER = 1
_LONGEST_SIDE = 0x7FFF
# Of two axes at right angles, the largest cosine; float32 holds seven digits.
_RIGHT_ANGLE = 1e-4
# Magic, deflate, no flags, no time, fastest, no system: the time would make each file another.
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_FASTEST = 1


def write_nifti(path: Path, image: Volume | Labels, *, compress: bool | None = None) -> int:
    """Writes a NIfTI-1 file, whole or not at all; gives its size in bytes.

    Its sform is the affine; so is its qform, unless the affine has a shear (a gantry tilt), which
    only an sform can tell. The unit is the millimetre, and no scaling is left to the reader.

    Args:
        path: ends in `.nii` or `.nii.gz`.
        image: what is written; its dtype stays.
        compress: must agree with the ending of `path`, which decides if nothing is said.

    Raises:
        UsageError: the ending is another, or NIfTI-1 cannot hold the image.
        OSError: it cannot be written; what was there is as it was.

    """
    is_compressed = path.name.endswith(".nii.gz")
    if not is_compressed and path.suffix != ".nii":
        raise UsageError(f"a NIfTI file ends in .nii or .nii.gz, not as {path.name!r}")
    if compress is not None and compress != is_compressed:
        ending = ".nii.gz" if compress else ".nii"
        raise UsageError(f"with compress={compress} a NIfTI file ends in {ending}: {path.name!r}")
    header = nifti_header(image.voxels, image.affine)
    with _whole(path) as file:
        if is_compressed:
            _write_compressed(file, header, image.voxels)
        else:
            file.write(header)
            for piece in _pieces(image.voxels):
                file.write(piece)
        return file.tell()


def nifti_header(voxels: Voxels, affine: Matrix) -> bytes:
    """The bytes of a file before its voxels.

    Raises:
        UsageError: NIfTI-1 cannot hold such voxels.
    """
    kind = voxels.dtype.str[1:]
    if voxels.ndim != 3 or max(voxels.shape) > _LONGEST_SIDE or kind not in _DATATYPES:  # noqa: PLR2004
        raise UsageError(f"NIfTI-1 cannot hold {voxels.dtype} voxels of {voxels.shape}")
    z, y, x = voxels.shape
    rotation = _rotation(affine)
    sign, quaternion = (1.0, (0.0, 0.0, 0.0)) if rotation is None else _quaternion(rotation)
    return _HEADER.pack(
        _HEADER_BYTES,
        *(3, x, y, z, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0, 0),
        *(_DATATYPES[kind], 8 * voxels.itemsize, 0),
        *(sign, *spacing_of(affine), 1.0, 1.0, 1.0, 1.0),
        *(_VOXELS_AT, 1.0, 0.0),
        *(0, 0, _MILLIMETRES),
        *(0.0, 0.0, 0.0, 0.0),
        *(0, 0),
        *(b"", b""),
        *(0 if rotation is None else _SCANNER, _SCANNER),
        *quaternion,
        *affine[:3, 3].tolist(),
        *affine[:3].ravel().tolist(),
        *(b"", b"n+1\0"),
    ) + bytes(_VOXELS_AT - _HEADER_BYTES)


# --- The qform ------------------------------------------------------------------------------------


def _rotation(affine: Matrix) -> Matrix | None:
    """The axes as unit vectors; None where they are not at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return axes if np.abs(axes.T @ axes - np.eye(3)).max() <= _RIGHT_ANGLE else None


def _quaternion(axes: Matrix) -> tuple[float, tuple[float, float, float]]:
    """qfac, and b, c and d of the unit quaternion whose a is not negative."""
    sign = 1.0 if np.linalg.det(axes) > 0 else -1.0
    turn = axes * np.array([1.0, 1.0, sign])
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    # The eigenvector of the largest eigenvalue (Bar-Itzhack 2000), stable for each rotation.
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    b, c, d, a = np.linalg.eigh(symmetric / 3)[1][:, -1].tolist()
    # At half a turn a is zero and may have either sign, as have the others then.
    first = next(value for value in (round(a, 9), b, c, d) if abs(value) > _RIGHT_ANGLE)
    turned = -1.0 if first < 0 else 1.0
    return sign, (turned * b, turned * c, turned * d)


# --- Bytes ----------------------------------------------------------------------------------------


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside its place, which it takes when all is written."""
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _pieces(voxels: Voxels) -> Iterator[memoryview]:
    """The voxels in the order of the file, a slice at a time: x runs fastest."""
    for image in voxels:
        little = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
        yield little.data.cast("B")


def _write_compressed(file: BinaryIO, header: bytes, voxels: Voxels) -> None:
    deflate, crc32 = _deflater()
    file.write(_GZIP_HEAD)
    file.write(deflate.compress(header))
    crc, size = crc32(header, 0), len(header)
    for piece in _pieces(voxels):
        file.write(deflate.compress(piece))
        crc, size = crc32(piece, crc), size + len(piece)
    file.write(deflate.flush())
    file.write(struct.pack("<2L", crc, size & 0xFFFF_FFFF))


def _deflater() -> tuple[Any, Callable[[Any, int], int]]:
    try:
        from isal import isal_zlib  # noqa: PLC0415 - an optional extra
    except ImportError:
        return zlib.compressobj(_FASTEST, zlib.DEFLATED, -zlib.MAX_WBITS), zlib.crc32
    return isal_zlib.compressobj(_FASTEST, zlib.DEFLATED, -zlib.MAX_WBITS), isal_zlib.crc32
