"""Which Collections an unfinished run works on, and whether it still does.

What belongs here: reading Dagster's runs. A run whose process was killed stays "started" for ever
where nobody watches it: the default launcher does not, and a run of the command line has none.
"""

import os
import socket
import time
from collections.abc import Mapping

import dagster as dg

from tcia_assets.defs.jobs import RANGE_END, RANGE_START, images_job, refresh_job, update_job
from tcia_assets.defs.names import Names

PROCESS_TAG = "tcia/process"
# Each step logs every ten seconds while it works, and the longest silence of an archive that hangs
# is five attempts of two minutes and the pauses between.
_SILENT_S = 30 * 60
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tag() -> dict[str, str]:
    """Marks a run as one that lives and dies with this process."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def busy(instance: dg.DagsterInstance, names: Names, order: list[str]) -> set[str]:
    """Collections that a living run of ours is working on, by key or by range."""
    found: set[str] = set()
    mine = {refresh_job(names), update_job(names), images_job(names)}
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED)):
        if record.dagster_run.job_name in mine and not _is_dead(instance, record):
            found |= _keys_of(record.dagster_run.tags, order)
    return found


def _is_dead(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    run = record.dagster_run
    host, _, pid = run.tags.get(PROCESS_TAG, "").partition(":")
    if host == socket.gethostname() and not _lives(int(pid)):
        return True
    if run.status != dg.DagsterRunStatus.STARTED:
        return False
    events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    newest = events[0].timestamp if events else record.create_timestamp.timestamp()
    return time.time() - newest > _SILENT_S


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it is there
        pass
    return True


def _keys_of(tags: Mapping[str, str], order: list[str]) -> set[str]:
    if "dagster/partition" in tags:
        return {tags["dagster/partition"]}
    first, last = tags.get(RANGE_START), tags.get(RANGE_END)
    if first in order and last in order:
        return set(order[order.index(first) : order.index(last) + 1])
    return set()
