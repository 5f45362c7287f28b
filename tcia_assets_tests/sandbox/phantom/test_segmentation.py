"""SEG."""

from __future__ import annotations

import numpy as np
import pytest

from tcia_assets_tests.sandbox.phantom.made_objects import frames, lesion_in, opened, row


@pytest.mark.parametrize("count", [1, 2, 3, 60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_seg_marks_the_lesion_of_its_source(count: int) -> None:
    source = row("PT", count, SeriesInstanceUID="1.2.3")
    slices = {item.SOPInstanceUID: item for item in opened(source)}
    (seg,) = opened(row("SEG"), source)
    found = list(frames(seg, segment=2))
    assert found
    assert seg.NumberOfFrames <= 16
    for groups, mask in found:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        on = slices[image.ReferencedSOPInstanceUID]
        assert image.ReferencedSOPClassUID == on.SOPClassUID
        assert groups.PlanePositionSequence[0].ImagePositionPatient == on.ImagePositionPatient
        assert np.array_equal(mask, lesion_in([on])[0])


def test_a_seg_marks_the_body_of_its_source() -> None:
    source = row("CT", 60)
    slices = {item.SOPInstanceUID: item.pixel_array for item in opened(source)}
    (seg,) = opened(row("SEG"), source)
    for groups, mask in frames(seg, segment=1):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        air = slices[image.ReferencedSOPInstanceUID] < 100
        assert np.array_equal(mask, ~air)


def test_a_seg_refers_to_each_of_its_slices_and_has_their_position() -> None:
    source = row("CT", 60)
    first = opened(source)[0]
    (seg,) = opened(row("SEG"), source)
    (series,) = seg.ReferencedSeriesSequence
    shared = seg.SharedFunctionalGroupsSequence[0]
    listed = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    used = {
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for groups in seg.PerFrameFunctionalGroupsSequence
    }
    assert series.SeriesInstanceUID == source["SeriesInstanceUID"]
    assert sorted(listed) == sorted(used)
    assert seg.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert shared.PixelMeasuresSequence[0].PixelSpacing == first.PixelSpacing
    assert (
        shared.PlaneOrientationSequence[0].ImageOrientationPatient == first.ImageOrientationPatient
    )
