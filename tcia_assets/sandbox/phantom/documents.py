"""SR and REG with the minimum that their SOP classes require.

Documents that need meaningful content (KO, PR and others) are made as Secondary Captures.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom.header import (
    CREATED,
    SYNTHETIC,
    Recipe,
    Submission,
    add,
    code,
    dataset,
    frame_of_reference,
    no_own_elements,
    require_series_number,
)

_UNITY = ["1", "0", "0", "0", "0", "1", "0", "0", "0", "0", "1", "0", "0", "0", "0", "1"]


def sr(header: Dataset, _submission: Submission) -> Recipe:
    """Make a report of one comment."""
    require_series_number(header)
    comment = dataset(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=code("121106", "DCM", "Comment"),
        TextValue=SYNTHETIC,
    )
    add(
        header,
        ReferencedPerformedProcedureStepSequence=[],
        ContentDate=CREATED,
        ContentTime=header.InstanceCreationTime,
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        PerformedProcedureCodeSequence=[],
        ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE",
        ConceptNameCodeSequence=code("18748-4", "LN", "Diagnostic imaging report"),
        ContentSequence=[comment],
    )
    return Recipe(header, no_own_elements)


def reg(header: Dataset, submission: Submission) -> Recipe:
    """Make an identity registration: all Series of a Study share a frame of reference."""
    require_series_number(header)
    frame_uid = frame_of_reference(submission.series)
    matrix = dataset(
        FrameOfReferenceTransformationMatrix=_UNITY,
        FrameOfReferenceTransformationMatrixType="RIGID",
    )
    registration = dataset(RegistrationTypeCodeSequence=[], MatrixSequence=[matrix])
    add(
        header,
        ContentDate=CREATED,
        ContentTime=header.InstanceCreationTime,
        ContentLabel="PHANTOM",
        ContentDescription=SYNTHETIC,
        ContentCreatorName="",
        FrameOfReferenceUID=frame_uid,
        PositionReferenceIndicator="",
        RegistrationSequence=[
            dataset(FrameOfReferenceUID=frame_uid, MatrixRegistrationSequence=[registration])
        ],
    )
    return Recipe(header, no_own_elements)
