"""Runs in this process: how they fail, and where Dagster keeps its records."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.definitions import build_definitions
from tcia_assets.defs.local_runs import LocalRuns
from tcia_assets.errors import UsageError
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.plan import FetchPlan, PendingSeries
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets_tests.store.disks import read_only


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


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
    session._plans["LCTSC"] = FetchPlan("LCTSC", now=(pending,), later=(), complete=0)
    [line] = runs.fetch(session)

    assert line == "Dagster's own records cannot be written: NoSuchTableError: runs"


def test_a_home_that_a_killed_command_has_half_made_is_made_anew(tmp_path: Path) -> None:
    half_made = tmp_path / ".dagster"
    half_made.mkdir()
    (half_made / "dagster.yaml").write_text("# and no databases\n")
    open_runs(tmp_path).add_collections(["LCTSC"])

    assert not half_made.exists()
    assert {path.name for path in (tmp_path / "dagster").rglob("*.db")} == {
        "runs.db",
        "index.db",
        "schedules.db",
    }


def test_without_dagster_home_each_data_folder_has_records_of_its_own(tmp_path: Path) -> None:
    for name in ("first", "second"):
        open_runs(tmp_path / name).add_collections(["LCTSC"])

        assert (tmp_path / name / "dagster" / "history" / "runs.db").is_file()
        assert "DAGSTER_HOME" not in os.environ


@pytest.mark.parametrize("name", ["da?ta", "100%", "50%25", "a#b"])
def test_a_data_folder_may_have_characters_of_urls(tmp_path: Path, name: str) -> None:
    open_runs(tmp_path / name).add_collections(["LCTSC"])
    again = open_runs(tmp_path / name)._instance

    assert list(again.get_dynamic_partitions("tcia_collections")) == ["LCTSC"]
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (tmp_path / name / "dagster" / "history" / "runs.db").is_file()


def test_a_read_only_data_folder_is_named(small_disk: Path) -> None:
    open_runs(small_disk / "data")
    with read_only(small_disk), pytest.raises(UsageError, match=r"data' is read-only"):
        open_runs(small_disk / "data")
    with read_only(small_disk), pytest.raises(UsageError, match=r"Read-only file system"):
        open_runs(small_disk / "new")
