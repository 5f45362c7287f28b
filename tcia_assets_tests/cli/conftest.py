from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets.cli.terminal import out
from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.datasets.conftest import (
    built_once,
    fetched_warehouse,
    made_samples,
    stocked_warehouse,
    version,
)
from tcia_assets_tests.same_path import tmp_path

__all__ = [
    "built_once",
    "fetched_warehouse",
    "made_samples",
    "stocked_warehouse",
    "tmp_path",
    "version",
]

# In memory where that is possible: a Dagster run commits to SQLite hundreds of times.
IN_MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
# Dagster opens a database for each event: half of what a refresh takes. What is printed does not
# depend on it.
EVENTS_IN_MEMORY = """
event_log_storage:
  module: dagster._core.storage.event_log
  class: InMemoryEventLogStorage
"""


@pytest.fixture(scope="session")
def unused_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster home whose databases are empty: Dagster takes 200 ms to create them."""
    home = tmp_path_factory.mktemp("unused_home")
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.from_config(str(home)):
        return home


@pytest.fixture(autouse=True)
def dagster_home(unused_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster home of the test's own, in DAGSTER_HOME; its events end with each command."""
    with tempfile.TemporaryDirectory(prefix="dagster_home_", dir=IN_MEMORY) as folder:
        home = Path(folder)
        shutil.copytree(unused_home, home, dirs_exist_ok=True)
        (home / "dagster.yaml").write_text(DAGSTER_YAML + EVENTS_IN_MEMORY)
        monkeypatch.setenv("DAGSTER_HOME", folder)
        yield home


@pytest.fixture
def events_on_disk(dagster_home: Path) -> None:
    """Keep the events of all commands, as a home of ours does."""
    (dagster_home / "dagster.yaml").write_text(DAGSTER_YAML)


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
