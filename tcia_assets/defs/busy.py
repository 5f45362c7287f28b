"""Which Collections an unfinished run works on, and whether it still does.

What belongs here: reading Dagster's runs. A run whose process was killed stays "started" for ever
where nobody watches it: the default launcher does not, and a run of the command line has none.
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
from tcia_assets.defs.process import PROCESS_TAG, is_gone

# Each step logs every ten seconds while it works, and the longest silence of an archive that hangs
# is five attempts of two minutes and the pauses between.
_SILENT_S = 30 * 60
# What failed is tried again by the sensor, but not while an outage may still last.
_UNTIL_AGAIN = timedelta(hours=1)
_REMEMBERED = timedelta(days=1)
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class AtWork:
    """Collections that a living run of ours works on, and how many runs were `killed` at others.

    `fetching` are those that one for images alone works on. Killed ones are counted for a day;
    Dagster shows them as started until somebody ends them. So are runs of the sensor that `failed`,
    from an hour later on.
    """

    living: set[str] = field(default_factory=set)
    fetching: set[str] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


def at_work(instance: dg.DagsterInstance, names: Names, order: list[str]) -> AtWork:
    """What our unfinished runs work on, by key or by range.

    Ours are also those that somebody starts in the UI for single assets of ours.
    """
    found = AtWork()
    mine = {refresh_job(names), update_job(names), images_job(names)}
    now = datetime.now(UTC)
    yesterday = now - _REMEMBERED
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        run = record.dagster_run
        is_mine = run.job_name in mine
        if not is_mine and not any(names.table(key) for key in run.asset_selection or ()):
            continue
        keys = keys_of_run(run.tags, order)
        if not _is_dead(instance, record):
            found.living.update(keys)
            if run.job_name == images_job(names):
                found.fetching.update(keys)
        elif is_mine and record.create_timestamp > yesterday:
            found.killed.update(keys)
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={"dagster/sensor_name": names.of("new_series")},
        created_after=yesterday,
        created_before=now - _UNTIL_AGAIN,
    )
    for record in instance.get_run_records(failed):
        found.failed.update(keys_of_run(record.dagster_run.tags, order))
    return found


def tried_since(
    instance: dg.DagsterInstance,
    names: Names,
    order: list[str],
    compared: Mapping[str, datetime],
    within: timedelta,
) -> set[str]:
    """Collections that a run was to refresh after they were last compared, in vain or not yet."""
    found: set[str] = set()
    lately = dg.RunsFilter(job_name=refresh_job(names), created_after=datetime.now(UTC) - within)
    for record in instance.get_run_records(lately):
        keys = keys_of_run(record.dagster_run.tags, order)
        found |= {
            key for key in keys if key not in compared or compared[key] < record.create_timestamp
        }
    return found


def busy(instance: dg.DagsterInstance, names: Names, order: list[str]) -> set[str]:
    """Collections that a living run of ours is working on."""
    return at_work(instance, names, order).living


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    run = record.dagster_run
    if PROCESS_TAG in run.tags and is_gone(run.tags[PROCESS_TAG]):
        return True
    if run.status in {dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED}:
        return False  # it waits for its turn, and the daemon knows of it
    events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    newest = events[0].timestamp if events else record.create_timestamp.timestamp()
    return time.time() - newest > _SILENT_S
