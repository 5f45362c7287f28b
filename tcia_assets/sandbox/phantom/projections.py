"""CR, DX, MG, XA, RF, US, NM and all other images: one projection of the body per object.

They have no position in patient coordinates.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom.anatomy import Noise, anatomy, project
from tcia_assets.sandbox.phantom.header import (
    Recipe,
    Row,
    Submission,
    add,
    code,
    dataset,
    no_own_elements,
)
from tcia_assets.sandbox.phantom.pixels import grid_of, image_recipe, spacing

# Relative to the surrounding tissue: the lungs reduce the density of the body.
DENSITY = {"body": 8, "lung": -6, "heart": 2, "liver": 1, "spine": 9, "lesion": 9}
_BITS, _US_BITS, _NM_BITS = 12, 8, 16  # required by the IODs of US and NM
_SIDE_WORD = re.compile(r"(?:^|[^A-Z])(?:(L|LEFT)|(R|RIGHT))(?=[^A-Z]|CC|MLO|$)")
_VIEW_WORD = re.compile(r"(?:^|[^A-Z])[LR]?(CC|MLO)(?![A-Z])")
_VIEWS = {
    "CC": ("399162004", "SCT", "cranio-caudal"),
    "MLO": ("399368009", "SCT", "medio-lateral oblique"),
}


def cr(header: Dataset, submission: Submission) -> Recipe:
    add(header, ViewPosition="AP", KVP="", PlateID="", ImageType=["ORIGINAL", "PRIMARY"])
    if "BodyPartExamined" not in header:
        header.BodyPartExamined = ""
    return _projections(header, submission)


def dx(header: Dataset, submission: Submission) -> Recipe:
    _add_digital_xray(header, submission.series)
    add(
        header,
        ImageLaterality="U",
        AnatomicRegionSequence=code("51185008", "SCT", "Chest"),
        ViewPosition="AP",
        ViewCodeSequence=code("399348003", "SCT", "antero-posterior"),
        PositionerType="",
    )
    header.ViewCodeSequence[0].ViewModifierCodeSequence = []
    return _projections(header, submission)


def mg(header: Dataset, submission: Submission) -> Recipe:
    _add_digital_xray(header, submission.series)
    laterality, view = breast_view(submission.series.get("SeriesDescription"))
    add(
        header,
        # Required (type 1); U means that the side is unknown.
        ImageLaterality=laterality or "U",
        ViewPosition=view or "",
        PositionerType="MAMMOGRAPHIC",
        OrganExposed="BREAST",
        BreastImplantPresent="NO",
        AnatomicRegionSequence=code("76752008", "SCT", "Breast"),
    )
    if view:
        header.ViewCodeSequence = code(*_VIEWS[view])
        header.ViewCodeSequence[0].ViewModifierCodeSequence = []
    return _projections(header, submission)


def breast_view(description: object) -> tuple[str | None, str | None]:
    """Return the ImageLaterality and the ViewPosition in a description.

    >>> breast_view("ROUTINE3D_VOL_RMLO"), breast_view("Left breast, CC"), breast_view("Phantom")
    (('R', 'MLO'), ('L', 'CC'), (None, None))
    """
    words = str(description or "").upper()
    side, view = _SIDE_WORD.search(words), _VIEW_WORD.search(words)
    laterality = ("L" if side.group(1) else "R") if side else None
    return laterality, view.group(1) if view else None


def xa(header: Dataset, submission: Submission) -> Recipe:
    add(header, PositionerPrimaryAngle="", PositionerSecondaryAngle="")
    return rf(header, submission)


def rf(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
        PixelIntensityRelationship="LIN",
        RadiationSetting="SC",
        KVP="80",
        XRayTubeCurrent="",
        ExposureTime="",
        LossyImageCompression="00",
    )
    return _projections(header, submission)


def us(header: Dataset, submission: Submission) -> Recipe:
    add(header, ImageType=["ORIGINAL", "PRIMARY"], LossyImageCompression="00")
    return _projections(header, submission, _US_BITS)


def nm(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"],
        PatientOrientationCodeSequence=[],
        PatientGantryRelationshipCodeSequence=[],
        PixelSpacing=spacing(grid_of(submission.series)),
        NumberOfFrames=1,
        FrameIncrementPointer=[0x00540010, 0x00540020],
        EnergyWindowVector=1,
        NumberOfEnergyWindows=1,
        EnergyWindowInformationSequence=[dataset(EnergyWindowName="SANDBOX")],
        DetectorVector=1,
        NumberOfDetectors=1,
        DetectorInformationSequence=[
            dataset(CollimatorType="PARA", ImageOrientationPatient="", ImagePositionPatient="")
        ],
        RadiopharmaceuticalInformationSequence=[],
        CountsAccumulated=1_000_000,
        ActualFrameDuration=120_000,
    )
    return _projections(header, submission, _NM_BITS)


def secondary_capture(header: Dataset, submission: Submission) -> Recipe:
    """Make an image for each modality without a class of its own, document or image."""
    add(header, ConversionType="SYN", ImageType=["DERIVED", "SECONDARY"])
    return _projections(header, submission)


def _add_digital_xray(header: Dataset, series: Row) -> None:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY", ""],
        PresentationIntentType="FOR PRESENTATION",
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        RescaleIntercept="0",
        RescaleSlope="1",
        RescaleType="US",
        PresentationLUTShape="IDENTITY",
        LossyImageCompression="00",
        BurnedInAnnotation="NO",
        DetectorType="DIRECT",
        ImagerPixelSpacing=spacing(grid_of(series)),
        AcquisitionContextSequence=[],
        WindowCenter="1024",
        WindowWidth="2048",
    )


def _projections(header: Dataset, submission: Submission, bits: int = _BITS) -> Recipe:
    header.PatientOrientation = ["L", "F"]
    noise = Noise(submission.seed)
    ellipsoids = anatomy(submission.patient, submission.revision)
    # + 64 keeps the noise above 0 outside the body.
    shadow = project(ellipsoids, DENSITY, grid_of(submission.series)).astype(np.int32) + 64

    def image(index: int) -> NDArray[np.int32]:
        return (shadow + (noise.at(index) >> 1)) >> max(_BITS - bits, 0)

    return image_recipe(header, bits, image, no_own_elements)
