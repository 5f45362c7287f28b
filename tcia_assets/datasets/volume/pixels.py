"""Read the pixels of a stack of frames into one array, and rescale them.

Uncompressed pixels are decompressed from the zip into one buffer per object and copied from there
into the volume, so memory is the volume, one object per thread and, if rescaled values do not fit
into 16 bits, a float32 copy. Compressed transfer syntaxes are decoded by pydicom and its plugins
(the extra `codecs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from pydicom.pixels.utils import pixel_array

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.decoders import decoder_of
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip

_INT16 = np.iinfo(np.int16)
MAX_REASON_LENGTH = 200


@dataclass(frozen=True)
class StoredPixels:
    """Stored values [z, y, x], with the lowest and highest value of each slice."""

    voxels: Voxels
    lowest: Voxels
    highest: Voxels


class UndecodablePixels(Exception):
    """Pixels of a slice cannot be read; `finding` has the object and the reason."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.message)


def read_pixels(series_zip: SeriesZip, frames: Sequence[Frame]) -> StoredPixels:
    """Read the stored values of frames that all have the same size.

    Raises:
        UndecodablePixels: The pixels of a frame cannot be read.
        MissingExtra: They need a decoder that is not installed.
        BadArchive: The zip is damaged.
    """
    dtypes = [_dtype_of(frame) for frame in frames]
    shape = (len(frames), frames[0].rows, frames[0].columns)
    pixels = StoredPixels(
        np.empty(shape, np.result_type(*dtypes)),
        np.zeros(len(frames), np.int64),
        np.zeros(len(frames), np.int64),
    )

    def read(job: tuple[DicomObject, list[int]]) -> None:
        dicom_object, slices = job
        own = [frames[z] for z in slices]
        for z, image in zip(slices, _images(series_zip, dicom_object, own), strict=True):
            _store(pixels, z, image, frames[z])

    jobs = list(_group_by_object(frames))
    native = [job for job in jobs if job[0].pixels is not None]
    # In the order of names, because `SeriesZip` decompresses ahead in that order.
    list(map(read, native) if series_zip.pool is None else series_zip.pool.map(read, native))
    for job in jobs:
        if job[0].pixels is None:
            read(job)
    return pixels


def rescale(pixels: StoredPixels, slopes: Iterable[float], intercepts: Iterable[float]) -> Voxels:
    """Apply the slope and intercept of each slice: to int16 if that is exact, else to float32.

    The stored voxels may be overwritten, and may be the result.
    """
    slope, intercept = np.array(list(slopes)), np.array(list(intercepts))
    ends = np.array([pixels.lowest * slope, pixels.highest * slope]) + intercept
    is_integer = bool(np.all(slope == np.rint(slope)) and np.all(intercept == np.rint(intercept)))
    if is_integer and ends.min() >= _INT16.min and ends.max() <= _INT16.max:
        return _rescale_to_int16(pixels.voxels, slope, intercept)
    voxels = np.empty(pixels.voxels.shape, np.float32)
    for z, image in enumerate(pixels.voxels):
        np.add(image * slope[z], intercept[z], out=voxels[z], casting="same_kind")
    return voxels


def _rescale_to_int16(stored: Voxels, slope: Voxels, intercept: Voxels) -> Voxels:
    # Results that fit into 16 bits are right modulo 2**16, even if intermediate values overflow.
    is_16_bit = stored.itemsize == np.int16().itemsize
    voxels = stored.view(np.int16) if is_16_bit else stored.astype(np.int16)
    for z in range(len(voxels)):
        if slope[z] != 1:
            voxels[z] *= _wrap_to_int16(slope[z])
        if intercept[z] != 0:
            voxels[z] += _wrap_to_int16(intercept[z])
    return voxels


def _wrap_to_int16(number: float) -> np.int16:
    return np.uint16(int(number) % (1 << 16)).view(np.int16)


def _group_by_object(frames: Sequence[Frame]) -> Iterator[tuple[DicomObject, list[int]]]:
    """Yield each object once, in the order of names, with the slices of its frames."""

    def name_of(z: int) -> str:
        return frames[z].dicom_object.entry.name

    for _, group in groupby(sorted(range(len(frames)), key=name_of), key=name_of):
        slices = list(group)
        yield frames[slices[0]].dicom_object, slices


def _dtype_of(frame: Frame) -> np.dtype[Any]:
    if frame.dtype is None or not 0 < frame.bits_stored <= 8 * frame.dtype.itemsize:
        raise undecodable(frame.sop_instance_uid, "unsupported BitsAllocated or BitsStored")
    if not frame.rows or not frame.columns:
        raise undecodable(frame.sop_instance_uid, "Rows or Columns are missing")
    return frame.dtype


def stored_value(number: int, frame: Frame) -> int:
    """Return a number that a header has in the wrong sign or size as the pixels have it."""
    dtype = _dtype_of(frame)
    bits = 8 * dtype.itemsize
    image = np.array([number % (1 << bits)], np.dtype(f"<u{dtype.itemsize}")).view(dtype)
    return int(_valid_pixels(image, frame)[0])


def _store(pixels: StoredPixels, z: int, image: Voxels, frame: Frame) -> None:
    valid = _valid_pixels(image, frame)
    pixels.voxels[z] = valid
    pixels.lowest[z], pixels.highest[z] = int(valid.min()), int(valid.max())


def _valid_pixels(image: Voxels, frame: Frame) -> Voxels:
    """Return the pixels without bits that are not stored, if they have any."""
    least, greatest = _valid_range(frame)
    is_shifted = frame.high_bit != frame.bits_stored - 1
    if is_shifted or int(image.min()) < least or int(image.max()) > greatest:
        return _remove_unused_bits(image, frame)
    return image


def _valid_range(frame: Frame) -> tuple[int, int]:
    is_signed = frame.dtype is not None and frame.dtype.kind == "i"
    half = 1 << (frame.bits_stored - 1)
    return (-half, half - 1) if is_signed else (0, 2 * half - 1)


def _remove_unused_bits(image: Voxels, frame: Frame) -> Voxels:
    """Shift out bits that are not stored (an overlay, or a missing sign), and extend the sign."""
    bits = 8 * image.itemsize
    return (image << (bits - 1 - frame.high_bit)) >> (bits - frame.bits_stored)


# --- The images of one object ---------------------------------------------------------------------


def _images(
    series_zip: SeriesZip, dicom_object: DicomObject, frames: list[Frame]
) -> Iterator[Voxels]:
    if dicom_object.pixels is None:
        return _decode(series_zip, dicom_object, frames)
    return _view_native(series_zip, dicom_object, dicom_object.pixels, frames)


def _view_native(
    series_zip: SeriesZip, dicom_object: DicomObject, pixels: slice, frames: list[Frame]
) -> Iterator[Voxels]:
    """Yield views of uncompressed pixels."""
    dtype, count = _dtype_of(frames[0]), frames[0].rows * frames[0].columns
    for frame in frames:
        if pixels.start + (frame.index + 1) * count * dtype.itemsize > pixels.stop:
            raise undecodable(
                frame.sop_instance_uid, "there are fewer pixels than the header states"
            )
    content = series_zip.read(dicom_object.entry)
    for frame in frames:
        start = pixels.start + frame.index * count * dtype.itemsize
        yield np.frombuffer(content, dtype, count, start).reshape(frame.rows, frame.columns)


def _decode(
    series_zip: SeriesZip, dicom_object: DicomObject, frames: list[Frame]
) -> Iterator[Voxels]:
    dataset = series_zip.read_dataset(dicom_object)
    decoder = decoder_of(dicom_object)
    for frame in frames:
        try:
            image = pixel_array(dataset, raw=True, index=frame.index, decoding_plugin=decoder)
        except Exception as error:
            # Decoders raise nearly any exception on damaged pixels.
            raise undecodable(frame.sop_instance_uid, str(error)[:MAX_REASON_LENGTH]) from error
        if image.shape != (frame.rows, frame.columns) or image.dtype.kind not in "iu":
            reason = f"they decode to {image.dtype} of shape {image.shape}"
            raise undecodable(frame.sop_instance_uid, reason)
        yield image


def undecodable(uid: str, reason: str) -> UndecodablePixels:
    """Return the error for an object whose pixels cannot be decoded."""
    return UndecodablePixels(make_finding("undecodable_pixels", f"{uid}, {reason}", [uid]))
