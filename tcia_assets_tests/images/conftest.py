"""Sandboxes with 3, 12 and 60 small Series, one of each a worker, and data folders for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.many import SERIES, place_at
from tcia_assets_tests.images.place import COLLECTION, Place, small_catalogue


def _served(series: int, images: int) -> Callable[[], Iterator[Sandbox]]:
    """Return a fixture: one sandbox a worker, with so many Series of so many images."""

    @pytest.fixture(scope="session")
    def served() -> Iterator[Sandbox]:
        with Sandbox(small_catalogue(series, images)) as sandbox:
            yield sandbox

    return served


small_served = _served(series=3, images=4)
twelve_served = _served(series=SERIES, images=2)
wide_served = _served(series=60, images=2)


@pytest.fixture
def place(small_served: Sandbox, tmp_path: Path) -> Place:
    """Return a data folder that has the metadata of three Series of four images, and no zips."""
    return place_at(small_served, tmp_path)


@pytest.fixture
def wide(wide_served: Sandbox, tmp_path: Path) -> Place:
    """Return a data folder that has the metadata of sixty Series of two images, and no zips."""
    return place_at(wide_served, tmp_path)


@pytest.fixture
def mirror(twelve_served: Sandbox, tmp_path: Path) -> Place:
    """Return a data folder that has the metadata of twelve Series of two images, and no zips."""
    return place_at(twelve_served, tmp_path)


@pytest.fixture(scope="session")
def _fetched_once(twelve_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("fetched")
    there = place_at(twelve_served, data_dir)
    there.fetch()
    index_images(COLLECTION, there.warehouse)
    return data_dir


@pytest.fixture
def fetched(twelve_served: Sandbox, _fetched_once: Path, tmp_path: Path) -> Place:
    """Return a data folder with the zips of the twelve Series and their headers."""
    data_dir = tmp_path / "data"
    shutil.copytree(_fetched_once, data_dir)
    twelve_served.reset()
    there = Place(twelve_served, data_dir)
    there.warehouse.ensure_views()
    return there
