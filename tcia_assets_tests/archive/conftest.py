"""Small archives for the tests of what is kept of them, each one a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.archive.place import Place, small_catalogue


@pytest.fixture(scope="session")
def small_served() -> Iterator[Sandbox]:
    with Sandbox(small_catalogue(series=3, images=4)) as sandbox:
        yield sandbox


@pytest.fixture
def place(small_served: Sandbox, tmp_path: Path) -> Iterator[Place]:
    """A data folder that knows the small archive's Series, and has no image of them."""
    small_served.reset()
    there = Place(small_served, tmp_path)
    there.refresh()
    small_served.requests.clear()
    yield there
    small_served.reset()


@pytest.fixture(scope="session")
def wide_served() -> Iterator[Sandbox]:
    with Sandbox(small_catalogue(series=60, images=2)) as sandbox:
        yield sandbox


@pytest.fixture
def wide(wide_served: Sandbox, tmp_path: Path) -> Iterator[Place]:
    """As `place`, of sixty Series of two images."""
    wide_served.reset()
    there = Place(wide_served, tmp_path)
    there.refresh()
    wide_served.requests.clear()
    yield there
    wide_served.reset()
