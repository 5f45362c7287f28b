"""The pixels of a stack -> one array, as small as is exact.

What belongs here: reading, decoding, rescaling. What does not: which slices, and where they lie.

Uncompressed pixels are inflated into one member's buffer and copied from there to their place in
the volume, so that memory is the volume, one object a thread, and, where rescaled values do not
fit into 16 bits, the float32 copy. All else is decoded by pydicom and its plugins (`codecs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip
from tcia_assets.errors import MissingExtra

_INT16 = np.iinfo(np.int16)
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Stored:
    """Voxels as they are stored, and the lowest and highest of each slice."""

    voxels: Voxels
    lowest: Voxels
    highest: Voxels


class Undecodable(Exception):
    """Pixels that cannot be read; `finding` says whose and why."""

    def __init__(self, found: Finding) -> None:
        self.finding = found
        super().__init__(found.message)


def stored(archive: SeriesZip, frames: Sequence[Frame]) -> Stored:
    """The stored values of frames of one size.

    Raises:
        Undecodable: pixels cannot be read.
        MissingExtra: they can with a decoder that is not installed.
        BadArchive: a member of the zip does not inflate.
    """
    dtypes = [_dtype(frame) for frame in frames]
    shape = (len(frames), frames[0].rows, frames[0].columns)
    into = Stored(
        np.empty(shape, np.result_type(*dtypes)),
        np.zeros(len(frames), np.int64),
        np.zeros(len(frames), np.int64),
    )
    jobs = list(_by_member(frames))

    def put(job: tuple[DicomObject, list[int]]) -> None:
        member, places = job
        for place, image in zip(places, _images(archive, member, frames, places), strict=True):
            _put(into, place, image, frames[place])

    plain = [job for job in jobs if job[0].pixels is not None]
    # Asked for in the order of names, in which they are inflated ahead.
    list(map(put, plain) if archive.pool is None else archive.pool.map(put, plain))
    for job in jobs:
        if job[0].pixels is None:
            put(job)
    return into


def rescaled(values: Stored, slopes: Iterable[float], intercepts: Iterable[float]) -> Voxels:
    """Slope and intercept of each slice applied: int16 where that is exact, else float32.

    The stored voxels are used up: they may be what is returned.
    """
    slope, intercept = np.array(list(slopes)), np.array(list(intercepts))
    ends = np.array([values.lowest * slope, values.highest * slope]) + intercept
    is_whole = bool(np.all(slope == np.rint(slope)) and np.all(intercept == np.rint(intercept)))
    if is_whole and ends.min() >= _INT16.min and ends.max() <= _INT16.max:
        return _as_int16(values.voxels, slope, intercept)
    made = np.empty(values.voxels.shape, np.float32)
    for place, image in enumerate(values.voxels):
        np.add(image * slope[place], intercept[place], out=made[place], casting="same_kind")
    return made


def _as_int16(voxels: Voxels, slope: Voxels, intercept: Voxels) -> Voxels:
    # What fits into 16 bits is right modulo 2**16, whatever overflows on the way there.
    made = voxels.view(np.int16) if voxels.itemsize == np.int16().itemsize else None
    made = voxels.astype(np.int16) if made is None else made
    for place in range(len(made)):
        if slope[place] != 1:
            made[place] *= _wrapped(slope[place])
        if intercept[place] != 0:
            made[place] += _wrapped(intercept[place])
    return made


def _wrapped(number: float) -> np.int16:
    return np.uint16(int(number) % (1 << 16)).view(np.int16)


def _by_member(frames: Sequence[Frame]) -> Iterator[tuple[DicomObject, list[int]]]:
    """Each object once, with the places of its frames in the stack."""
    order = sorted(range(len(frames)), key=lambda place: frames[place].dicom_object.entry.name)
    for _, places in groupby(order, key=lambda place: frames[place].dicom_object.entry.name):
        own = list(places)
        yield frames[own[0]].dicom_object, own


def _dtype(frame: Frame) -> np.dtype[Any]:
    if frame.dtype is None or not 0 < frame.bits_stored <= 8 * frame.dtype.itemsize:
        raise _undecodable(frame, "BitsAllocated or BitsStored are not those of a volume")
    if not frame.rows or not frame.columns:
        raise _undecodable(frame, "Rows or Columns are missing")
    return frame.dtype


def _put(into: Stored, place: int, image: Voxels, frame: Frame) -> None:
    target = into.voxels[place]
    lowest, highest = int(image.min()), int(image.max())
    least, most = _range(frame)
    if lowest < least or highest > most or frame.high_bit != frame.bits_stored - 1:
        image = _without_unused_bits(image, frame)
        lowest, highest = int(image.min()), int(image.max())
    target[...] = image
    into.lowest[place], into.highest[place] = lowest, highest


def _range(frame: Frame) -> tuple[int, int]:
    is_signed = frame.dtype is not None and frame.dtype.kind == "i"
    half = 1 << (frame.bits_stored - 1)
    return (-half, half - 1) if is_signed else (0, 2 * half - 1)


def _without_unused_bits(image: Voxels, frame: Frame) -> Voxels:
    """Bits beyond those stored may hold an overlay, or no sign; shifting fills them rightly."""
    bits = 8 * image.itemsize
    return (image << (bits - 1 - frame.high_bit)) >> (bits - frame.bits_stored)


# --- One object's images --------------------------------------------------------------------------


def _images(
    archive: SeriesZip, member: DicomObject, frames: Sequence[Frame], places: list[int]
) -> Iterator[Voxels]:
    first = frames[places[0]]
    if member.pixels is None:
        yield from _decoded(archive, member, [frames[place] for place in places])
        return
    dtype, pixels = _dtype(first), first.rows * first.columns
    if (first.index + 1) * pixels * dtype.itemsize > member.pixels.stop - member.pixels.start:
        raise _undecodable(first, "there are fewer pixels than Rows and Columns say")
    content = archive.content(member.entry)
    for place in places:
        frame = frames[place]
        at = member.pixels.start + frame.index * pixels * dtype.itemsize
        if at + pixels * dtype.itemsize > member.pixels.stop:
            raise _undecodable(frame, "there are fewer pixels than NumberOfFrames says")
        yield np.frombuffer(content, dtype, pixels, at).reshape(frame.rows, frame.columns)


def _decoded(archive: SeriesZip, member: DicomObject, frames: list[Frame]) -> Iterator[Voxels]:
    dataset = archive.dataset(member)
    for frame in frames:
        try:
            image = pixel_array(dataset, raw=True, index=frame.index)
        except Exception as error:
            demand_decoder(member)
            # Decoders raise nearly anything on pixels that are not what they should be.
            raise _undecodable(frame, str(error)[:_LONGEST_REASON]) from error
        if image.shape != (frame.rows, frame.columns) or image.dtype.kind not in "iu":
            raise _undecodable(frame, f"they decode to {image.dtype} of {image.shape}")
        yield image


def demand_decoder(member: DicomObject) -> None:
    """Raises MissingExtra where no decoder of the object's transfer syntax is installed."""
    syntax = UID(member.header.file_meta.get("TransferSyntaxUID", ""))
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return
    if not decoder.is_available:
        raise MissingExtra("pylibjpeg", "codecs", f"decoding pixels as {syntax.name}") from None


def _undecodable(frame: Frame, reason: str) -> Undecodable:
    uid = frame.sop_instance_uid
    return Undecodable(make_finding("undecodable_pixels", f"{uid}, {reason}", [uid]))
