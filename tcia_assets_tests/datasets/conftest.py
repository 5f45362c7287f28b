"""Copies of a fetched Collection, and samples made of it once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tcia_assets.datasets.build import make_samples
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import NO_TARGET, declared

STORE = Path("datasets/lung_ct/.samples")
LEFT_OUT = shutil.ignore_patterns("*.duckdb")


@pytest.fixture
def fetched_warehouse(fetched_root: Path, tmp_path: Path) -> Warehouse:
    """Return a copy of the fetched warehouse for one test."""
    shutil.copytree(fetched_root, tmp_path / "fetched", ignore=LEFT_OUT)
    return Warehouse(tmp_path / "fetched")


@pytest.fixture(scope="session")
def made_samples(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with the samples of the example, with and without its target."""
    root = tmp_path_factory.mktemp("made_samples")
    shutil.copytree(fetched_root, root, ignore=LEFT_OUT, dirs_exist_ok=True)
    warehouse = Warehouse(root)
    for declaration in (declared(), declared(NO_TARGET)):
        make_samples(declaration, query_cohort(declaration, warehouse), warehouse)
    return root / STORE


@pytest.fixture
def stocked_warehouse(fetched_warehouse: Warehouse, made_samples: Path) -> Warehouse:
    """Return a copy of the fetched warehouse whose sample store is filled."""
    shutil.copytree(made_samples, fetched_warehouse.root / STORE)
    return fetched_warehouse
