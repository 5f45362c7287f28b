"""The schedules: everything is compared once a day, whatever the sensor noticed or missed.

What the runs do is in `jobs.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.active_runs import find_runs, find_tried
from tcia_assets.defs.jobs import images_job, refresh_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags, ranges
from tcia_assets.defs.resource import TciaResource
from tcia_assets.defs.run_requests import image_runs
from tcia_assets.defs.tick_source import open_for_tick
from tcia_assets.errors import RemoteError
from tcia_assets.images.run_reasons import find_other_releases, short_digest
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.source_outage import find_outage
from tcia_assets.store.warehouse import Warehouse

_METADATA_CRON = "0 2 * * *"
_IMAGES_CRON = "0 4 * * *"
_METADATA_DESCRIPTION = (
    "Refreshes, every night at 2, the metadata of all known Collections in one run. Skips the "
    "night if other runs work on any of them."
)
_IMAGES_DESCRIPTION = (
    "Fetches, every night at 4, in one run, the images of all known Collections that are selected "
    "and not on disk as they are now. Skips the night if other runs work on any Collection."
)
_MOST_NAMED = 5
_MAX_KEYS_PER_TICK = 50
_MAX_RUNS_PER_TICK = 10


def schedules(names: Names, compare_cron: str) -> list[dg.ScheduleDefinition]:
    """Return the schedules, which are off until switched on.

    Two of them start one run over all Collections every night: one for metadata, and later one for
    images. The third compares some Collections at a time, by `compare_cron`, and makes the first
    unnecessary.
    """
    return [
        _nightly(names, refresh_job(names), _METADATA_CRON, _METADATA_DESCRIPTION),
        _nightly(names, images_job(names), _IMAGES_CRON, _IMAGES_DESCRIPTION),
        _compare(names, compare_cron),
    ]


def _nightly(names: Names, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job}_nightly",
        job_name=job,
        cron_schedule=cron,
        description=description,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        keys = list(context.instance.get_dynamic_partitions(str(names.collections.name)))
        if not keys:
            return _no_collections(names)
        if busy := sorted(find_runs(context.instance, names, keys).running):
            return dg.SkipReason(f"other runs are working on {', '.join(busy[:_MOST_NAMED])}")
        run_key = f"{job}:{context.scheduled_execution_time.date()}"
        tags = range_tags(keys[0], keys[-1])
        tcia: TciaResource = getattr(context.resources, names.resource)
        if job != images_job(names):
            now = context.scheduled_execution_time
            outage = find_outage(tcia.warehouse, tcia.settings, now)
            if outage and outage.is_gone:
                return dg.SkipReason(str(outage))
            return [dg.RunRequest(run_key, tags=tags)]
        selection = tcia.selection
        if selection and (waiting := selection.quiet_note(context.scheduled_execution_time)):
            return dg.SkipReason(waiting)
        return image_runs(names, selection.shards if selection else 1, run_key, tags=tags)

    return nightly


def _no_collections(names: Names) -> dg.SkipReason:
    return dg.SkipReason(f"no Collection is known yet: materialize {names.name}/collections")


# --- Comparisons, spread over the day -------------------------------------------------------------


def _compare(names: Names, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=names.of("compare"),
        job_name=refresh_job(names),
        cron_schedule=cron,
        description=(
            "Checks, every hour, when each listed Collection was last compared with the source, "
            "and refreshes those compared longest ago: each once a day (TCIA_COMPARE_HOURS), "
            "and no more at once than necessary. This finds what the sensor cannot find, such as "
            "missing Series, or has missed."
        ),
        default_status=dg.DefaultScheduleStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def compare(
        context: dg.ScheduleEvaluationContext,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        tcia: TciaResource = getattr(context.resources, names.resource)
        return compare_tick(context.instance, tcia, names, context.scheduled_execution_time)

    return compare


def compare_tick(
    instance: dg.DagsterInstance, tcia: TciaResource, names: Names, now: datetime
) -> list[dg.RunRequest] | dg.SkipReason:
    """Return the runs that the schedule `compare` requests now, or why there are none."""
    order = list(instance.get_dynamic_partitions(str(names.collections.name)))
    if not order:
        return _no_collections(names)
    if (outage := find_outage(tcia.warehouse, tcia.settings, now)) and outage.is_gone:
        return dg.SkipReason(str(outage))
    busy = find_runs(instance, names, order).running
    known = _comparable(order, tcia.warehouse)
    free = [key for key in known if key not in busy]
    try:
        with open_for_tick(tcia.settings) as source:
            release = source.release
    except RemoteError as error:
        return dg.SkipReason(str(error))
    if release and not (free := _not_compared_with(release, free, tcia.warehouse)):
        return dg.SkipReason(f"all Collections were compared with release {release}")
    compared = last_compared(tcia.warehouse, now)
    within = timedelta(hours=tcia.settings.compare_hours)
    # Those that fail each time come last, so that they do not keep others waiting.
    tried = find_tried(instance, names, order, compared, within)
    due = [
        key
        for keys in ([k for k in free if k not in tried], [k for k in free if k in tried])
        for key in due_now(keys, compared, now, of=len(known), within=within)
    ][:_MAX_KEYS_PER_TICK]
    if not due:
        return dg.SkipReason(
            f"{len(known)} Collections, {len(known) - len(free)} of them in other runs: "
            "the rest were compared recently"
        )
    # Neighbours share a run. If there are too many groups, those with the oldest come first.
    groups = sorted(ranges(due, order), key=lambda keys: min(due.index(key) for key in keys))
    return [_request(keys, names, now) for keys in groups[:_MAX_RUNS_PER_TICK]]


def _comparable(keys: Sequence[str], warehouse: Warehouse) -> list[str]:
    """Return those of these Collections that the source lists, and that were not imported.

    Others cannot be compared, and would always come first.
    """
    listed = set(warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist())
    imported = set(warehouse.keys(catalog.IMPORTS))
    return [key for key in keys if key in listed and key not in imported]


def _not_compared_with(release: str, keys: Sequence[str], warehouse: Warehouse) -> list[str]:
    """Return those of these Collections that were not compared with a release.

    Nothing in it changes, so that the others need not be compared with it again.
    """
    others = {each.collection for each in find_other_releases(release, keys, warehouse)}
    compared = set(warehouse.keys(catalog.SNAPSHOTS))
    return [key for key in keys if key in others or key not in compared]


def _request(keys: Sequence[str], names: Names, now: datetime) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{names.of('compare')}:{now.isoformat()}:{short_digest(keys)}",
        tags=range_tags(keys[0], keys[-1]),
    )


def due_now(
    keys: Sequence[str],
    compared: Mapping[str, datetime],
    now: datetime,
    *,
    of: int,
    within: timedelta = timedelta(hours=24),
) -> list[str]:
    """Return the Collections to compare in this hour, those not compared for longest first.

    As few as possible, so that comparisons spread over the day: only those that could not be
    compared in time any more if each later hour took an even share.

    Args:
        keys: The Collections that can be compared.
        compared: When each was last compared; one that never was is due at once.
        now: The hour.
        of: The number of all Collections, of which each hour takes its share; at most 50.
        within: The time in which each must be compared again.
    """
    never = datetime.min.replace(tzinfo=UTC)
    # Ages count in hours, and then the order: Collections compared in one run stay together.
    age = {key: now - compared.get(key, never) for key in keys}
    left = {key: max(1, ceil((within - age[key]) / timedelta(hours=1))) for key in keys}
    oldest_first = sorted(keys, key=lambda key: (left[key], keys.index(key)))
    # One hour less than there are, since the first tick may be an hour away.
    share = ceil(of / max(1, within // timedelta(hours=1) - 1))
    needed = max(
        (place - share * (left[key] - 1) for place, key in enumerate(oldest_first, start=1)),
        default=0,
    )
    return oldest_first[: max(0, min(needed, _MAX_KEYS_PER_TICK))]
