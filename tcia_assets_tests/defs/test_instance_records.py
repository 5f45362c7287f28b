"""What Dagster has recorded in a home, read as the demonstration reads it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from tcia_assets.defs.instance_records import have_runs_ended


@dg.job
def nothing() -> None:
    """Do nothing."""


def test_runs_have_ended_once_none_is_queued_or_under_way(tmp_path: Path) -> None:
    assert have_runs_ended(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert nothing.execute_in_process(instance=instance).success
        assert have_runs_ended(tmp_path)
        instance.create_run_for_job(nothing)

    assert not have_runs_ended(tmp_path)
