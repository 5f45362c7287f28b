"""The sensor that keeps the warehouse up to date with the source.

Everything that a tick requests follows from what is stored, so a tick that is killed, or a deleted
Dagster instance, loses nothing. How differences become runs is in `run_requests.py`; how long the
sensor pauses while the source is failing, in `sensor_pause.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.active_runs import find_runs
from tcia_assets.defs.jobs import Job, collections_job, images_job, refresh_job, update_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import batches
from tcia_assets.defs.resource import TciaResource
from tcia_assets.defs.run_requests import Differences, RunPlanner
from tcia_assets.defs.sensor_pause import Pause
from tcia_assets.defs.source_gone import gone_events
from tcia_assets.defs.tick_source import open_for_tick
from tcia_assets.errors import RemoteError
from tcia_assets.images.run_reasons import (
    RunReason,
    find_changed_series,
    find_images_to_fetch,
    find_never_refreshed,
    find_other_releases,
    short_digest,
)
from tcia_assets.images.unindexed import find_outdated, find_unindexed
from tcia_assets.metadata.collection_list import request_collections
from tcia_assets.metadata.partition_keys import mirrored_collections
from tcia_assets.metadata.source_outage import counts_as_silence, record_answer, record_failure
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse

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
    requested_jobs = {job(names) for job in (collections_job, refresh_job, update_job, images_job)}

    @dg.sensor(
        name=names.of("new_series"),
        description=(
            "Requests the list of Collections, and the Series released since a month before the "
            "newest stored release; compares them, and the image selection, with the warehouse; "
            "adds new partitions, and requests runs that refresh what differs and fetch its "
            "images. Of a source with releases it requests the version alone, and one run if that "
            "is another one. A tick that requests no run reports what it compared. While the "
            "source is failing, ticks pause, at most for an hour: the cursor holds that pause and "
            "nothing else. After TCIA_SOURCE_GONE_DAYS without an answer, the check "
            "`source_answers` of the list of Collections fails."
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
        if not counts_as_silence(error):
            raise
        return _skip_failing(tcia, names, Pause.after_failure(error, pause, now, interval), now)
    record_answer(tcia.warehouse, tcia.settings)
    if isinstance(answer, dg.SkipReason):
        answer = dg.SensorResult(skip_reason=answer)
    events = gone_events(names, None) if pause and pause.is_reported else []
    return answer._replace(cursor=_NO_PAUSE, asset_events=events)


def _skip_failing(tcia: TciaResource, names: Names, pause: Pause, now: datetime) -> dg.SensorResult:
    """Skip the tick; if the source counts as gone, its check fails, once."""
    outage = record_failure(tcia.warehouse, tcia.settings, pause.why, now)
    if not outage.is_gone:
        return _skip(pause)
    events = [] if pause.is_reported else gone_events(names, outage)
    pause = pause.model_copy(update={"is_reported": True, "why": str(outage)})
    return _skip(pause)._replace(asset_events=events)


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
    if differences.release and not differences.collections:
        return _list_collections(names, differences.release)
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


def _list_collections(names: Names, release: str) -> dg.SensorResult:
    """Return a run that lists the Collections of a release: reading it takes longer than a tick."""
    job, today = collections_job(names), datetime.now(UTC).date().isoformat()
    key = f"{job}:{short_digest([release, today])}"
    return dg.SensorResult(run_requests=[dg.RunRequest(key, job_name=job)])


def _compare(tcia: TciaResource) -> Differences:
    """Compare the source and the image selection with the warehouse."""
    warehouse, selection = tcia.warehouse, tcia.selection
    with open_for_tick(tcia.settings) as source:
        listed, note = _listed(source, warehouse)
        collections = sorted(mirrored_collections(listed, tcia.settings, warehouse))
        releases = find_changed_series(source, warehouse, collections)
        release = source.release
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
        "; ".join(filter(None, [note, waiting])),
        release,
        find_other_releases(release, collections, warehouse),
    )


def _listed(source: Source, warehouse: Warehouse) -> tuple[list[str], str]:
    """Return the source's list of Collections, and a note about it.

    Of a release it is the stored one: a run that compares the release stores its list.
    """
    if source.release:
        stored: list[str] = warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist()
        return stored, ""
    listed = request_collections(source)
    return listed.names, listed.note


def _mirrored(reasons: list[RunReason], collections: list[str]) -> list[RunReason]:
    """Leave out Collections that are not mirrored, or not listed now."""
    mirrored = set(collections)
    return [each for each in reasons if each.collection in mirrored]


def _summary(found: Differences) -> str:
    reasons = [*found.other_releases, *found.first, *found.changed, *found.images]
    waiting = sorted({each.collection for each in reasons})
    named = ", ".join(waiting[:_MOST_NAMED]) + (", ..." if len(waiting) > _MOST_NAMED else "")
    state = (
        f"{len(waiting)} differ, but a run for them is active or was already requested: {named}"
        if waiting
        else "no difference"
    )
    recent = found.releases
    releases = f"{recent.released} Series released after {recent.since}" if recent else ""
    releases = f"release {found.release}" if found.release else releases
    compared = " and ".join(filter(None, [f"{len(found.collections)} Collections", releases]))
    note = f" ({found.note})" if found.note else ""
    return f"compared {compared}: {state}{note}"
