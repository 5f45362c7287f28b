"""The job that deletes old runs, on a real home with real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from tcia_assets.defs.plugin import build_definitions
from tcia_assets_tests.conftest import QUIET, SMALL, Dagster
from tcia_assets_tests.defs.old_homes import event_files, home_of, make_old


def clean(dagster: Dagster, **config: Any) -> dict[str, Any]:
    ops = {"tcia_delete_old_runs": {"config": config}}
    result = dagster.run("tcia_cleanup", ops=ops)
    [output] = [e for e in result.all_node_events if e.is_successful_output]
    return {name: each.value for name, each in output.step_output_data.metadata.items()}


def refresh(dagster: Dagster) -> str:
    return dagster.run("tcia_refresh", SMALL, tables=["patients"]).run_id


@dg.op
def of_others() -> None: ...


@dg.job
def their_job() -> None:
    of_others()


def test_old_runs_go_with_their_files_but_what_is_newest_stays(
    dagster: Dagster, tmp_path: Path
) -> None:
    dagster.start_refreshed()
    with home_of(dagster, tmp_path / "home") as home:
        made, half_deleted, unchanged, newest = (refresh(dagster) for _ in range(4))
        foreign = their_job.execute_in_process(
            instance=dagster.instance, run_config={"loggers": QUIET}
        ).run_id
        make_old(home)
        young = refresh(dagster)
        printed = home / "storage" / unchanged / "compute_logs"
        printed.mkdir(parents=True)
        (printed / "a.out").write_text("1234")
        before = event_files(home)
        assert clean(dagster, days=50)["deleted"] == 0
        assert clean(dagster, dry_run=True)["deleted"] == 3
        runs = {made, half_deleted, unchanged, newest, foreign, young}
        assert event_files(home) > before == runs

        # What a killed one has left is removed, and what a bounded one leaves.
        dagster.instance.delete_run(half_deleted)
        make_old(home, 1)
        assert half_deleted in event_files(home)
        assert clean(dagster, max_runs=1)["deleted"] == 1
        assert event_files(home).isdisjoint({half_deleted, unchanged})
        assert not printed.parent.exists()
        done = clean(dagster)
        assert (done["deleted"], done["kept"]) == (1, 1) and done["freed_bytes"] > 50_000
        left = {run.run_id for run in dagster.instance.get_runs()}
        # The event of `young` is the newest one of `mirror`.
        assert {made, foreign, young} < left and left.isdisjoint({unchanged, newest})
        assert event_files(home) == left
        refresh(dagster)
        assert len(dagster.events("patients")) == 1
        assert clean(dagster, of_all=True)["deleted"] == 1
        assert not dagster.instance.has_run(foreign)


def test_the_schedule_is_off() -> None:
    definitions = build_definitions(datasets="")
    [schedule] = [s for s in definitions.schedules or [] if s.name == "tcia_cleanup_nightly"]

    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
