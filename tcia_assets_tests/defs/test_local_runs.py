"""Runs in this process: how they fail."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tcia_assets.definitions import build_definitions
from tcia_assets.defs.local_runs import LocalRuns
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.pending import PendingList, PendingSeries
from tcia_assets.images.plan import FetchPlan
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings


def open_runs(data_dir: Path) -> LocalRuns:
    return LocalRuns(build_definitions(datasets=""), Settings(data_dir=str(data_dir)))


def test_records_that_cannot_be_written_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    runs = open_runs(tmp_path / "data")
    runs.add_collections(["LCTSC"])
    with sqlite3.connect(tmp_path / "history" / "runs.db") as database:
        database.execute("DROP TABLE runs")
    database.close()
    session = FetchSession(Selection(collections=("LCTSC",)))
    pending = PendingSeries("1.2", 1, 1, "f", None, None, 0, "new")
    session._plans["LCTSC"] = FetchPlan(
        "LCTSC", now=PendingList.of(pending), later=PendingList(), complete=0
    )
    [line] = runs.fetch(session)

    assert line == "Dagster's own records cannot be written: NoSuchTableError: runs"
