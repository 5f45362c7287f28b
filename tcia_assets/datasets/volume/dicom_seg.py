"""SEG -> labels on the grid of the image.

What belongs here: the three types of segmentation, and where a frame lies. What does not: what the
labels are (`label_patterns.py`).

A frame may be turned or flipped against the image, and may be one of its orthogonal planes. It must
lie on the image's grid, to a tenth of a voxel at each of its corners; nothing is resampled here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tcia_assets.datasets.volume.arrays import Matrix, Voxels
from tcia_assets.datasets.volume.attributes import first_item, read_int, read_number, read_text
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import FunctionalGroups, Plane
from tcia_assets.datasets.volume.label_grid import LabelGrid, of_plane
from tcia_assets.datasets.volume.pixels import demand_decoder
from tcia_assets.datasets.volume.series_zip import DicomObject, SeriesZip
from tcia_assets.images.acceptance.inflate import Buffer

SOP_CLASSES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}  # and label maps
)
TOLERANCE = 0.1
_HALF = 0.5
_LONGEST_REASON = 200


@dataclass
class _Tally:
    """What could not be placed."""

    off_grid: int = 0
    farthest: float = 0.0
    unreadable: int = 0
    reason: str = ""


def put_segmentation(
    canvas: LabelGrid, archive: SeriesZip, member: DicomObject, *, least_fraction: float = _HALF
) -> tuple[list[str], list[Finding]]:
    """Puts all segments that have a label; gives the names of the others, and what is amiss.

    Of a fractional segmentation, voxels of at least `least_fraction` of its maximum count.
    """
    header = member.header
    labels, unmatched = _labels(canvas, header)
    kind = read_text(header, "SegmentationType")
    tally = _Tally()
    planes = list(_planes(header))
    reader = _Reader(archive, member)
    for index, (plane, segment) in enumerate(planes):
        if kind != "LABELMAP" and segment not in labels:
            continue
        if plane is None:
            tally.unreadable, tally.reason = tally.unreadable + 1, "frames have no position"
            continue
        placed = _placed(canvas, plane, reader.rows, reader.columns)
        if placed.off > TOLERANCE:
            tally.off_grid, tally.farthest = tally.off_grid + 1, max(tally.farthest, placed.off)
            continue
        try:
            image = reader.image(index)
        except _Unreadable as error:
            tally.unreadable, tally.reason = tally.unreadable + 1, str(error)
            continue
        if kind == "LABELMAP":
            for number_, label in labels.items():
                _put(canvas, label, image == number_, placed)
        elif kind == "FRACTIONAL":
            most = read_number(header, "MaximumFractionalValue") or float(np.iinfo(np.uint8).max)
            _put(canvas, labels[segment], image >= least_fraction * most, placed)
        else:
            _put(canvas, labels[segment], image != 0, placed)
    return unmatched, _findings(tally, read_text(header, "SOPInstanceUID"))


def _findings(tally: _Tally, uid: str) -> list[Finding]:
    found = []
    if tally.off_grid:
        detail = f"{tally.off_grid} frames, up to {tally.farthest:.2f} voxels off"
        numbers = {"frames": tally.off_grid, "farthest_voxels": tally.farthest}
        found.append(make_finding("frames_off_grid", detail, [uid], **numbers))
    if tally.unreadable:
        detail = f"{tally.unreadable} frames, {tally.reason}"
        found.append(make_finding("unreadable_mask", detail, [uid], frames=tally.unreadable))
    return found


def _labels(canvas: LabelGrid, header: Dataset) -> tuple[dict[int, int], list[str]]:
    """Segment number -> label, of those that have one; and the names of the others."""
    labels, unmatched = {}, []
    for segment in header.get("SegmentSequence") or []:
        name = segment_name(segment)
        if label := canvas.targets.label_of(name):
            labels[read_int(segment, "SegmentNumber", 0)] = label
        # A label map may describe its background.
        elif read_int(segment, "SegmentNumber", 0) != 0:
            unmatched.append(name)
    return labels, unmatched


def segment_name(segment: Dataset) -> str:
    """The label of a segment; where it is empty, its description or the meaning of its type."""
    kind = first_item(segment, "SegmentedPropertyTypeCodeSequence") or Dataset()
    return (
        read_text(segment, "SegmentLabel")
        or read_text(segment, "SegmentDescription")
        or read_text(kind, "CodeMeaning")
    )


def _planes(header: Dataset) -> Iterator[tuple[Plane | None, int]]:
    """Where each frame lies, and of which segment it is."""
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    for own in header.get("PerFrameFunctionalGroupsSequence") or []:
        groups = FunctionalGroups(header, shared, own)
        segment = groups.holder("SegmentIdentificationSequence")
        yield groups.plane(is_alone=False), read_int(segment, "ReferencedSegmentNumber", 0)


# --- Where a frame lies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """Voxel (x, y, z) of a frame's first pixel, and the steps to the next column and row.

    `off` is how far, in voxels, its worst corner is from where these say.
    """

    first: Voxels
    to_column: Voxels
    to_row: Voxels
    off: float


def _placed(canvas: LabelGrid, plane: Plane, rows: int, columns: int) -> _Placed:
    position, to_column, to_row = of_plane(plane)
    linear = np.linalg.inv(canvas.affine[:3, :3])
    steps = linear @ np.stack([to_column, to_row], axis=1)
    whole_steps = np.rint(steps)
    first = linear @ (position - canvas.affine[:3, 3])
    if not whole_steps[2].any():
        # The slices' own positions hold where they are uneven or shifted.
        first = _in_own_slice(canvas, position)
    drift = np.abs(steps - whole_steps) @ np.array([columns - 1.0, rows - 1.0])
    off = float((np.abs(first - np.rint(first)) + drift).max())
    if sorted(np.abs(whole_steps).sum(axis=1)) != [0, 1, 1]:
        # Not along axes of the image, or pixels of another size than voxels.
        off = max(off, 1.0)
    first = np.rint(first).astype(np.int64)
    to_column, to_row = whole_steps.T.astype(np.int64)
    return _Placed(first, to_column, to_row, off)


def _in_own_slice(canvas: LabelGrid, position: Matrix) -> Matrix:
    """Voxel coordinates by the nearest slice; beyond the ends the grid goes on."""
    height = float(position @ canvas.normal)
    place, _ = canvas.nearest(height)
    x, y = canvas.in_plane(position[None], place)[0]
    return np.array([x, y, place + (height - canvas.heights[place]) / canvas.step])


def _put(canvas: LabelGrid, label: int, mask: Voxels, placed: _Placed) -> None:
    row, column = np.nonzero(mask)
    x, y, z = (
        placed.first[axis] + column * placed.to_column[axis] + row * placed.to_row[axis]
        for axis in range(3)
    )
    canvas.put(label, z, y, x)


# --- Pixels ---------------------------------------------------------------------------------------


class _Unreadable(Exception):
    pass


class _Reader:
    """The frames of an object, one at a time: unpacked, eight pixels a byte become eight bytes."""

    def __init__(self, archive: SeriesZip, member: DicomObject) -> None:
        header = member.header
        self.rows, self.columns = read_int(header, "Rows", 0), read_int(header, "Columns", 0)
        self._archive, self._member = archive, member
        self._bits = read_int(header, "BitsAllocated", 0)
        self._syntax = header.file_meta.get("TransferSyntaxUID")
        self._pixels: Buffer | None = None
        self._dataset: Dataset | None = None

    def image(self, index: int) -> Voxels:
        """Raises _Unreadable, or MissingExtra where a decoder is."""
        if self._bits not in {1, 8, 16} or (plain := self._plain()) is None:
            return self._decoded(index)
        count = self.rows * self.columns
        first, end = index * count * self._bits, (index + 1) * count * self._bits
        if not count or end > 8 * len(plain):
            raise _Unreadable("there are fewer pixels than frames")
        held = np.frombuffer(plain[first // 8 : -(-end // 8)], np.uint8)
        if self._bits == 1:
            # Frames follow each other without filling up the last byte.
            held = np.unpackbits(held, bitorder="little")[first % 8 : first % 8 + count]
        elif self._bits > 8:  # noqa: PLR2004 - a byte
            held = held.view("<u2")
        return held.reshape(self.rows, self.columns)

    def _plain(self) -> Buffer | None:
        """The pixels of all frames, uncompressed and little endian; None where they are not."""
        if self._pixels is None and self._member.pixels is not None:
            self._pixels = memoryview(self._archive.content(self._member.entry))[
                self._member.pixels
            ]
        elif self._pixels is None and self._syntax == DeflatedExplicitVRLittleEndian:
            # pydicom's own way fails where frames of one bit do not begin with a byte.
            self._pixels = self._whole().get("PixelData") or b""
        return self._pixels

    def _whole(self) -> Dataset:
        if self._dataset is None:
            self._dataset = self._archive.dataset(self._member)
        return self._dataset

    def _decoded(self, index: int) -> Voxels:
        try:
            image: Voxels = pixel_array(self._whole(), raw=True, index=index)
        except Exception as error:
            demand_decoder(self._member)
            raise _Unreadable(str(error)[:_LONGEST_REASON]) from error
        if image.shape != (self.rows, self.columns):
            raise _Unreadable(f"a frame decodes to {image.shape}")
        return image
