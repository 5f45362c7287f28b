"""The samples of the example dataset, written to a folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets_tests.datasets.example_dataset import (
    build,
)


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)
