"""A temporary folder that has the same path in each test of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """Return an empty folder, which is kept under the name of the test afterwards.

    A process keeps the views over a data folder in memory, by its path: for a new one it takes
    40 ms to create them, more than most tests do besides.
    """
    folder = tmp_path_factory.getbasetemp() / "same_path"
    folder.mkdir()
    yield folder
    folder.rename(tmp_path_factory.mktemp(request.node.originalname))
