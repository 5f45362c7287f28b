"""Spacing, view and laterality come from where the Modality has them, or are said to be unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tcia_assets.datasets.frame.frame_header import read_frame_header
from tcia_assets_tests.datasets.frame.objects import frame_object

PIXELS = np.arange(6, dtype=np.uint16).reshape(2, 3)


def region(x: float, y: float, units: int = 3) -> Dataset:
    made = Dataset()
    made.PhysicalUnitsXDirection = made.PhysicalUnitsYDirection = units
    made.PhysicalDeltaX, made.PhysicalDeltaY = x, y
    return made


def code(value: str, meaning: str) -> list[Dataset]:
    made = Dataset()
    made.CodeValue, made.CodeMeaning = value, meaning
    return [made]


@pytest.mark.parametrize(
    ("header", "spacing", "codes"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2), []),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2), ["detector_spacing"]),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.3]}, (0.1, 0.2), []),
        ({"NominalScannedPixelSpacing": [0.05, 0.05]}, (0.05, 0.05), ["detector_spacing"]),
        ({"SequenceOfUltrasoundRegions": [region(0.02, -0.01)]}, (0.2, 0.1), []),
        ({"SequenceOfUltrasoundRegions": [region(1, 1, 4)]}, None, ["without_spacing"]),
        (
            {"SequenceOfUltrasoundRegions": [region(0.02, 0.02), region(0.01, 0.01)]},
            None,
            ["without_spacing"],
        ),
        ({"PixelSpacing": [0, 0]}, None, ["without_spacing"]),
        ({}, None, ["without_spacing"]),
    ],
)
def test_spacing_is_in_mm_or_unknown(header: Any, spacing: Any, codes: list[str]) -> None:
    about = read_frame_header(frame_object(PIXELS, **header))
    assert about.spacing == pytest.approx(spacing) if spacing else about.spacing is None
    assert [finding.code for finding in about.findings] == codes


@pytest.mark.parametrize(
    ("header", "view", "laterality"),
    [
        ({"ViewPosition": "MLO", "ImageLaterality": "L"}, "MLO", "L"),
        ({"ViewCodeSequence": code("399162004", "cranio-caudal"), "Laterality": "R"}, "CC", "R"),
        ({"ViewCodeSequence": code("R-10226", "medio-lateral oblique")}, "MLO", ""),
        ({"ViewCodeSequence": code("1", "frog leg")}, "frog leg", ""),
        ({}, "", ""),
    ],
)
def test_view_and_laterality(header: Any, view: str, laterality: str) -> None:
    about = read_frame_header(frame_object(PIXELS, PatientOrientation=["P", "F"], **header))
    assert (about.view, about.laterality, about.orientation) == (view, laterality, "P\\F")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned_in_annotation"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for_processing"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}, "converted_image"),
    ],
)
def test_what_a_reader_should_know_is_a_finding(header: Any, code: str) -> None:
    about = read_frame_header(frame_object(PIXELS, PixelSpacing=[1, 1], **header))
    assert [finding.code for finding in about.findings] == [code]
