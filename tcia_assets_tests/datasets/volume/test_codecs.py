"""Pixels are decoded by pydicom and its plugins, and what cannot be is told, never left out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    EnhancedMRImageStorage,
    JPEG2000Lossless,
    RLELossless,
)

from tcia_assets.datasets.volume import NoVolume, read_volume
from tcia_assets.errors import MissingExtra
from tcia_assets_tests.datasets.volume import synthetic
from tcia_assets_tests.datasets.volume.synthetic import OBLIQUE, Series, codes, grain, zipped

BUNDLED = Path(pydicom.data.__file__).parent / "test_files"
# One slice each; with what pydicom itself makes of it.
COMPRESSED = {
    "MR_small_RLE.dcm": "MR_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "emri_small_RLE.dcm": "emri_small.dcm",
    "emri_small_jpeg_ls_lossless.dcm": "emri_small.dcm",
    "emri_small_jpeg_2k_lossless.dcm": "emri_small.dcm",
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_implicit.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
}


def bundled(name: str) -> pydicom.Dataset:
    return pydicom.dcmread(BUNDLED / name)


def read(path: Path, *contents: bytes) -> Any:
    return read_volume(zipped(path / "a.zip", contents), least_slices=1)


@pytest.mark.parametrize("name", [n for n in COMPRESSED if (BUNDLED / n).is_file()])
def test_each_syntax_gives_what_was_compressed(tmp_path: Path, name: str) -> None:
    plain = bundled(COMPRESSED[name])
    volume = placed_frames(tmp_path, bundled(name))
    expected = plain.pixel_array
    assert np.array_equal(np.squeeze(volume.voxels), expected)


def placed_frames(tmp_path: Path, dataset: pydicom.Dataset) -> Any:
    """The volume of an object; of the many images in one, each at a place of its own."""
    frames = int(dataset.get("NumberOfFrames", 1))
    if frames > 1:
        enhance(dataset, frames)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return read(tmp_path, buffer.getvalue())


def enhance(dataset: pydicom.Dataset, frames: int) -> None:
    shared, orientation, measures = (pydicom.Dataset() for _ in range(3))
    orientation.ImageOrientationPatient = list(OBLIQUE)
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    series = Series(orientation=OBLIQUE)
    dataset.PerFrameFunctionalGroupsSequence = []
    for place in range(frames):
        own, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = list(np.round(series.origin + place * series.step, 6))
        own.PlanePositionSequence = [position]
        dataset.PerFrameFunctionalGroupsSequence.append(own)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_enhanced_object_is_the_volume_of_its_frames(
    tmp_path: Path, syntax: Any, *, backwards: bool
) -> None:
    values = grain((5, 34, 36), 0, 4000, np.uint16)
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
    assert codes(volume) == ["mixed_rescale"]


def test_a_compressed_series_is_the_same_volume(tmp_path: Path) -> None:
    series = Series(grain((4, 34, 36)))
    objects = series.objects()
    for each in objects[:3]:
        each.compress(RLELossless, generate_instance_uid=False)
    # The last one is not compressed: such Series exist.
    volume = read_volume(zipped(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values)


def test_without_a_decoder_its_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "is_available", property(lambda _: False))
    monkeypatch.setattr(Decoder, "_validate_plugins", unavailable)
    with pytest.raises(MissingExtra, match=r"JPEG 2000.*tcia_assets\[codecs\]"):
        read(tmp_path, (BUNDLED / "MR_small_jp2klossless.dcm").read_bytes())


def unavailable(*_args: Any, **_more: Any) -> Any:
    raise RuntimeError("no plugin")


def test_pixels_that_do_not_decode_leave_no_volume(tmp_path: Path) -> None:
    series = Series(grain((4, 34, 36)))
    objects = series.objects()
    for each in objects:
        each.compress(RLELossless, generate_instance_uid=False)
    pixels = bytearray(objects[1].PixelData)
    pixels[60:] = bytes(len(pixels) - 60)
    objects[1].PixelData = bytes(pixels)
    with pytest.raises(NoVolume) as caught:
        read_volume(zipped(tmp_path / "a.zip", objects))
    assert codes(caught.value) == ["undecodable_pixels"]
    assert caught.value.findings[0].sop_instance_uids == (objects[1].SOPInstanceUID,)


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.dcm")), ids=lambda path: path.stem)
def test_odd_objects_are_a_volume_or_a_reason(tmp_path: Path, path: Path) -> None:
    volume = None
    try:
        volume = read(tmp_path, path.read_bytes())
    except NoVolume as refused:
        reasons = [found for found in refused.findings if found.makes_impossible]
    else:
        reasons = []
        assert volume.voxels.ndim == 3
        assert len(volume.slices) == len(volume.voxels)
    assert len(reasons) == (volume is None)
