"""Fixtures of the tests of the store: a small disk, and a server that forks processes."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests import disks
from tcia_assets_tests.processes import forkserver


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "1m") as disk:
        yield disk


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    return forkserver()
