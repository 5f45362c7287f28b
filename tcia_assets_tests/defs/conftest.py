from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets import catalog
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_run import FetchRun
from tcia_assets.images.headers import image_rows, references
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, Dagster, settings_for


@pytest.fixture
def with_series(dagster: Dagster, source: Source) -> Dagster:
    """The plugin over the Series of the small Collection, made without a Dagster run."""
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    refresh(catalog.SERIES, SMALL, source, dagster.warehouse, datetime.now(UTC), ProbeBudget(0))
    return dagster


@pytest.fixture(scope="session")
def contours_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the contours of the small Collection, fetched and indexed."""
    root = tmp_path_factory.mktemp("contours")
    warehouse = Warehouse(root)
    contours = FetchRun(Selection(collections=(SMALL,), modalities=("RTSTRUCT",)))
    served.reset()
    with open_source(settings_for(served, root), pacing=IMPATIENT) as source:
        refresh(catalog.SERIES, SMALL, source, warehouse, datetime.now(UTC), ProbeBudget(0))
        fetch_images(SMALL, contours, source, warehouse)
    image_rows.index_images(SMALL, warehouse)
    references.index_references(SMALL, warehouse)
    return root


@pytest.fixture
def with_zips(contours_root: Path, dagster: Dagster) -> Dagster:
    """The plugin over the contours of the small Collection, fetched without a Dagster run."""
    shutil.copytree(contours_root, dagster.data_dir, dirs_exist_ok=True)
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    return dagster
