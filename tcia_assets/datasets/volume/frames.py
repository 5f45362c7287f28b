"""Position, size and pixel format of each frame of a DICOM object.

A classic object is one frame; an enhanced object has many, with attributes in functional groups.
How frames form a volume is in `slice_geometry.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.arrays import Matrix
from tcia_assets.datasets.volume.attributes import (
    Numbers,
    first_item,
    read_int,
    read_number,
    read_numbers,
    read_text,
)
from tcia_assets.datasets.volume.series_zip import DicomObject
from tcia_assets.datasets.volume.traits import Traits, read_traits

# Cosines are written with six digits; larger errors are not rounding.
_COSINE_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane of an image in LPS millimetres.

    `position` is the centre of the first pixel. `along_rows` points from column to column and
    `along_columns` from row to row (the two halves of ImageOrientationPatient). `spacing` is the
    distance between columns, then between rows.
    """

    position: Numbers
    along_rows: Numbers
    along_columns: Numbers
    spacing: Numbers

    @property
    def to_column(self) -> Matrix:
        """The step from a pixel to the next one in its row."""
        return np.multiply(self.along_rows, self.spacing[0])

    @property
    def to_row(self) -> Matrix:
        """The step from a pixel to the next one in its column."""
        return np.multiply(self.along_columns, self.spacing[1])


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One two-dimensional image; `index` is its number in the pixels of its object."""

    dicom_object: DicomObject
    index: int
    sop_instance_uid: str
    frame_of_reference_uid: str
    plane: Plane | None
    rows: int
    columns: int
    slope: float
    intercept: float
    rescale_type: str | None
    """RescaleType; "" if it is missing, None if there is no RescaleSlope, or one of 0."""
    dtype: np.dtype[Any] | None
    bits_stored: int
    high_bit: int
    thickness: float
    declared_step: float
    """SpacingBetweenSlices in mm; 0.0 if it is missing."""
    order: tuple[int, ...]
    """Of several frames at one position, the one with the lowest order is used."""
    traits: Traits
    """What distinguishes the volumes of a Series; see `traits.TRAITS`."""

    @property
    def is_mr(self) -> bool:
        """Whether the Modality is MR."""
        return read_text(self.dicom_object.header, "Modality") == "MR"

    @property
    def kind(self) -> tuple[str, str]:
        """The Series and the Modality, of which a volume has one each."""
        header = self.dicom_object.header
        return read_text(header, "SeriesInstanceUID"), read_text(header, "Modality")

    @property
    def number(self) -> tuple[int, int]:
        """InstanceNumber, or 0 without one, and the number in the object."""
        return self.order[-2], self.order[-1]


def normal_of(plane: Plane) -> Matrix:
    """Return the unit vector along which slices are sorted."""
    normal = np.cross(plane.along_rows, plane.along_columns)
    return np.asarray(normal / np.linalg.norm(normal))


def plane_of(frame: Frame) -> Plane:
    """Return the plane of a frame in a stack, which always has one."""
    if frame.plane is None:
        raise ValueError(f"{frame.sop_instance_uid} has no plane")
    return frame.plane


def read_frames(dicom_object: DicomObject) -> Iterator[Frame]:
    """Yield the frames of an object, in the order of its pixels."""
    header = dicom_object.header
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    count = read_int(header, "NumberOfFrames", 1)
    for index in range(max(count, 1)):
        own = per_frame[index] if index < len(per_frame) else Dataset()
        yield _frame(dicom_object, index, FunctionalGroups(header, shared, own))


@dataclass(frozen=True, slots=True)
class FunctionalGroups:
    """The places of a frame's attributes: its own groups, the shared groups, the object itself."""

    header: Dataset
    shared: Dataset
    own: Dataset

    @property
    def is_empty(self) -> bool:
        """Whether the object has no functional groups, as classic objects."""
        return not (self.shared or self.own)

    def holder(self, sequence: str) -> Dataset:
        """Return the item of a functional group, or the object itself if there is none."""
        if self.is_empty:
            return self.header
        return first_item(self.own, sequence) or first_item(self.shared, sequence) or self.header

    def plane(self, *, is_alone: bool) -> Plane | None:
        """Return the plane of the frame, or None if the header does not define it.

        Args:
            is_alone: The object has one frame, so that its own ImagePositionPatient is valid.
        """
        holder = self.holder("PlanePositionSequence")
        if holder is self.header and not is_alone:
            return None
        position = read_numbers(holder, "ImagePositionPatient", 3)
        cosines = read_numbers(
            self.holder("PlaneOrientationSequence"), "ImageOrientationPatient", 6
        )
        spacing = read_numbers(self.holder("PixelMeasuresSequence"), "PixelSpacing", 2)
        if position is None or cosines is None or spacing is None or min(spacing) <= 0:
            return None
        along_rows, along_columns = cosines[:3], cosines[3:]
        if not _are_orthonormal(along_rows, along_columns):
            return None
        return Plane(position, _unit(along_rows), _unit(along_columns), spacing[::-1])


def _frame(dicom_object: DicomObject, index: int, groups: FunctionalGroups) -> Frame:
    header = dicom_object.header
    rescale = groups.holder("PixelValueTransformationSequence")
    slope = read_number(rescale, "RescaleSlope")
    measures = groups.holder("PixelMeasuresSequence")
    allocated = read_int(header, "BitsAllocated", 0)
    stored = read_int(header, "BitsStored", allocated)
    return Frame(
        dicom_object=dicom_object,
        index=index,
        sop_instance_uid=read_text(header, "SOPInstanceUID"),
        frame_of_reference_uid=read_text(header, "FrameOfReferenceUID"),
        plane=groups.plane(is_alone=read_int(header, "NumberOfFrames", 1) <= 1),
        rows=read_int(header, "Rows", 0),
        columns=read_int(header, "Columns", 0),
        # Some writers store 0 for "no slope"; it would make all voxels equal.
        slope=slope or 1.0,
        intercept=read_number(rescale, "RescaleIntercept") or 0.0,
        rescale_type=read_text(rescale, "RescaleType") if slope else None,
        dtype=_dtype(allocated, is_signed=read_int(header, "PixelRepresentation", 0) == 1),
        bits_stored=stored,
        high_bit=read_int(header, "HighBit", stored - 1),
        thickness=read_number(measures, "SliceThickness") or 0.0,
        declared_step=abs(read_number(measures, "SpacingBetweenSlices") or 0.0),
        order=(*(read_int(header, keyword, 0) for keyword in _ORDER), index),
        traits=read_traits(groups),
    )


# Of frames at one position that nothing else distinguishes, the first is used.
_ORDER = ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "InstanceNumber")


def _dtype(allocated: int, *, is_signed: bool) -> np.dtype[Any] | None:
    if allocated not in {8, 16, 32}:
        return None
    return np.dtype(f"<{'i' if is_signed else 'u'}{allocated // 8}")


def _unit(direction: Numbers) -> Numbers:
    """Return a direction with length 1, which rounded cosines do not quite have."""
    length = math.hypot(*direction)
    return tuple(each / length for each in direction)


def _are_orthonormal(first: Numbers, second: Numbers) -> bool:
    lengths = math.hypot(*first), math.hypot(*second)
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    errors = (abs(lengths[0] - 1), abs(lengths[1] - 1), abs(cosine))
    return max(errors) <= _COSINE_TOLERANCE
