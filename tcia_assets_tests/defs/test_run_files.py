"""The files of deleted runs."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from tcia_assets.defs.dagster_home import open_instance
from tcia_assets.defs.run_files import find_left_behind, remove_files


@dg.job
def some_job() -> None: ...


def test_only_files_of_runs_that_are_gone_count_as_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(tmp_path) as instance:
        known = instance.create_run_for_job(some_job).run_id
        folder, gone = Path(instance.root_directory) / "history" / "runs", str(uuid4())
        for name in (known, gone, "index", "backup-of-mine"):
            (folder / f"{name}.db").touch()

        assert list(find_left_behind(instance, time.time() - 60)) == []
        assert list(find_left_behind(instance, time.time() + 60)) == [gone]


def test_nothing_but_the_files_of_the_run_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(tmp_path) as instance:
        root, run, other = Path(instance.root_directory), str(uuid4()), str(uuid4())
        for each in (run, other):
            output = Path(instance.storage_directory()) / each / "compute_logs" / "step.out"
            output.parent.mkdir(parents=True)
            output.write_bytes(b"12345")
            for suffix in (".db", ".db-wal"):
                (root / "history" / "runs" / f"{each}{suffix}").write_bytes(b"123")

        assert remove_files(instance, run) == 5 + 3 + 3
        assert remove_files(instance, run) == 0
        assert not [path for path in root.rglob("*") if run in str(path)]
        assert len([path for path in root.rglob("*") if other in str(path)]) == 5
