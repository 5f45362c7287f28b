"""SEG: binary masks of the body and the lesion on the middle slices of a Series.

The segmented structures are in `referenced_series.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import element_values
from tcia_assets.sandbox.phantom.anatomy import Grid, Mask, Sections
from tcia_assets.sandbox.phantom.header import (
    CREATED,
    SYNTHETIC,
    Recipe,
    Row,
    Submission,
    add,
    code,
    dataset,
    frame_of_reference,
    made_uid,
    no_own_elements,
    require_series_number,
)
from tcia_assets.sandbox.phantom.pixels import (
    ORIENTATION,
    add_bits,
    add_pixel_format,
    position,
    spacing,
)
from tcia_assets.sandbox.phantom.referenced_series import STRUCTURES, ReferencedSeries, Structure

SLICES = 8  # of two structures: at most 16 frames
_REFERENCED_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION = 0x0062000B, 0x0062000A
_IMAGE_POSITION, _PLANE_POSITION = 0x00200032, 0x00209113


@dataclass(frozen=True)
class _Frame:
    structure: Structure
    slice: int
    mask: Mask


def seg(header: Dataset, submission: Submission) -> Recipe:
    referenced = ReferencedSeries(submission)
    frames = list(_frames(referenced))
    add_pixel_format(header, bits=1)
    require_series_number(header)
    _add_equipment(header)
    _add_segments(header)
    _add_dimensions(header)
    add(
        header,
        ImageType=["DERIVED", "PRIMARY"],
        ContentLabel="PHANTOM",
        ContentDescription=SYNTHETIC,
        ContentCreatorName="",
        ContentDate=CREATED,
        ContentTime=header.InstanceCreationTime,
        LossyImageCompression="00",
        SegmentationType="BINARY",
        FrameOfReferenceUID=frame_of_reference(referenced.row),
        PositionReferenceIndicator="",
        NumberOfFrames=len(frames),
        SharedFunctionalGroupsSequence=[_shared_groups(referenced.grid)],
        PerFrameFunctionalGroupsSequence=[_frame_groups(referenced, frame) for frame in frames],
    )
    if referenced.source is not None:
        header.ReferencedSeriesSequence = [
            _referenced_series(referenced.source, referenced, frames)
        ]
    add_bits(header, [frame.mask for frame in frames])
    return Recipe(header, no_own_elements)


def _frames(referenced: ReferencedSeries) -> Iterator[_Frame]:
    """Yield the mask of each structure on each of the middle slices, except empty masks."""
    sections = Sections(referenced.ellipsoids, referenced.grid)
    for structure in STRUCTURES:
        for index in referenced.grid.middle(SLICES):
            if (mask := sections.mask(structure.tissue, index)).any():
                yield _Frame(structure, index, mask)


def _add_equipment(header: Dataset) -> None:
    # Required (type 1) in the enhanced IODs.
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        if not header.get(keyword):
            setattr(header, keyword, "tcia_assets sandbox")


def _add_segments(header: Dataset) -> None:
    header.SegmentSequence = [
        dataset(
            SegmentNumber=structure.number,
            SegmentLabel=structure.label,
            SegmentAlgorithmType="AUTOMATIC",
            SegmentAlgorithmName="tcia_assets sandbox",
            SegmentedPropertyCategoryCodeSequence=code(*structure.category),
            SegmentedPropertyTypeCodeSequence=code(*structure.type),
        )
        for structure in STRUCTURES
    ]


def _add_dimensions(header: Dataset) -> None:
    organization = made_uid("dimensions of segmentations")
    header.DimensionOrganizationSequence = [dataset(DimensionOrganizationUID=organization)]
    header.DimensionIndexSequence = [
        dataset(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=group,
        )
        for pointer, group in (
            (_REFERENCED_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION),
            (_IMAGE_POSITION, _PLANE_POSITION),
        )
    ]


def _shared_groups(grid: Grid) -> Dataset:
    step = element_values.millimetres(grid.slice_um)
    measures = dataset(
        PixelSpacing=spacing(grid),
        SliceThickness=step,
        SpacingBetweenSlices=step,
    )
    orientation = dataset(ImageOrientationPatient=list(ORIENTATION))
    return dataset(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])


def _frame_groups(referenced: ReferencedSeries, frame: _Frame) -> Dataset:
    place = frame.slice - referenced.grid.middle(SLICES).start + 1
    groups = dataset(
        FrameContentSequence=[dataset(DimensionIndexValues=[frame.structure.number, place])],
        PlanePositionSequence=[
            dataset(ImagePositionPatient=position(referenced.grid, frame.slice))
        ],
        SegmentIdentificationSequence=[dataset(ReferencedSegmentNumber=frame.structure.number)],
    )
    if images := referenced.reference(frame.slice):
        groups.DerivationImageSequence = [_derivation(images)]
    return groups


def _derivation(images: list[Dataset]) -> Dataset:
    for image in images:
        image.SpatialLocationsPreserved = "YES"
        image.PurposeOfReferenceCodeSequence = code(
            "121322", "DCM", "Source image for image processing operation"
        )
    return dataset(
        DerivationCodeSequence=code("113076", "DCM", "Segmentation"), SourceImageSequence=images
    )


def _referenced_series(source: Row, referenced: ReferencedSeries, frames: list[_Frame]) -> Dataset:
    used = sorted({frame.slice for frame in frames})
    return dataset(
        SeriesInstanceUID=source["SeriesInstanceUID"],
        ReferencedInstanceSequence=[
            image for index in used for image in referenced.reference(index)
        ],
    )
