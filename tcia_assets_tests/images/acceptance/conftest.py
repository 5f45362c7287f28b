"""A fixture for the tests of acceptance."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets_tests.images.acceptance.sample_zips import WriteZip


@pytest.fixture
def write_zip(tmp_path: Path) -> WriteZip:
    """Write bytes to a file and return its path."""

    def write(content: bytes) -> Path:
        path = tmp_path / "series.zip"
        path.write_bytes(content)
        return path

    return write
