"""Each frame of an enhanced object has its own position and rescaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.uid import (
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    RLELossless,
)

from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import (
    OBLIQUE,
    Series,
    enhance,
    finding_codes,
    noise,
    write_zip,
)


def read(path: Path, *contents: bytes) -> Any:
    return read_volume(write_zip(path / "a.zip", contents), least_slices=1)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_enhanced_object_is_the_volume_of_its_frames(
    tmp_path: Path, syntax: Any, *, backwards: bool
) -> None:
    values = noise((5, 34, 36), 0, 4000, np.uint16)
    series = Series(values, orientation=OBLIQUE)
    enhanced = synthetic.blank(EnhancedMRImageStorage, "1.2.8")
    enhanced.Modality, enhanced.NumberOfFrames = "MR", len(values)
    synthetic.set_pixels(enhanced, values[::-1] if backwards else values)
    enhance(enhanced, len(values))
    groups = enhanced.PerFrameFunctionalGroupsSequence
    for place, group in enumerate(groups):
        rescale = pydicom.Dataset()
        rescale.RescaleSlope = "2"
        at = len(values) - 1 - place if backwards else place
        rescale.RescaleIntercept = str(at)
        group.PixelValueTransformationSequence = [rescale]
        position = np.round(series.origin + at * series.step, 6)
        group.PlanePositionSequence[0].ImagePositionPatient = list(position)
    if syntax is not None:
        enhanced.compress(syntax, generate_instance_uid=False)
    volume = read(tmp_path, synthetic.content(enhanced))
    expected = values.astype(int) * 2 + np.arange(len(values)).reshape(-1, 1, 1)
    assert np.array_equal(volume.voxels, expected)
    np.testing.assert_allclose(volume.affine, series.affine, atol=1e-5)
    assert finding_codes(volume) == ["mixed_rescale"]


def test_cosines_that_were_rounded_keep_the_spacing(tmp_path: Path) -> None:
    series = Series(orientation=OBLIQUE)
    objects = series.objects()
    for each in objects:
        each.ImageOrientationPatient = list(np.round(np.multiply(OBLIQUE, 0.995), 3))
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert volume.spacing == pytest.approx(series.spacing, rel=1e-6)
    assert finding_codes(volume) == []
