"""PNG files hold all bits, and the spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tcia_assets.datasets.frame.png import read_png, write_png
from tcia_assets.errors import StorageError


@pytest.mark.parametrize(
    ("dtype", "shape", "mode"),
    [("uint8", (5, 7), "L"), ("uint16", (5, 7), "I;16"), ("uint8", (5, 7, 3), "RGB")],
)
def test_pixels_are_read_back_and_the_bytes_are_the_same_again(
    tmp_path: Path, dtype: str, shape: Any, mode: str
) -> None:
    most = np.iinfo(dtype).max
    pixels = (np.arange(np.prod(shape)) * 641 % most).astype(dtype).reshape(shape)
    pixels.flat[0] = most
    size = write_png(tmp_path / "a.png", pixels, (0.1, 0.2))
    write_png(tmp_path / "b.png", pixels, (0.1, 0.2))
    assert size == len((tmp_path / "a.png").read_bytes())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    found = read_png(tmp_path / "a.png")
    assert found.dtype == pixels.dtype and (found == pixels).all()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode
        assert picture.info["dpi"] == pytest.approx((254.0, 127.0), rel=1e-3)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((50, 50), np.uint8), None)
    with Image.open(tmp_path / "a.png") as picture:
        assert "dpi" not in picture.info
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    for name in ("a.png", "none.png"):
        with pytest.raises(StorageError, match="cannot be read"):
            read_png(tmp_path / name)
