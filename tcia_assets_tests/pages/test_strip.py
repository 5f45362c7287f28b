"""A strip shows some Series side by side, and leaves out what has no pixels."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tcia_assets.pages.strip import picture_strip
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL


def test_a_strip_has_a_picture_of_each_of_some_series(fetched_root: Path) -> None:
    warehouse = Warehouse(fetched_root)
    rows = warehouse.query("SELECT SeriesInstanceUID AS uid FROM series")["uid"].to_pylist()
    strip = picture_strip(warehouse, SMALL, rows)
    assert 1_000 < len(strip) <= 36_000
    with Image.open(io.BytesIO(strip)) as picture:
        assert picture.height <= 128 < 5 * 64 < picture.width
    assert picture_strip(warehouse, SMALL, rows) == strip


def test_nothing_is_shown_of_what_has_no_pixels(fetched_root: Path) -> None:
    warehouse = Warehouse(fetched_root)
    contours = "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'RTSTRUCT'"
    assert picture_strip(warehouse, SMALL, warehouse.query(contours)["uid"].to_pylist()) == b""
    assert picture_strip(warehouse, SMALL, ["1.2.3"]) == b""
