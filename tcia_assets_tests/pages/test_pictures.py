"""Pictures of Series: the right way up, in a window that shows something."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from tcia_assets.pages.pictures import SIDE, NoPicture, picture_of


def zip_of(tmp_path: Path, name: str) -> Path:
    """A zip with one of pydicom's own files."""
    path = tmp_path / "series.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(str(get_testdata_file(name)), "1.dcm")
    return path


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "rtdose.dcm"])
def test_grey_images_have_contrast(tmp_path: Path, name: str) -> None:
    pixels = pixels_of(picture_of(zip_of(tmp_path, name), "1.dcm"))
    assert max(pixels.shape) == SIDE and pixels.ndim == 2
    assert np.ptp(pixels) > 100


def test_a_colour_image_keeps_its_colours(tmp_path: Path) -> None:
    pixels = pixels_of(picture_of(zip_of(tmp_path, "SC_rgb.dcm"), "1.dcm"))
    assert pixels.ndim == 3
    assert pixels[0, 0].tolist() == pytest.approx([255, 0, 0], abs=12)


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    path = zip_of(tmp_path, "CT_small.dcm")
    assert picture_of(path, "1.dcm") == picture_of(path, "1.dcm")


def test_what_has_no_pixels_has_no_picture_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoPicture, match="no pixels"):
        picture_of(zip_of(tmp_path, "rtplan.dcm"), "1.dcm")
    with pytest.raises(NoPicture, match="has no"):
        picture_of(zip_of(tmp_path, "CT_small.dcm"), "2.dcm")


def test_pixels_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    broken = bytearray(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()[:-9000])
    path = tmp_path / "series.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("1.dcm", bytes(broken))
    with pytest.raises(NoPicture, match="cannot be decoded"):
        picture_of(path, "1.dcm")
