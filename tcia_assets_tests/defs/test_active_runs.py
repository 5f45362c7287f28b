"""Runs that are active, killed or silent."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from tcia_assets.defs import active_runs
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags
from tcia_assets.defs.run_process import PROCESS_TAG
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.sensor_ticks import (
    caught_up,
    create_killed_run,
    release_again,
    tick,
)


@pytest.mark.parametrize("tags", [{"dagster/partition": SMALL}, range_tags(SMALL, "VICTRE")])
def test_no_run_is_requested_for_a_collection_with_an_active_run(
    dagster: Dagster, tags: dict[str, str]
) -> None:
    caught_up(dagster)
    release_again(dagster, dt.datetime.now(dt.UTC).date())
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    run = dagster.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(tick(dagster), dg.SkipReason)
    dagster.instance.delete_run(run.run_id)

    assert isinstance(tick(dagster), dg.SensorResult)


def test_a_run_started_in_the_ui_for_one_asset_counts_as_active(
    dagster: Dagster,
) -> None:
    caught_up(dagster)
    release_again(dagster, dt.datetime.now(dt.UTC).date())
    assert isinstance(tick(dagster), dg.SensorResult)
    job = dagster.definitions().resolve_implicit_global_asset_job_def()
    dagster.instance.create_run_for_job(
        job,
        tags={"dagster/partition": SMALL},
        status=dg.DagsterRunStatus.STARTED,
        asset_selection={dg.AssetKey(["tcia", "series"])},
    )

    assert isinstance(tick(dagster), dg.SkipReason)


@pytest.mark.slow
def test_a_killed_run_is_requested_again_with_a_new_key_three_times(
    dagster: Dagster,
) -> None:
    held = dagster.sandbox.archive.hold(collection=SMALL, count=1)
    caught_up(dagster)
    dagster.sandbox.archive.release(held)
    keys = []
    for _ in range(6):
        for _ in range(2):
            answer = tick(dagster)
            assert isinstance(answer, dg.SensorResult)
            [request] = answer.run_requests or []
            keys.append(request.run_key)
        create_killed_run(dagster)

    # The run itself, and three more: what kills each of them is not tried forever.
    assert len(set(keys)) == 4
    assert keys[0] == keys[1] != keys[2] == keys[3]


@pytest.mark.parametrize(
    ("status", "killed"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, 0),
        (dg.DagsterRunStatus.STARTING, 1),
        (dg.DagsterRunStatus.STARTED, 1),
    ],
)
def test_a_silent_run_counts_as_killed_unless_it_is_queued(
    dagster: Dagster, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus, killed: int
) -> None:
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    elsewhere = {PROCESS_TAG: "another-machine:1", "dagster/partition": SMALL}
    dagster.instance.create_run_for_job(job, tags=elsewhere, status=status)
    assert active_runs.find_runs(dagster.instance, Names(), [SMALL]).running == {SMALL}
    monkeypatch.setattr(active_runs, "_MAX_SILENCE_S", -1.0)

    found = active_runs.find_runs(dagster.instance, Names(), [SMALL])
    assert found.killed[SMALL] == killed
    assert found.running == (set() if killed else {SMALL})
