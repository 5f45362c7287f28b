"""kill -9 at any moment of a cleanup: what Dagster's UI shows stays, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tcia_assets.catalog import PATIENTS, SERIES
from tcia_assets_tests.conftest import QUIET, SMALL, Dagster
from tcia_assets_tests.defs.old_homes import event_files, home_of, make_old
from tcia_assets_tests.processes import forkserver

KILLS = 10
# Enough that most of the children are killed while they delete.
OLD_RUNS = 60
LONGEST_LIFE_S = 0.25


def clean(home: str, data_dir: str) -> None:
    """Do what the job `tcia_cleanup` does, in a child process."""
    os.environ["DAGSTER_HOME"] = home
    from tcia_assets import TciaResource, build_definitions

    resource = TciaResource(data_dir=data_dir)
    job = build_definitions(resource=resource, datasets="").resolve_job_def("tcia_cleanup")
    with dg.DagsterInstance.get() as instance:
        job.execute_in_process(instance=instance, run_config={"loggers": QUIET})


@dg.op
def nothing() -> None: ...


@dg.job(tags={"tcia": "tcia_refresh"})
def refresh_without_changes() -> None:
    nothing()


def fill(dagster: Dagster) -> None:
    """Record some changes, each in a run of its own, and many runs in which nothing changed."""
    for count in (5, 6, 7):
        dagster.run("tcia_refresh", SMALL, tables=["series", "patients"], checks=True)
        dagster.sandbox.archive.revise(collection=SMALL, count=1, image_count=count)
    for _ in range(OLD_RUNS):
        refresh_without_changes.execute_in_process(
            instance=dagster.instance, run_config={"loggers": QUIET}
        )


def shown(dagster: Dagster) -> dict[str, Any]:
    """Return what the UI shows: the newest event of each partition, and each result of a check."""
    found: dict[str, Any] = {}
    for name in (SERIES.name, PATIENTS.name, "mirror"):
        key = dg.AssetKey(["tcia", name])
        newest = dagster.instance.fetch_materializations(key, limit=1).records[0]
        found[name] = (newest.storage_id, newest.asset_materialization)
        found[f"partitions of {name}"] = dagster.instance.get_materialized_partitions(key)
    nodes = dagster.definitions().resolve_asset_graph().asset_check_keys
    for check in sorted(nodes, key=str):
        history = dagster.instance.event_log_storage.get_asset_check_execution_history(check, 1)
        found[str(check)] = [(each.run_id, each.status) for each in history]
    return found


def wait_for_a_deletion(child: BaseProcess, home: Path) -> None:
    before = event_files(home)
    while before <= event_files(home) and child.is_alive():
        time.sleep(0.002)


@pytest.mark.slow
def test_a_cleanup_killed_at_random_moments_loses_nothing_that_is_shown(
    dagster: Dagster, tmp_path: Path
) -> None:
    context, seed = forkserver(), random.randrange(10**6)
    chance, killed = random.Random(seed), 0
    print(f"seed {seed}")
    dagster.start_refreshed()
    with home_of(dagster, tmp_path / "home") as home:
        fill(dagster)
        make_old(home)
        arguments = (str(home), str(dagster.data_dir))
        before, runs = shown(dagster), dagster.instance.get_runs_count()
        for _ in range(KILLS):
            child = context.Process(target=clean, args=arguments)
            child.start()
            wait_for_a_deletion(child, home)
            child.join(chance.uniform(0, LONGEST_LIFE_S))
            if child.is_alive():
                os.kill(int(child.pid or 0), signal.SIGKILL)
                killed += 1
            child.join(10)
            assert shown(dagster) == before
        left = dagster.instance.get_runs_count()
        assert killed >= KILLS / 2 and left < runs, "most must be killed while they work"

        make_old(home)  # also what the kills have left
        last = context.Process(target=clean, args=arguments)
        last.start()
        last.join(120)
        assert last.exitcode == 0
        assert shown(dagster) == before
        kept = {run.run_id for run in dagster.instance.get_runs()}
        print(f"{runs} runs, {left} after {killed} kills, {len(kept)} in the end")
        assert len(kept) <= 5 and event_files(home) == kept
