"""pydicom and its plugins decode compressed pixels; failures are reported."""

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
    RLELossless,
)

from tcia_assets.datasets.volume.findings import IMPOSSIBLE, NoVolume
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.errors import MissingExtra
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    enhance,
    finding_codes,
    noise,
    write_zip,
)

BUNDLED = Path(pydicom.data.__file__).parent / "test_files"
# Compressed files with one slice, and the same image uncompressed.
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
    return read_volume(write_zip(path / "a.zip", contents), least_slices=1)


@pytest.mark.parametrize("name", [n for n in COMPRESSED if (BUNDLED / n).is_file()])
def test_each_transfer_syntax_decodes_to_the_original(tmp_path: Path, name: str) -> None:
    plain = bundled(COMPRESSED[name])
    volume = placed_frames(tmp_path, bundled(name))
    expected = plain.pixel_array
    assert np.array_equal(np.squeeze(volume.voxels), expected)


def placed_frames(tmp_path: Path, dataset: pydicom.Dataset) -> Any:
    """Return the volume of an object, with each of its frames at a position of its own."""
    frames = int(dataset.get("NumberOfFrames", 1))
    if frames > 1:
        enhance(dataset, frames)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return read(tmp_path, buffer.getvalue())


def test_a_compressed_series_is_the_same_volume(tmp_path: Path) -> None:
    series = Series(noise((4, 34, 36)))
    objects = series.objects()
    for each in objects[:3]:
        each.compress(RLELossless, generate_instance_uid=False)
    # The last object is not compressed: such Series exist.
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert np.array_equal(volume.voxels, series.values)


def test_a_missing_decoder_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "available_plugins", property(lambda _: ()))
    with pytest.raises(MissingExtra, match=r"JPEG 2000.*pip install 'pylibjpeg"):
        read(tmp_path, (BUNDLED / "MR_small_jp2klossless.dcm").read_bytes())


def test_damaged_compressed_pixels_leave_no_volume(tmp_path: Path) -> None:
    series = Series(noise((4, 34, 36)))
    objects = series.objects()
    for each in objects:
        each.compress(RLELossless, generate_instance_uid=False)
    pixels = bytearray(objects[1].PixelData)
    pixels[60:] = bytes(len(pixels) - 60)
    objects[1].PixelData = bytes(pixels)
    with pytest.raises(NoVolume) as caught:
        read_volume(write_zip(tmp_path / "a.zip", objects))
    assert finding_codes(caught.value) == ["undecodable_pixels"]
    assert caught.value.findings[0].sop_instance_uids == (objects[1].SOPInstanceUID,)


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*.dcm")), ids=lambda path: path.stem)
def test_unusual_objects_give_a_volume_or_a_reason(tmp_path: Path, path: Path) -> None:
    volume = None
    try:
        volume = read(tmp_path, path.read_bytes())
    except NoVolume as refused:
        reasons = [found for found in refused.findings if found.code in IMPOSSIBLE]
    else:
        reasons = []
        assert volume.voxels.ndim == 3
        assert len(volume.slices) == len(volume.voxels)
    assert len(reasons) == (volume is None)
