"""Ticks of the sensor as tests make them, and the runs that they request."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import sys
from collections.abc import Sequence

import dagster as dg

from tcia_assets.catalog import SERIES
from tcia_assets.defs import sensors
from tcia_assets.defs.names import Names
from tcia_assets.defs.run_process import PROCESS_TAG
from tcia_assets.defs.sensor_pause import Pause
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import open_source
from tcia_assets_tests.conftest import IMPATIENT, SMALL, Dagster, settings_for

INTERVAL = dt.timedelta(minutes=5)
NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def tick(dagster: Dagster, **chosen: object) -> dg.SensorResult | dg.SkipReason:
    """Do a tick of the sensor, and add the partitions that it requests, as Dagster does."""
    resource = dagster.resource(**chosen)
    with resource.yield_for_execution(
        dg.build_init_resource_context(instance=dagster.instance)
    ) as tcia:
        answer = sensors.tick(dagster.instance, tcia, Names())
    if isinstance(answer, dg.SensorResult):
        for request in answer.dynamic_partitions_requests or []:
            dagster.instance.add_dynamic_partitions(
                "tcia_collections", list(request.partition_keys)
            )
    return answer


def tick_at(dagster: Dagster, cursor: str | None, now: dt.datetime) -> dg.SensorResult:
    """Do a tick of the sensor at that time, with the cursor of its last result."""
    resource = dagster.resource()
    with resource.yield_for_execution(
        dg.build_init_resource_context(instance=dagster.instance)
    ) as tcia:
        return sensors.tick_or_pause(
            dagster.instance, tcia, Names(), Pause.from_cursor(cursor), now, INTERVAL.seconds
        )


def launch(
    dagster: Dagster,
    answer: dg.SensorResult | dg.SkipReason,
    tables: Sequence[str] = (),
    **chosen: object,
) -> None:
    """Execute the requested runs, as Dagster's daemon does, or only some tables of them."""
    assert isinstance(answer, dg.SensorResult)
    for request in answer.run_requests or []:
        first, last = first_and_last(request)
        ops = request.run_config.get("ops")
        run = dagster.run(str(request.job_name), first, last, tables=tables, ops=ops, **chosen)
        assert run.success


def first_and_last(request: dg.RunRequest) -> tuple[str, str]:
    if request.partition_key:
        return request.partition_key, request.partition_key
    tags = request.tags
    return (
        tags["dagster/asset_partition_range_start"],
        tags["dagster/asset_partition_range_end"],
    )


def start_in(dagster: Dagster, dialect: str) -> None:
    """Start with the Series of all Collections as they are told in this dialect, without a run."""
    assert isinstance(tick(dagster, dialect=dialect), dg.SensorResult)
    settings = settings_for(dagster.sandbox, dagster.data_dir, dialect)
    with open_source(settings, pacing=IMPATIENT) as source:
        now, budget = dt.datetime.now(dt.UTC), ProbeBudget(0)
        for key in dagster.listed():
            refresh(SERIES, key, source, dagster.warehouse, now, budget)


def caught_up(dagster: Dagster, tables: Sequence[str] = ("series",), **chosen: object) -> None:
    """Refresh these tables of what the sensor requests, or start with all if there is none yet."""
    if (
        not dagster.instance.get_dynamic_partitions("tcia_collections")
        and "collections" not in chosen
    ):
        dagster.start_refreshed()
    else:
        launch(dagster, tick(dagster, **chosen), tables, **chosen)


def release_again(dagster: Dagster, day: dt.date) -> None:
    """Revise a Series of the small Collection, and release it on that day."""
    [uid] = dagster.sandbox.archive.revise(collection=SMALL, count=1)
    dagster.sandbox.archive.hold([uid])
    dagster.sandbox.archive.release([uid], day=day)


def create_killed_run(dagster: Dagster) -> None:
    """Create a run that is started for Dagster, and whose process has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    dead = {PROCESS_TAG: f"{socket.gethostname()}:{child.pid}", "dagster/partition": SMALL}
    dagster.instance.create_run_for_job(job, tags=dead, status=dg.DagsterRunStatus.STARTED)
