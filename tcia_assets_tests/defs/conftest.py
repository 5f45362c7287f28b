from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import (
    SMALL,
    Dagster,
)
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]


@pytest.fixture
def with_series(dagster: Dagster, source: Source) -> Dagster:
    """The plugin over the Series of the small Collection, made without a Dagster run."""
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    refresh(catalog.SERIES, SMALL, source, dagster.warehouse, datetime.now(UTC), ProbeBudget(0))
    return dagster


@pytest.fixture
def with_zips(contours_root: Path, dagster: Dagster) -> Dagster:
    """The plugin over the contours of the small Collection, fetched without a Dagster run."""
    shutil.copytree(contours_root, dagster.data_dir, dirs_exist_ok=True)
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    return dagster
