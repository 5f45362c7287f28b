"""The Collections of unfinished runs, and of runs that were killed or failed.

They are read from Dagster's runs. A run whose process was killed stays "started" forever unless
something monitors it: the default launcher does not, and a run of the command line has none.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from tcia_assets.defs.jobs import images_job, refresh_job, update_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import keys_of_run
from tcia_assets.defs.run_process import PROCESS_TAG, has_ended

# Each step logs every ten seconds while it works. The longest silence of a source that hangs is
# five attempts of two minutes, and the pauses between them.
_MAX_SILENCE_S = 30 * 60
# A failed run is requested again by the sensor, but not while an outage may still last.
_RETRY_AFTER = timedelta(hours=1)
_REMEMBERED = timedelta(days=1)
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class RunsByCollection:
    """Collections by what became of the runs over them.

    Attributes:
        running: Collections of unfinished runs whose process is alive.
        fetching: Those of them whose run only fetches images.
        killed: Number of runs of the last day, by Collection, whose process was killed. Dagster
            shows them as started until somebody terminates them.
        failed: Number of the sensor's runs of the last day, by Collection, that failed more than
            an hour ago.
    """

    running: set[str] = field(default_factory=set)
    fetching: set[str] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def find_runs(instance: dg.DagsterInstance, names: Names, order: list[str]) -> RunsByCollection:
    """Find the Collections of our unfinished, killed and failed runs.

    Runs that somebody starts in the UI for single assets of ours count as running too.

    Args:
        instance: Dagster's records.
        names: The names of our jobs and assets.
        order: All partition keys, in Dagster's order.
    """
    found = RunsByCollection()
    our_jobs = {refresh_job(names), update_job(names), images_job(names)}
    now = datetime.now(UTC)
    yesterday = now - _REMEMBERED
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        is_our_job = run.job_name in our_jobs
        if not is_our_job and not any(names.table(key) for key in run.asset_selection or ()):
            continue
        keys = keys_of_run(run.tags, order)
        if not is_dead(instance, record):
            found.running.update(keys)
            if run.job_name == images_job(names):
                found.fetching.update(keys)
        elif is_our_job and record.create_timestamp > yesterday:
            found.killed.update(keys)
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={"dagster/sensor_name": names.of("new_series")},
        created_after=yesterday,
        created_before=now - _RETRY_AFTER,
    )
    for record in instance.get_run_records(failed):
        found.failed.update(keys_of_run(record.dagster_run.tags, order))
    return found


def find_tried(
    instance: dg.DagsterInstance,
    names: Names,
    order: list[str],
    compared: Mapping[str, datetime],
    within: timedelta,
) -> set[str]:
    """Find Collections with a refresh run, failed or unfinished, since their last comparison.

    Args:
        instance: Dagster's records.
        names: The names of our jobs.
        order: All partition keys, in Dagster's order.
        compared: When each Collection was last compared.
        within: How far back to look for runs.
    """
    found: set[str] = set()
    recent = dg.RunsFilter(job_name=refresh_job(names), created_after=datetime.now(UTC) - within)
    for record in instance.get_run_records(recent):
        keys = keys_of_run(record.dagster_run.tags, order)
        found |= {
            key for key in keys if key not in compared or compared[key] < record.create_timestamp
        }
    return found


def is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Return whether the process of an unfinished run was killed."""
    run = record.dagster_run
    if PROCESS_TAG in run.tags and has_ended(run.tags[PROCESS_TAG]):
        return True
    if run.status in {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED}:
        return False  # the daemon will start it
    events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    newest = events[0].timestamp if events else record.create_timestamp.timestamp()
    return time.time() - newest > _MAX_SILENCE_S
