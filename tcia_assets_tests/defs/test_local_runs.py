"""Runs from a terminal: what a failure leaves on it."""

from __future__ import annotations

import sqlite3
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tcia_assets.definitions import build_definitions
from tcia_assets.defs.local_runs import Runs
from tcia_assets.metadata.selection import Selection
from tcia_assets.progress import report
from tcia_assets.settings import Settings


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = Settings(data_dir=str(tmp_path / "data"))
    return Runs(build_definitions(datasets=""), settings, Console(file=StringIO(), width=120))


def shown(runs: Runs) -> str:
    file = runs._console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_a_bar_is_full_only_after_success(runs: Runs) -> None:
    def interrupted() -> None:
        with runs._bar("Images"):
            report(3, 9)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with runs._bar("Images") as failed:
        report(3, 9)
        failed.append("the archive is down")
    assert "3/9" in shown(runs) and "9/9" not in shown(runs)
    with runs._bar("Images"):
        report(3, 9)
    assert "9/9" in shown(runs)


def test_records_that_cannot_be_written_are_one_line(runs: Runs, tmp_path: Path) -> None:
    runs.list_known(["LCTSC"])
    with sqlite3.connect(tmp_path / "history" / "runs.db") as database:
        database.execute("DROP TABLE runs")
    database.close()
    [said] = runs.fetch(["LCTSC"], Selection(collections=("LCTSC",)))

    assert said == "Dagster's own records cannot be written: NoSuchTableError: runs"
