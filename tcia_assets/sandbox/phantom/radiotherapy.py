"""RTSTRUCT, RTDOSE and RTPLAN: contours and dose on the middle slices of a source, and a bare plan.

What belongs here: the radiotherapy IODs. What does not: what is contoured (`ground.PARTS`).
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage

from tcia_assets.sandbox.phantom import values
from tcia_assets.sandbox.phantom.anatomy import Ellipsoid, Sections
from tcia_assets.sandbox.phantom.ground import PARTS, Ground, Part
from tcia_assets.sandbox.phantom.header import (
    CREATED,
    SYNTHETIC,
    Recipe,
    Submission,
    add,
    dataset,
    frame_of_reference,
    made_uid,
    no_difference,
)
from tcia_assets.sandbox.phantom.pixels import add_pixel_format, add_pixels, add_plane, position

SLICES = 16
# retired, but the attribute is of type 1 and readers expect this value
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
    ground = Ground(submission)
    frame_uid = frame_of_reference(ground.row)
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
        ReferencedFrameOfReferenceSequence=[_referenced_frame(ground, frame_uid)],
        StructureSetROISequence=[_roi(part, frame_uid) for part in PARTS],
        ROIContourSequence=[_roi_contour(ground, part) for part in PARTS],
        RTROIObservationsSequence=[_observation(part) for part in PARTS],
    )
    return Recipe(header, no_difference)


def _referenced_frame(ground: Ground, frame_uid: str) -> Dataset:
    frame = dataset(FrameOfReferenceUID=frame_uid)
    study_uid = values.uid(ground.row.get("StudyInstanceUID"))
    if ground.source is not None and study_uid:
        images = [
            image for index in ground.grid.middle(SLICES) for image in ground.reference(index)
        ]
        study = dataset(
            ReferencedSOPClassUID=_STUDY_CLASS,
            ReferencedSOPInstanceUID=study_uid,
            RTReferencedSeriesSequence=[
                dataset(
                    SeriesInstanceUID=ground.source["SeriesInstanceUID"],
                    ContourImageSequence=images,
                )
            ],
        )
        frame.RTReferencedStudySequence = [study]
    return frame


def _roi(part: Part, frame_uid: str) -> Dataset:
    return dataset(
        ROINumber=part.number,
        ReferencedFrameOfReferenceUID=frame_uid,
        ROIName=part.label,
        ROIGenerationAlgorithm="AUTOMATIC",
    )


def _roi_contour(ground: Ground, part: Part) -> Dataset:
    ellipsoid = next(e for e in ground.ellipsoids if e.tissue == part.tissue)
    contours = (_contour(ground, ellipsoid, index) for index in ground.grid.middle(SLICES))
    return dataset(
        ReferencedROINumber=part.number,
        ROIDisplayColor=list(part.color),
        ContourSequence=[contour for contour in contours if contour is not None],
    )


def _contour(ground: Ground, ellipsoid: Ellipsoid, index: int) -> Dataset | None:
    z = ground.grid.z(index)
    points = ellipsoid.outline(z)
    if not points:
        return None
    contour = dataset(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[text for x, y in points for text in (f"{x:.2f}", f"{y:.2f}", f"{z:.3f}")],
    )
    if images := ground.reference(index):
        contour.ContourImageSequence = images
    return contour


def _observation(part: Part) -> Dataset:
    return dataset(
        ObservationNumber=part.number,
        ReferencedROINumber=part.number,
        RTROIInterpretedType=part.interpreted,
        ROIInterpreter="",
    )


def rtdose(header: Dataset, submission: Submission) -> Recipe:
    ground = Ground(submission)
    middle = ground.grid.middle(1).start
    add_plane(header, ground.row, ground.grid)
    add_pixel_format(header, bits=16)
    add(
        header,
        OperatorsName="",
        ImagePositionPatient=position(ground.grid, middle),
        DoseUnits="GY",
        DoseType="PHYSICAL",
        DoseComment=SYNTHETIC,
        DoseSummationType="PLAN",
        DoseGridScaling="0.01",
    )
    # of type 1 for a dose of this kind; the plan itself need not be in the archive
    header.ReferencedRTPlanSequence = [
        dataset(
            ReferencedSOPClassUID=RTPlanStorage,
            ReferencedSOPInstanceUID=made_uid("plan", submission.series.get("StudyInstanceUID")),
        )
    ]
    add_pixels(header, Sections(ground.ellipsoids, ground.grid).painted(_DOSE, middle), bits=16)
    return Recipe(header, no_difference)


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
    return Recipe(header, no_difference)
