"""CT, MR and PT: axial slices through a patient's anatomy.

This module has the intensities of tissues in each modality, and the elements of its slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import element_values
from tcia_assets.sandbox.phantom.anatomy import Noise, Sections, SeededNumbers, anatomy
from tcia_assets.sandbox.phantom.header import Recipe, Row, Submission, add, code, dataset
from tcia_assets.sandbox.phantom.pixels import add_plane, grid_of, image_recipe, plane

_LARGEST_US = 65535


@dataclass(frozen=True)
class Appearance:
    """The intensities of tissues, in the units after rescaling."""

    levels: Mapping[str, int]
    noise: int  # maximum deviation
    slope: int
    intercept: int
    bits: int


# Hounsfield units
CT = Appearance(
    {"air": -1000, "body": 40, "lung": -850, "heart": 130, "liver": 95, "spine": 450, "lesion": 60},
    noise=15,
    slope=1,
    intercept=-1024,
    bits=12,
)
# no unit
MR = Appearance(
    {"air": 8, "body": 320, "lung": 45, "heart": 520, "liver": 430, "spine": 700, "lesion": 900},
    noise=20,
    slope=1,
    intercept=0,
    bits=12,
)
# Bq/ml. With the dose and weights below, SUV is about 1 in the body and 8 in the lesion.
PT = Appearance(
    {
        "air": 100,
        "body": 3200,
        "lung": 1400,
        "heart": 8600,
        "liver": 6800,
        "spine": 4000,
        "lesion": 28000,
    },
    noise=260,
    slope=2,
    intercept=0,
    bits=16,
)


def ct(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        PatientPosition="HFS",
        KVP="120",
        AcquisitionNumber=1,
        RescaleType="HU",
        WindowCenter="40",
        WindowWidth="400",
    )
    _add_rescale(header, CT)
    return _slices(header, submission, CT)


def mr(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
        PatientPosition="HFS",
        ScanningSequence="SE",
        SequenceVariant="NONE",
        ScanOptions="",
        MRAcquisitionType="2D",
        RepetitionTime="500",
        EchoTime="15",
        EchoTrainLength=1,
        MagneticFieldStrength="1.5",
        WindowCenter="450",
        WindowWidth="900",
    )
    return _slices(header, submission, MR)


def pt(header: Dataset, submission: Submission) -> Recipe:
    add(
        header,
        ImageType=["ORIGINAL", "PRIMARY"],
        SeriesType=["WHOLE BODY", "IMAGE"],
        Units="BQML",
        CountsSource="EMISSION",
        CorrectedImage=["DECY", "ATTN", "SCAT"],
        DecayCorrection="START",
        CollimatorType="NONE",
        # The PET IOD's form of HFS.
        PatientOrientationCodeSequence=code("102538003", "SCT", "recumbent"),
        PatientGantryRelationshipCodeSequence=code("102540008", "SCT", "headfirst"),
        NumberOfSlices=min(element_values.count(submission.series.get("ImageCount")), _LARGEST_US),
        FrameReferenceTime="0",
        ActualFrameDuration=120_000,
        DecayFactor="1",
        WindowCenter="7500",
        WindowWidth="15000",
    )
    header.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = code(
        "40199007", "SCT", "supine"
    )
    _add_tracer(header, submission.series)
    _add_rescale(header, PT)
    slices = _slices(header, submission, PT)

    def instance(index: int) -> Dataset:
        own = slices.instance(index)
        own.ImageIndex = min(index + 1, _LARGEST_US)
        return own

    return Recipe(header, instance)


def _add_tracer(header: Dataset, series: Row) -> None:
    """Add the elements for SUV by body weight: weight, dose, half-life, and the two times."""
    numbers = SeededNumbers(f"scan {series.get('SeriesInstanceUID')}")
    weight = SeededNumbers(f"weight {series.get('PatientID')}").between(55, 95)
    started = int(numbers.between(10 * 3600, 17 * 3600))
    injected = started - int(numbers.between(3300, 4500))
    day = element_values.day(series.get("SeriesDate")) or element_values.day(
        series.get("StudyDate")
    )
    tracer = dataset(
        Radiopharmaceutical="FDG",
        RadiopharmaceuticalStartTime=element_values.clock(injected),
        RadionuclideTotalDose="370000000",
        RadionuclideHalfLife="6586.2",
        RadionuclidePositronFraction="0.9673",
        RadionuclideCodeSequence=code("77004003", "SCT", "^18^Fluorine"),
        RadiopharmaceuticalCodeSequence=code("35321007", "SCT", "Fluorodeoxyglucose F^18^"),
    )
    if day:
        # Required (type 1) for PET, so the date of the Study replaces an unknown one.
        header.SeriesDate = day
        tracer.RadiopharmaceuticalStartDateTime = day + element_values.clock(injected)
    add(
        header,
        PatientWeight=f"{weight:.1f}",
        SeriesTime=element_values.clock(started),
        AcquisitionDate=day or "",
        AcquisitionTime=element_values.clock(started),
        RadiopharmaceuticalInformationSequence=[tracer],
    )


def _slices(header: Dataset, submission: Submission, appearance: Appearance) -> Recipe:
    grid = grid_of(submission.series)
    sections = Sections(anatomy(submission.patient, submission.revision), grid)
    noise = Noise(submission.seed)
    add_plane(header, submission.series, grid)

    def image(index: int) -> NDArray[np.int32]:
        real = sections.paint(appearance.levels, index) + (noise.at(index) * appearance.noise >> 7)
        return (real - appearance.intercept) // appearance.slope

    return image_recipe(header, appearance.bits, image, lambda index: plane(grid, index))


def _add_rescale(header: Dataset, appearance: Appearance) -> None:
    add(header, RescaleSlope=str(appearance.slope), RescaleIntercept=str(appearance.intercept))
