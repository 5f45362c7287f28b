"""Small archives for the tests of what is kept of them, each one a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.images.place import Place, small_catalogue


@contextmanager
def fresh(served: Sandbox, folder: Path) -> Iterator[Place]:
    """A data folder that knows the Series of an archive, which is afterwards as it was."""
    served.reset()
    there = Place(served, folder)
    there.refresh()
    served.requests.clear()
    yield there
    served.reset()


@pytest.fixture(scope="session")
def small_served() -> Iterator[Sandbox]:
    with Sandbox(small_catalogue(series=3, images=4)) as sandbox:
        yield sandbox


@pytest.fixture
def place(small_served: Sandbox, tmp_path: Path) -> Iterator[Place]:
    """A data folder that knows the small archive's Series, and has no image of them."""
    with fresh(small_served, tmp_path) as there:
        yield there


@pytest.fixture(scope="session")
def wide_served() -> Iterator[Sandbox]:
    with Sandbox(small_catalogue(series=60, images=2)) as sandbox:
        yield sandbox


@pytest.fixture
def wide(wide_served: Sandbox, tmp_path: Path) -> Iterator[Place]:
    """As `place`, of sixty Series of two images."""
    with fresh(wide_served, tmp_path) as there:
        yield there
