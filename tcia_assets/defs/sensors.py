"""The sensor that keeps the warehouse up to date with the source.

Everything that a tick requests follows from what is stored, so a tick that is killed, or a deleted
Dagster instance, loses nothing. How differences become runs is in `run_requests.py`; how long the
sensor pauses while the source is failing, in `sensor_pause.py`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.active_runs import find_runs
from tcia_assets.defs.jobs import Job, images_job, refresh_job, update_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import batches
from tcia_assets.defs.resource import TciaResource
from tcia_assets.defs.run_requests import Differences, RunPlanner
from tcia_assets.defs.sensor_pause import Pause
from tcia_assets.errors import ArchiveUnreachable, RemoteError, Stopped
from tcia_assets.images.run_reasons import (
    RunReason,
    find_changed_series,
    find_images_to_fetch,
    find_never_refreshed,
)
from tcia_assets.images.unindexed import find_outdated, find_unindexed
from tcia_assets.metadata.collection_list import request_collections
from tcia_assets.metadata.partition_keys import allowed_collections
from tcia_assets.sources import Pacing, Source, open_source

# Dagster kills a tick after 60 s. A tick sends two requests, and the next one comes soon.
_TICK_PACING = Pacing(
    attempts=1, attempts_when_in_doubt=1, connect_timeout_s=5.0, read_timeout_s=15.0
)
_MAX_REQUESTS_S = 45.0
# Dagster takes an empty cursor for none, and keeps the one before.
_NO_PAUSE = "{}"
_MOST_NAMED = 5


def sensors(names: Names, jobs: Sequence[Job], interval_s: int) -> list[dg.SensorDefinition]:
    """Return the sensor, which is off until switched on.

    Args:
        names: What the assets, jobs and partitions are called.
        jobs: The jobs of which it requests runs, and others.
        interval_s: Seconds between ticks.
    """
    requested_jobs = {refresh_job(names), update_job(names), images_job(names)}

    @dg.sensor(
        name=names.of("new_series"),
        description=(
            "Requests the list of Collections, and the Series released since a month before the "
            "newest stored release; compares them, and the image selection, with the warehouse; "
            "adds new partitions, and requests runs that refresh what differs and fetch its "
            "images. A tick that requests no run reports what it compared. While "
            "the source is failing, ticks pause, at most for an hour: the cursor holds that pause "
            "and nothing else."
        ),
        jobs=[job for job in jobs if job.name in requested_jobs],
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def new_series(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tcia: TciaResource = getattr(context.resources, names.resource)
        pause, now = Pause.from_cursor(context.cursor), datetime.now(UTC)
        return tick_or_pause(context.instance, tcia, names, pause, now, interval_s)

    return [new_series]


def tick_or_pause(
    instance: dg.DagsterInstance,
    tcia: TciaResource,
    names: Names,
    pause: Pause | None,
    now: datetime,
    interval_s: int,
) -> dg.SensorResult:
    """Do one tick, or skip it while a pause lasts; the cursor holds the pause.

    Raises:
        RemoteError: The source fails in a way that another attempt does not change.
    """
    interval = timedelta(seconds=interval_s)
    if pause and pause.is_active(now, interval):
        return _skip(pause)
    try:
        answer = tick(instance, tcia, names)
    except RemoteError as error:
        if not error.retryable:
            raise
        return _skip(Pause.after_failure(error, pause, now, interval))
    if isinstance(answer, dg.SkipReason):
        return dg.SensorResult(skip_reason=answer, cursor=_NO_PAUSE)
    return answer._replace(cursor=_NO_PAUSE)


def _skip(pause: Pause) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(str(pause)), cursor=pause.cursor)


def tick(
    instance: dg.DagsterInstance, tcia: TciaResource, names: Names
) -> dg.SensorResult | dg.SkipReason:
    """Return partitions to add and runs to start, or what was compared if there are none.

    Raises:
        RemoteError: The source fails.
    """
    differences = _compare(tcia)
    known = list(instance.get_dynamic_partitions(str(names.collections.name)))
    new = [name for name in differences.collections if name not in set(known)]
    order = known + new
    runs = find_runs(instance, names, order)
    shards = tcia.selection.shards if tcia.selection else 1
    requests = RunPlanner(names, order, runs, shards, instance).requests(differences)
    if not new and not requests:
        return dg.SkipReason(_summary(differences))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            names.collections.build_add_request(keys) for keys in batches(new)
        ],
    )


def _compare(tcia: TciaResource) -> Differences:
    """Compare the source and the image selection with the warehouse."""
    warehouse, selection = tcia.warehouse, tcia.selection
    with open_source(tcia.settings, pacing=_TICK_PACING) as source, _time_limit(source):
        listed = request_collections(source)
        stored = warehouse.keys(catalog.SERIES)
        allowed = allowed_collections(listed.names, tcia.settings.collections, stored)
        collections = sorted(allowed)
        releases = find_changed_series(source, warehouse, collections)
    images = find_images_to_fetch(selection, warehouse) if selection else []
    fetching = {reason.collection for reason in images}
    # A run of a Collection with images to fetch reads the zips that are left there too.
    images += [each for each in find_unindexed(warehouse) if each.collection not in fetching]
    # What only lacks some columns waits until nothing else is to be done.
    images = images or find_outdated(warehouse)
    waiting = selection.quiet_note(datetime.now(UTC)) if selection else ""
    return Differences(
        collections,
        find_never_refreshed(collections, warehouse),
        releases and replace(releases, reasons=_mirrored(releases.reasons, collections)),
        _mirrored(images, collections),
        "; ".join(filter(None, [listed.note, waiting])),
    )


def _mirrored(reasons: list[RunReason], collections: list[str]) -> list[RunReason]:
    """Leave out Collections that are not mirrored, or not listed now."""
    mirrored = set(collections)
    return [each for each in reasons if each.collection in mirrored]


@contextmanager
def _time_limit(source: Source) -> Iterator[None]:
    """Stop a source that sends slowly, before Dagster kills the tick."""
    timer = threading.Timer(_MAX_REQUESTS_S, source.stop)
    timer.start()
    try:
        yield
    except Stopped:
        problem = f"{source.name} had not answered in full after {_MAX_REQUESTS_S:.0f} s"
        raise ArchiveUnreachable(problem) from None
    finally:
        timer.cancel()


def _summary(found: Differences) -> str:
    waiting = sorted({each.collection for each in [*found.first, *found.changed, *found.images]})
    named = ", ".join(waiting[:_MOST_NAMED]) + (", ..." if len(waiting) > _MOST_NAMED else "")
    state = (
        f"{len(waiting)} differ, but a run for them is active or was already requested: {named}"
        if waiting
        else "no difference"
    )
    recent = found.releases
    releases = f"{recent.released} Series released after {recent.since}" if recent else ""
    compared = " and ".join(filter(None, [f"{len(found.collections)} Collections", releases]))
    note = f" ({found.note})" if found.note else ""
    return f"compared {compared}: {state}{note}"
