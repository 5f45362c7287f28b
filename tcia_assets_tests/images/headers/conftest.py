"""A fixture for the tests of tables that are read from zips."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets_tests.images.headers.zip_warehouse import ZipWarehouse


@pytest.fixture
def zips(tmp_path: Path) -> ZipWarehouse:
    return ZipWarehouse(tmp_path)
