"""CT, MR and PT."""

from __future__ import annotations

import numpy as np

from tcia_assets_tests.sandbox.phantom.made_objects import opened, row


def test_neighbouring_slices_are_alike_and_distant_ones_are_not() -> None:
    volume = np.stack([item.pixel_array.astype(int) for item in opened(row("CT", 100))])
    near = np.abs(np.diff(volume, axis=0)).mean(axis=(1, 2))
    far = np.abs(volume[50] - volume[0]).mean()
    assert near.max() < far / 3
    assert (near > 0).all()


def test_ct_is_in_hounsfield_units() -> None:
    item = opened(row("CT", 5))[2]
    assert item.RescaleIntercept == -1024
    hounsfield = item.pixel_array * float(item.RescaleSlope) + float(item.RescaleIntercept)
    assert abs(hounsfield[0, 0] + 1000) <= 16  # air
    assert 400 < hounsfield.max() < 500  # bone


def test_pt_has_the_elements_for_suv_by_body_weight() -> None:
    slices = opened(row("PT", 60))
    item, tracer = slices[30], slices[30].RadiopharmaceuticalInformationSequence[0]
    assert (item.Units, item.DecayCorrection, item.RescaleIntercept) == ("BQML", "START", 0)
    assert {"DECY", "ATTN"} <= set(item.CorrectedImage)
    assert item.SeriesDate == item.AcquisitionDate == tracer.RadiopharmaceuticalStartDateTime[:8]

    def seconds(clock: str) -> int:
        return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6])

    waited = seconds(item.SeriesTime) - seconds(tracer.RadiopharmaceuticalStartTime)
    left = float(tracer.RadionuclideTotalDose) * 0.5 ** (waited / tracer.RadionuclideHalfLife)
    suv = item.pixel_array * item.RescaleSlope * item.PatientWeight * 1000 / left
    assert 0.5 < np.median(suv[suv > 0.5]) < 2
    assert 5 < suv.max() < 14
