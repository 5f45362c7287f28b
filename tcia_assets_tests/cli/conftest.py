from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.cli.terminal import out
from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.cli.terminal import Terminal

# In memory where that is possible: a Dagster run commits to SQLite hundreds of times.
IN_MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(autouse=True)
def dagster_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster home of the test's own, in DAGSTER_HOME."""
    with tempfile.TemporaryDirectory(prefix="dagster_home_", dir=IN_MEMORY) as folder:
        home = Path(folder)
        (home / "dagster.yaml").write_text(DAGSTER_YAML)
        monkeypatch.setenv("DAGSTER_HOME", folder)
        yield home


@pytest.fixture(autouse=True)
def width_from_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the console read COLUMNS when it prints, and not when it was imported."""
    monkeypatch.setattr(out, "_width", None)


@pytest.fixture
def empty_terminal(sandbox: Sandbox, tmp_path: Path) -> Terminal:
    """The command line over an empty data folder."""
    return Terminal(sandbox, tmp_path / "data")


@pytest.fixture
def terminal(sandbox: Sandbox, series_root: Path, tmp_path: Path) -> Terminal:
    """The command line over the Series of the small Collection."""
    shutil.copytree(series_root, tmp_path / "data")
    return Terminal(sandbox, tmp_path / "data")


@pytest.fixture
def fetched(sandbox: Sandbox, contours_root: Path, tmp_path: Path) -> Terminal:
    """The command line over the Series of the small Collection, with its contours on disk."""
    shutil.copytree(contours_root, tmp_path / "data")
    return Terminal(sandbox, tmp_path / "data")
