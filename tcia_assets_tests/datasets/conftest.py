"""A small Collection, fetched from the sandbox once."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets.catalog import SERIES
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.headers import image_rows, references
from tcia_assets.metadata.budget import RunBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for


@pytest.fixture(scope="session")
def fetched_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Collection, fetched from the sandbox and read."""
    root = tmp_path_factory.mktemp("fetched_root")
    warehouse = Warehouse(root)
    served.reset()
    with open_source(settings_for(served, root), pacing=IMPATIENT) as client:
        refresh(SERIES, SMALL, client, warehouse, datetime.now(UTC), RunBudget(0))
        fetch_images(SMALL, Selection(collections=(SMALL,)), client, warehouse)
    image_rows.index_images(SMALL, warehouse)
    references.index_references(SMALL, warehouse)
    return root


@pytest.fixture
def fetched_warehouse(fetched_root: Path, tmp_path: Path) -> Warehouse:
    """A warehouse of one's own, with what was fetched."""
    shutil.copytree(fetched_root, tmp_path / "known", ignore=shutil.ignore_patterns("*.duckdb"))
    return Warehouse(tmp_path / "known")
