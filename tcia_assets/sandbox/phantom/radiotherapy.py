"""RTSTRUCT, RTDOSE and RTPLAN: contours, dose and a minimal plan on the middle slices of a Series.

The contoured structures are in `referenced_series.py`.
"""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage

from tcia_assets.sandbox.phantom import element_values
from tcia_assets.sandbox.phantom.anatomy import Ellipsoid, Sections
from tcia_assets.sandbox.phantom.header import (
    CREATED,
    SYNTHETIC,
    Recipe,
    Submission,
    add,
    dataset,
    frame_of_reference,
    made_uid,
    no_own_elements,
)
from tcia_assets.sandbox.phantom.pixels import add_pixel_format, add_pixels, add_plane, position
from tcia_assets.sandbox.phantom.referenced_series import STRUCTURES, ReferencedSeries, Structure

SLICES = 16
_CONTOUR_DATA = 0x30060050
# Retired, but the attribute is required (type 1) and readers expect this value.
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
# hundredths of a gray
_DOSE = {
    "air": 0,
    "body": 500,
    "lung": 900,
    "heart": 700,
    "liver": 600,
    "spine": 400,
    "lesion": 6000,
}


def rtstruct(header: Dataset, submission: Submission) -> Recipe:
    referenced = ReferencedSeries(submission)
    frame_uid = frame_of_reference(referenced.row)
    add(
        header,
        OperatorsName="",
        FrameOfReferenceUID=frame_uid,
        PositionReferenceIndicator="",
        StructureSetLabel="PHANTOM",
        StructureSetDescription=SYNTHETIC,
        StructureSetDate=CREATED,
        StructureSetTime=header.InstanceCreationTime,
        ApprovalStatus="UNAPPROVED",
        ReferencedFrameOfReferenceSequence=[_referenced_frame(referenced, frame_uid)],
        StructureSetROISequence=[_roi(structure, frame_uid) for structure in STRUCTURES],
        ROIContourSequence=[_roi_contour(referenced, structure) for structure in STRUCTURES],
        RTROIObservationsSequence=[_observation(structure) for structure in STRUCTURES],
    )
    return Recipe(header, no_own_elements)


def _referenced_frame(referenced: ReferencedSeries, frame_uid: str) -> Dataset:
    frame = dataset(FrameOfReferenceUID=frame_uid)
    study_uid = element_values.uid(referenced.row.get("StudyInstanceUID"))
    if referenced.source is not None and study_uid:
        images = [
            image
            for index in referenced.grid.middle(SLICES)
            for image in referenced.reference(index)
        ]
        study = dataset(
            ReferencedSOPClassUID=_STUDY_CLASS,
            ReferencedSOPInstanceUID=study_uid,
            RTReferencedSeriesSequence=[
                dataset(
                    SeriesInstanceUID=referenced.source["SeriesInstanceUID"],
                    ContourImageSequence=images,
                )
            ],
        )
        frame.RTReferencedStudySequence = [study]
    return frame


def _roi(structure: Structure, frame_uid: str) -> Dataset:
    return dataset(
        ROINumber=structure.number,
        ReferencedFrameOfReferenceUID=frame_uid,
        ROIName=structure.label,
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _roi_contour(referenced: ReferencedSeries, structure: Structure) -> Dataset:
    ellipsoid = next(e for e in referenced.ellipsoids if e.tissue == structure.tissue)
    contours = (_contour(referenced, ellipsoid, index) for index in referenced.grid.middle(SLICES))
    return dataset(
        ReferencedROINumber=structure.number,
        ROIDisplayColor=list(structure.color),
        ContourSequence=[contour for contour in contours if contour is not None],
    )


def _contour(referenced: ReferencedSeries, ellipsoid: Ellipsoid, index: int) -> Dataset | None:
    z = referenced.grid.z(index)
    points = ellipsoid.outline(z)
    if not points:
        return None
    contour = dataset(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(points))
    texts = [text for x, y in points for text in (f"{x:.2f}", f"{y:.2f}", f"{z:.3f}")]
    # Three quarters of the time would be spent to read these texts as numbers.
    contour.add(DataElement(_CONTOUR_DATA, "DS", texts, already_converted=True))
    if images := referenced.reference(index):
        contour.ContourImageSequence = images
    return contour


def _observation(structure: Structure) -> Dataset:
    return dataset(
        ObservationNumber=structure.number,
        ReferencedROINumber=structure.number,
        RTROIInterpretedType=structure.interpreted,
        ROIInterpreter="",
    )


def rtdose(header: Dataset, submission: Submission) -> Recipe:
    referenced = ReferencedSeries(submission)
    middle = referenced.grid.middle(1).start
    add_plane(header, referenced.row, referenced.grid)
    add_pixel_format(header, bits=16)
    add(
        header,
        OperatorsName="",
        ImagePositionPatient=position(referenced.grid, middle),
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DoseComment=SYNTHETIC,
        DoseSummationType="PLAN",
        DoseGridScaling="0.01",
    )
    # Required (type 1) for this type of dose; the plan need not exist.
    header.ReferencedRTPlanSequence = [
        dataset(
            ReferencedSOPClassUID=RTPlanStorage,
            ReferencedSOPInstanceUID=made_uid("plan", submission.series.get("StudyInstanceUID")),
        )
    ]
    add_pixels(
        header, Sections(referenced.ellipsoids, referenced.grid).paint(_DOSE, middle), bits=16
    )
    return Recipe(header, no_own_elements)


def rtplan(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        OperatorsName="",
        RTPlanLabel="PHANTOM",
        RTPlanDescription=SYNTHETIC,
        RTPlanDate=CREATED,
        RTPlanTime=header.InstanceCreationTime,
        RTPlanGeometry="TREATMENT_DEVICE",
        FrameOfReferenceUID=frame_of_reference(submission.series),
        PositionReferenceIndicator="",
        ApprovalStatus="UNAPPROVED",
    )
    return Recipe(header, no_own_elements)
