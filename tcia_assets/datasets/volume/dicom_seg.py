"""Draw the segments of DICOM SEG objects: binary, fractional and label maps.

A frame may be rotated or flipped against the image, and may be in one of its orthogonal planes. It
must lie on the image's grid, to a tenth of a voxel at each corner; frames are not resampled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_int,
    read_moment,
    read_number,
    read_text,
)
from tcia_assets.datasets.volume.decoders import decoder_of
from tcia_assets.datasets.volume.drawings import DrawingPad, Source
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import FunctionalGroups, Plane
from tcia_assets.datasets.volume.label_grid import LabelGrid
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip

SOP_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}  # and label maps
)
# In voxels, at the worst corner of a frame.
TOLERANCE = 0.1
_HALF = 0.5
_MAX_REASON_LENGTH = 200


@dataclass
class _Failures:
    """Frames that were left out: their distances from the grid in voxels, or the reasons."""

    off_grid: list[float] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def findings(self, uid: str) -> Iterator[Finding]:
        if self.off_grid:
            detail = f"{len(self.off_grid)} frames, up to {max(self.off_grid):.2f} voxels off"
            numbers = {"frames": len(self.off_grid), "farthest_voxels": max(self.off_grid)}
            yield make_finding("frames_off_grid", detail, [uid], **numbers)
        if self.unreadable:
            count = len(self.unreadable)
            detail = f"{count} frames, {self.unreadable[-1]}"
            yield make_finding("unreadable_mask", detail, [uid], frames=count)


def set_segments(grid: LabelGrid, series_zip: SeriesZip, dicom_object: DicomObject) -> None:
    """Draw all segments that match a label; of a fractional SEG, from half of its maximum on.

    Args:
        grid: Of the volume; this adds drawings to it.
        series_zip: The zip of the object.
        dicom_object: A SEG.

    Raises:
        MissingExtra: The pixels need a decoder that is not installed.
        BadArchive: The zip is damaged.
    """
    header = dicom_object.header
    segments = _match_segments(grid, header)
    pads = {number: DrawingPad(grid.shape) for number in segments}
    is_label_map = read_text(header, "SegmentationType") == "LABELMAP"
    threshold = _threshold(header)
    failures = _Failures()
    reader = _FrameReader(series_zip, dicom_object)
    for index, (plane, segment) in enumerate(_planes(header)):
        if not is_label_map and segment not in segments:
            continue
        try:
            placement = _place(grid, plane, reader.rows, reader.columns)
            if placement.error > TOLERANCE:
                failures.off_grid.append(placement.error)
                continue
            image = reader.read(index)
        except _Unreadable as error:
            failures.unreadable.append(str(error))
            continue
        if is_label_map:
            for number, pad in pads.items():
                _draw(grid, pad, image == number, placement)
        else:
            _draw(grid, pads[segment], image >= threshold, placement)
    source = Source(read_text(header, "SOPInstanceUID"), read_moment(header, "Content"))
    for number, (label, name) in segments.items():
        grid.add_drawing(pads[number].finish(label, name, source, number))
    grid.findings += failures.findings(source.sop_instance_uid)


def _threshold(header: Dataset) -> float:
    """Return the lowest value that belongs to a segment."""
    if read_text(header, "SegmentationType") != "FRACTIONAL":
        return 1
    highest = read_number(header, "MaximumFractionalValue") or float(np.iinfo(np.uint8).max)
    return _HALF * highest


def _match_segments(grid: LabelGrid, header: Dataset) -> dict[int, tuple[int, str]]:
    """Return labels and names by segment number; names without a label are added to the grid."""
    segments = {}
    for segment in header.get("SegmentSequence") or []:
        name, number = segment_name(segment), read_int(segment, "SegmentNumber", 0)
        if label := grid.patterns.label_of(name):
            segments[number] = (label, name)
        # Number 0 is the background of a label map.
        elif number != 0:
            grid.unmatched.add(name)
    return segments


def segment_name(segment: Dataset) -> str:
    """Return SegmentLabel; if empty, SegmentDescription; if empty, the meaning of its type."""
    kind = first_item(segment, "SegmentedPropertyTypeCodeSequence") or Dataset()
    return (
        read_text(segment, "SegmentLabel")
        or read_text(segment, "SegmentDescription")
        or read_text(kind, "CodeMeaning")
    )


def _planes(header: Dataset) -> Iterator[tuple[Plane | None, int]]:
    """Yield the plane and the segment number of each frame."""
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    for own in header.get("PerFrameFunctionalGroupsSequence") or []:
        groups = FunctionalGroups(header, shared, own)
        segment = groups.holder("SegmentIdentificationSequence")
        yield groups.plane(is_alone=False), read_int(segment, "ReferencedSegmentNumber", 0)


# --- Placement ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placement:
    """The voxel (x, y, z) of a frame's first pixel, and the steps to the next column and row.

    `error` is the distance, in voxels, between the worst corner and its rounded voxel.
    """

    first: Voxels
    to_column: Voxels
    to_row: Voxels
    error: float

    @property
    def across(self) -> int:
        """Of x, y and z, the axis across the frame."""
        return int(np.argmin(np.abs(self.to_column) + np.abs(self.to_row)))


def _place(grid: LabelGrid, plane: Plane | None, rows: int, columns: int) -> _Placement:
    if plane is None:
        raise _Unreadable("frames have no position")
    linear = np.linalg.inv(grid.affine[:3, :3])
    steps = linear @ np.stack([plane.to_column, plane.to_row], axis=1)
    whole_steps = np.rint(steps)
    position = np.array(plane.position)
    first = linear @ (position - grid.affine[:3, 3])
    if not whole_steps[2].any():
        # The slices' own positions are right where they are uneven or shifted.
        first = _in_nearest_slice(grid, position)
    drift = np.abs(steps - whole_steps) @ np.array([columns - 1.0, rows - 1.0])
    error = float((np.abs(first - np.rint(first)) + drift).max())
    if sorted(np.abs(whole_steps).sum(axis=1)) != [0, 1, 1]:
        # Not along axes of the image, or pixels that are larger or smaller than voxels.
        error = max(error, 1.0)
    to_column, to_row = whole_steps.T.astype(np.int64)
    return _Placement(np.rint(first).astype(np.int64), to_column, to_row, error)


def _in_nearest_slice(grid: LabelGrid, position: Matrix) -> Matrix:
    """Return voxel coordinates by the nearest slice; the grid continues beyond its ends."""
    height = float(position @ grid.normal)
    z, _ = grid.nearest_slice(height)
    x, y = grid.to_pixels(position[None], z)[0]
    return np.array([x, y, z + (height - grid.heights[z]) / grid.step])


def _draw(grid: LabelGrid, pad: DrawingPad, mask: Voxels, placement: _Placement) -> None:
    pad.add_plane(2 - placement.across, int(placement.first[placement.across]))
    row, column = np.nonzero(mask)
    x, y, z = (
        placement.first[axis] + column * placement.to_column[axis] + row * placement.to_row[axis]
        for axis in range(3)
    )
    grid.add_voxels(pad, z, y, x)


# --- Pixels ---------------------------------------------------------------------------------------


class _Unreadable(Exception):
    pass


class _FrameReader:
    """The pixels of an object, one frame at a time."""

    def __init__(self, series_zip: SeriesZip, dicom_object: DicomObject) -> None:
        self._series_zip, self._dicom_object = series_zip, dicom_object
        header = dicom_object.header
        self.rows, self.columns = read_int(header, "Rows", 0), read_int(header, "Columns", 0)
        syntax = UID(header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        is_native = syntax.is_transfer_syntax and not syntax.is_encapsulated
        is_one_bit = read_int(header, "BitsAllocated", 0) == 1
        self._is_bit_packed = is_one_bit and is_native and syntax.is_little_endian

    @cached_property
    def _dataset(self) -> Dataset:
        return self._series_zip.read_dataset(self._dicom_object)

    def read(self, index: int) -> Voxels:
        """Return a frame, [row, column].

        Raises:
            _Unreadable: The pixels are cut off or cannot be decoded.
            MissingExtra: They need a decoder that is not installed.
        """
        return self._unpack_bits(index) if self._is_bit_packed else self._decode(index)

    def _unpack_bits(self, index: int) -> Voxels:
        # pydicom (3.0) fails if a frame does not start at a byte: frames follow without padding.
        pixels = self._dataset.get("PixelData") or b""
        count = self.rows * self.columns
        first, end = index * count, (index + 1) * count
        if not count or end > 8 * len(pixels):
            raise _Unreadable("there are fewer pixels than frames")
        packed = np.frombuffer(pixels, np.uint8)[first // 8 : -(-end // 8)]
        bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]
        return bits.reshape(self.rows, self.columns)

    def _decode(self, index: int) -> Voxels:
        decoder = decoder_of(self._dicom_object)
        try:
            image: Voxels = pixel_array(
                self._dataset, raw=True, index=index, decoding_plugin=decoder
            )
        except Exception as error:
            # Decoders raise nearly any exception on damaged pixels.
            raise _Unreadable(str(error)[:_MAX_REASON_LENGTH]) from error
        if image.shape != (self.rows, self.columns):
            raise _Unreadable(f"a frame decodes to {image.shape}")
        return image
