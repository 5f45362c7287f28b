from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets import catalog
from tcia_assets.cli.terminal import out
from tcia_assets.defs.local_runs import DAGSTER_YAML
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.terminal import CONTOURS, Terminal
from tcia_assets_tests.conftest import SMALL, settings_for


@pytest.fixture(autouse=True)
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home of the test's own, in DAGSTER_HOME."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def width_from_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the console read COLUMNS when it prints, and not when it was imported."""
    monkeypatch.setattr(out, "_width", None)


@pytest.fixture(scope="session")
def folder_with_series(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the Series of the small Collection, made without starting Dagster."""
    served.reset()
    root = tmp_path_factory.mktemp("with_series")
    with open_source(settings_for(served, root)) as source:
        refresh(catalog.SERIES, SMALL, source, Warehouse(root), datetime.now(UTC), ProbeBudget(0))
    return root


@pytest.fixture
def empty_terminal(sandbox: Sandbox, tmp_path: Path) -> Terminal:
    """The command line over an empty data folder."""
    return Terminal(sandbox, tmp_path / "data")


@pytest.fixture
def terminal(sandbox: Sandbox, folder_with_series: Path, tmp_path: Path) -> Terminal:
    """The command line over the Series of the small Collection."""
    shutil.copytree(folder_with_series, tmp_path / "data")
    return Terminal(sandbox, tmp_path / "data")


@pytest.fixture
def fetched(terminal: Terminal) -> Terminal:
    """The command line over the Series of the small Collection, with its contours on disk."""
    assert terminal(*CONTOURS).exit_code == 0
    return terminal
