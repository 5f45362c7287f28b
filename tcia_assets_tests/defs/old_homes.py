"""A Dagster home on disk, with runs that are made old."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg

from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets_tests.conftest import SMALL, Dagster


@contextmanager
def home_of(dagster: Dagster, folder: Path) -> Iterator[Path]:
    """Let the plugin record in a home in this folder."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder)) as dagster.instance:
        dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
        yield folder


def make_old(home: Path, days: int = 40) -> None:
    """Let all runs be created, and their files be written, some days earlier."""
    with closing(sqlite3.connect(home / "history" / "runs.db")) as runs, runs:
        runs.execute(
            "UPDATE runs SET create_timestamp = datetime(create_timestamp, ?)", (f"-{days} days",)
        )
    for path in (home / "history" / "runs").glob("*-*.db"):
        at = path.stat().st_mtime - days * 86400
        os.utime(path, (at, at))


def event_files(home: Path) -> set[str]:
    """Return the IDs of the runs whose events have a file."""
    return {path.stem for path in (home / "history" / "runs").glob("*-*.db")}
