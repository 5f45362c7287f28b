"""Sandboxes with 3, 8, 12 and 40 small Series, one of each a worker, and data folders for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.images.headers.references import index_references
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.bucket_place import Machine, beside
from tcia_assets_tests.images.many import SERIES, place_at
from tcia_assets_tests.images.place import COLLECTION, Place, small_catalogue
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]


def _served(series: int, images: int) -> Callable[[], Iterator[Sandbox]]:
    """Return a fixture: one sandbox a worker, with so many Series of so many images."""

    @pytest.fixture(scope="session")
    def served() -> Iterator[Sandbox]:
        with Sandbox(small_catalogue(series, images)) as sandbox:
            yield sandbox

    return served


small_served = _served(series=3, images=4)
eight_served = _served(series=8, images=4)
twelve_served = _served(series=SERIES, images=2)
wide_served = _served(series=40, images=2)


# The views hold the absolute paths of the folder that they were made for.
_VIEWS = shutil.ignore_patterns("warehouse.duckdb")
PlaceOf = Callable[[Sandbox], Place]


@pytest.fixture(scope="session")
def _refreshed_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sandbox], Path]:
    """Return what returns a data folder with the metadata of a sandbox, made when first used."""

    @cache
    def refreshed(sandbox: Sandbox) -> Path:
        data_dir = tmp_path_factory.mktemp("refreshed")
        # A query writes the files that all later ones need.
        place_at(sandbox, data_dir).warehouse.query("SELECT count(*) FROM series")
        return data_dir

    return refreshed


@pytest.fixture
def place_of(_refreshed_once: Callable[[Sandbox], Path], tmp_path: Path) -> PlaceOf:
    """Return what returns a place with the metadata of a sandbox, and no zips."""

    def made(sandbox: Sandbox) -> Place:
        return _copied(_refreshed_once(sandbox), sandbox, tmp_path)

    return made


def _copied(folder: Path, sandbox: Sandbox, data_dir: Path) -> Place:
    shutil.copytree(folder, data_dir, ignore=_VIEWS, dirs_exist_ok=True)
    sandbox.reset()
    return Place(sandbox, data_dir)


@pytest.fixture
def place(small_served: Sandbox, place_of: PlaceOf) -> Place:
    """Return a data folder that has the metadata of three Series of four images, and no zips."""
    return place_of(small_served)


@pytest.fixture
def eight(eight_served: Sandbox, place_of: PlaceOf) -> Place:
    """Return a data folder that has the metadata of eight Series of four images, and no zips."""
    return place_of(eight_served)


@pytest.fixture
def wide(wide_served: Sandbox, place_of: PlaceOf) -> Place:
    """Return a data folder that has the metadata of forty Series of two images, and no zips."""
    return place_of(wide_served)


@pytest.fixture
def mirror(twelve_served: Sandbox, place_of: PlaceOf) -> Place:
    """Return a data folder that has the metadata of twelve Series of two images, and no zips."""
    return place_of(twelve_served)


@pytest.fixture
def machine(place: Place, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return what makes a machine with the metadata of `place` and a bucket that all share."""
    return lambda: beside(place, tmp_path_factory.mktemp("machine") / "data", bucket)


@pytest.fixture(scope="session")
def _fetched_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sandbox], Path]:
    """Return what returns a data folder with the zips of a sandbox, fetched when first used."""

    @cache
    def fetched(sandbox: Sandbox) -> Path:
        data_dir = tmp_path_factory.mktemp("fetched")
        there = place_at(sandbox, data_dir)
        there.fetch()
        index_images(COLLECTION, there.warehouse)
        index_references(COLLECTION, there.warehouse)
        return data_dir

    return fetched


@pytest.fixture
def fetched(
    twelve_served: Sandbox, _fetched_once: Callable[[Sandbox], Path], tmp_path: Path
) -> Place:
    """Return a data folder with the zips of the twelve Series and their headers."""
    return _copied(_fetched_once(twelve_served), twelve_served, tmp_path / "data")


@pytest.fixture
def fetched_three(
    small_served: Sandbox, _fetched_once: Callable[[Sandbox], Path], tmp_path: Path
) -> Place:
    """Return a data folder with the zips of the three Series and their headers."""
    return _copied(_fetched_once(small_served), small_served, tmp_path / "data")
