"""RTSTRUCT."""

from __future__ import annotations

import numpy as np
import pytest

from tcia_assets.sandbox.phantom.anatomy import (
    SIDE,
)
from tcia_assets_tests.sandbox.phantom.made_objects import lesion_in, opened, row


@pytest.mark.parametrize("count", [1, 2, 60, pytest.param(500, marks=pytest.mark.slow)])
def test_contours_are_closed_and_lie_on_slices_inside_the_volume(count: int) -> None:
    source = row("PT", count)
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    half = SIDE / 2 * float(next(iter(slices.values())).PixelSpacing[0])
    (structures,) = opened(row("RTSTRUCT"), source)
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == ["Body", "Lesion"]
    for roi in structures.ROIContourSequence:
        assert roi.ContourSequence
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            on = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            assert len(points) == contour.NumberOfContourPoints >= 3
            assert (points[:, 2] == float(on.ImagePositionPatient[2])).all()
            assert (np.abs(points[:, :2]) < half).all()
            assert not np.array_equal(points[0], points[-1])


def test_a_lesion_contour_surrounds_the_lesion_of_its_slice() -> None:
    source = row("PT", 60)
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    (structures,) = opened(row("RTSTRUCT"), source)
    for contour in structures.ROIContourSequence[1].ContourSequence:
        on = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        spacing = float(on.PixelSpacing[0])
        points = np.array(contour.ContourData, float).reshape(-1, 3)[:, :2]
        pixels = (points - np.array(on.ImagePositionPatient[:2], float)) / spacing
        x, y = pixels.T
        area = abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2
        mask = lesion_in([on])[0]
        # a pixel belongs to the lesion by its centre, hence the tolerance of its rim
        assert abs(area - mask.sum()) <= 2 + np.sqrt(area)
        if mask.any():
            centre = np.argwhere(mask).mean(axis=0)[::-1]
            assert np.abs(pixels.mean(axis=0) - centre).max() < 1


def test_contours_share_the_frame_of_reference_of_their_source() -> None:
    source = row("CT", 60)
    first = opened(source)[0]
    (structures,) = opened(row("RTSTRUCT"), source)
    (frame,) = structures.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert study.ReferencedSOPInstanceUID == first.StudyInstanceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(series.ContourImageSequence) == 16
