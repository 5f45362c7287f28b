"""Copies of a fetched Collection, and samples made of it once."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.datasets import versions
from tcia_assets.datasets.build import make_samples
from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.versions import Version
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import made_by_one_worker, mirror_fetched
from tcia_assets_tests.datasets.example_builds import NO_TARGET, built, declared
from tcia_assets_tests.datasets.example_channels import MR_STUDIES, SARCOMA
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]

STORE = Path("datasets/lung_ct/.samples")
LEFT_OUT = shutil.ignore_patterns("*.duckdb")


@pytest.fixture
def fetched_warehouse(fetched_root: Path, tmp_path: Path) -> Warehouse:
    """Return a copy of the fetched warehouse for one test."""
    shutil.copytree(fetched_root, tmp_path / "fetched", ignore=LEFT_OUT)
    return Warehouse(tmp_path / "fetched")


@pytest.fixture(scope="session")
def example_cohort(fetched_root: Path) -> Cohort:
    """Return the cohort of the example, as a query of the fetched warehouse gives it."""
    return query_cohort(declared(), Warehouse(fetched_root))


@pytest.fixture(scope="session")
def sarcoma_root(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with MR Studies of a T1, drawn on, and a STIR or T2 Series each."""
    return made_by_one_worker(
        tmp_path_factory,
        "sarcoma",
        lambda root: mirror_fetched(served, root, SARCOMA, where=MR_STUDIES),
    )


@pytest.fixture(scope="session")
def fetched_sarcomas(sarcoma_root: Path) -> Warehouse:
    """Return the warehouse with MR Studies, for tests that change nothing."""
    return Warehouse(sarcoma_root)


@pytest.fixture
def sarcomas(sarcoma_root: Path, tmp_path: Path) -> Warehouse:
    """Return a copy of the warehouse with MR Studies for one test."""
    shutil.copytree(sarcoma_root, tmp_path / "sarcomas", ignore=LEFT_OUT)
    return Warehouse(tmp_path / "sarcomas")


@pytest.fixture(scope="session")
def made_samples(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with the samples of the example, with and without its target."""

    def make(root: Path) -> None:
        shutil.copytree(fetched_root, root, ignore=LEFT_OUT, dirs_exist_ok=True)
        warehouse = Warehouse(root)
        for declaration in (declared(), declared(NO_TARGET)):
            make_samples(declaration, query_cohort(declaration, warehouse), warehouse)

    return made_by_one_worker(tmp_path_factory, "made_samples", make) / STORE


@pytest.fixture
def stocked_warehouse(fetched_warehouse: Warehouse, made_samples: Path) -> Warehouse:
    """Return a copy of the fetched warehouse whose sample store is filled."""
    shutil.copytree(made_samples, fetched_warehouse.root / STORE)
    return fetched_warehouse


@pytest.fixture(scope="session")
def _built_root(
    fetched_root: Path, made_samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return _built_by_one_worker(
        tmp_path_factory, "built_root", fetched_root, made_samples, declared()
    )


def _built_by_one_worker(
    factory: pytest.TempPathFactory,
    name: str,
    fetched_root: Path,
    made_samples: Path,
    declaration: Declaration,
) -> Path:
    """Return a copy of the fetched folder in which a declaration was built from these samples."""

    def make(root: Path) -> None:
        shutil.copytree(fetched_root, root, ignore=LEFT_OUT, dirs_exist_ok=True)
        shutil.copytree(made_samples, root / STORE)
        built(declaration, Warehouse(root))

    return made_by_one_worker(factory, name, make)


@pytest.fixture
def built_warehouse(_built_root: Path, tmp_path: Path) -> Warehouse:
    """Return a copy of a warehouse in which the example was built; see `example_version`."""
    shutil.copytree(_built_root, tmp_path / "fetched", ignore=LEFT_OUT, symlinks=True)
    return Warehouse(tmp_path / "fetched")


@pytest.fixture
def example_version(built_warehouse: Warehouse) -> Version:
    """Return the version of the example in that warehouse."""
    [version] = versions.list_versions(built_warehouse.root, "lung_ct")
    return version


@pytest.fixture(scope="session")
def built_once(
    fetched_root: Path, made_samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Version:
    """Return a version of the example, for tests that change nothing."""
    root = _built_by_one_worker(
        tmp_path_factory, "built", fetched_root, made_samples, declared(NO_TARGET)
    )
    [version] = versions.list_versions(root, "lung_ct")
    return version


@pytest.fixture
def version(built_once: Version, tmp_path: Path) -> Version:
    """Return a version of the example in a data folder that has nothing else."""
    dataset = tmp_path / "datasets" / "lung_ct"
    shutil.copytree(built_once.folder.parent, dataset, symlinks=True)
    return versions.read(dataset / built_once.version)


@pytest.fixture
def files_left_open() -> Iterator[None]:
    """Close at the end of a test what a library has left open; see `left_open`."""
    yield
    gc.collect()
