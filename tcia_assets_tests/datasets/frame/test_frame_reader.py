"""The frames of a Series: in order, rescaled, in colour, a few at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from tcia_assets.datasets.frame import frame_reader
from tcia_assets.datasets.frame.frame_reader import FrameImage, read_images
from tcia_assets.datasets.volume.findings import NoVolume
from tcia_assets_tests.datasets.frame.objects import frame_object, real_file, zip_of

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def images_of(path: Path, pick: str = "all", **options: Any) -> list[FrameImage]:
    found = list(read_images(path, pick, **options))
    assert all(isinstance(each, FrameImage) for each in found)
    return [each for each in found if isinstance(each, FrameImage)]


def codes(image: FrameImage | NoVolume) -> set[str]:
    return {finding.code for finding in image.findings}


def test_objects_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    objects = [frame_object(PIXELS + n, n, PixelSpacing=[1, 1]) for n in (3, 1, 2)]
    found = images_of(zip_of(tmp_path / "a.zip", *objects), image_count=3)
    assert [int(each.values[0, 0]) for each in found] == [1, 2, 3]
    assert {each.number for each in found} == {0} and not codes(found[0])
    assert len({each.pixel_sha256 for each in found}) == 3
    [short, *_] = images_of(tmp_path / "a.zip", image_count=4)
    assert codes(short) == {"count_unlike_image_count"}


def test_values_are_rescaled_or_looked_up(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [12, 0, 16]
    table.LUTData = (1000 - np.arange(12)).astype("<u2").tobytes()
    table.ModalityLUTType = "OD"
    path = zip_of(
        tmp_path / "a.zip",
        frame_object(PIXELS, 1, RescaleSlope=2, RescaleIntercept=-5),
        frame_object(PIXELS, 2, RescaleSlope=0.5, RescaleIntercept=0),
        frame_object(PIXELS, 3, ModalityLUTSequence=[table]),
    )
    whole, half, looked_up = images_of(path)
    assert whole.values.dtype == np.int16 and (whole.values == PIXELS * 2.0 - 5).all()
    assert half.values.dtype == np.float32 and (half.values == PIXELS / 2).all()
    assert (looked_up.values == 1000 - PIXELS.astype(int)).all()


@pytest.mark.parametrize("at_once", [1, 25, 1 << 20])
def test_frames_of_one_object_are_read_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(frame_reader, "_BYTES_AT_ONCE", at_once)
    frames = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    path = zip_of(tmp_path / "a.zip", frame_object(frames))
    found = images_of(path)
    assert [each.number for each in found] == [1, 2, 3, 4, 5]
    assert (np.stack([each.values for each in found]) == frames).all()
    [middle] = images_of(path, "middle")
    assert middle.number == 3 and "other_frames" in codes(middle)


def test_a_cine_of_ultrasound_in_colour(tmp_path: Path) -> None:
    file = real_file("examples_ybr_color.dcm")
    [image] = images_of(zip_of(tmp_path / "a.zip", file), "middle")
    assert image.values.shape == (240, 320, 3) and image.number == 16 and image.is_colour
    assert (image.values == pixel_array(dcmread(file), index=15)).all()
    assert image.about.spacing == pytest.approx((0.5105, 0.5105), rel=1e-3)
    assert image.decoder == "pylibjpeg"


@pytest.mark.parametrize("name", ["examples_palette.dcm", "SC_rgb_rle_16bit.dcm"])
def test_colours_have_eight_bits_each(tmp_path: Path, name: str) -> None:
    [image] = images_of(zip_of(tmp_path / "a.zip", real_file(name)))
    assert image.values.dtype == np.uint8 and image.values.shape[2] == 3
    assert image.values.max() > 200


def test_pixels_that_cannot_be_read_cost_their_object_alone(tmp_path: Path) -> None:
    cut = frame_object(PIXELS, 1)
    cut.PixelData = cut.PixelData[:10]
    found = list(read_images(zip_of(tmp_path / "a.zip", cut, frame_object(PIXELS, 2)), "all"))
    assert isinstance(found[0], NoVolume) and "undecodable_pixels" in codes(found[0])
    assert isinstance(found[1], FrameImage)


def test_a_series_without_pixels_has_no_image(tmp_path: Path) -> None:
    with pytest.raises(NoVolume) as found:
        list(read_images(zip_of(tmp_path / "a.zip", real_file("reportsi.dcm")), "all"))
    assert [finding.code for finding in found.value.findings] == ["no_slices"]


def test_an_image_of_one_value_has_a_finding(tmp_path: Path) -> None:
    [image] = images_of(zip_of(tmp_path / "a.zip", frame_object(PIXELS * 0)))
    assert "zero_variance" in codes(image)
