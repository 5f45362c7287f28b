"""The schedules: everything is asked once a day, whatever a sensor noticed or lost.

What belongs here: when. What does not: what runs (`jobs.py`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.busy import busy, tried_since
from tcia_assets.defs.jobs import image_runs, images_job, refresh_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags, ranges
from tcia_assets.defs.resource import TciaResource
from tcia_assets.metadata.plausibility import last_compared

_NIGHTLY = "0 2 * * *"
_AFTER_THAT = "0 4 * * *"
_ABOUT_METADATA = (
    "Refreshes, every night at 2, the metadata of all known Collections in one run; skips while "
    "runs are at work on any of them."
)
_ABOUT_IMAGES = (
    "Looks, every night at 4, for Series of all known Collections that the image selection wants "
    "and that are not here as they are now, and fetches them in one run; skips while runs are at "
    "work on any Collection."
)
_SHOWN = 5

_MOST_A_TICK = 50
_RUNS_A_TICK = 10


def schedules(names: Names, compare_cron: str) -> list[dg.ScheduleDefinition]:
    """Every night all metadata in one run, and later the images that are still to be fetched.

    Or every hour, by `compare_cron`, some of the metadata: then the nightly run is not needed.
    """
    return [
        _nightly(names, refresh_job(names), _NIGHTLY, _ABOUT_METADATA, _refresh),
        _nightly(names, images_job(names), _AFTER_THAT, _ABOUT_IMAGES, _fetch),
        _compare(names, compare_cron),
    ]


# The runs that a schedule requests, from the archive, a key and the tags of a range.
_Asked = Callable[[Names, TciaResource, str, dict[str, str]], list[dg.RunRequest]]


def _refresh(
    _names: Names, _tcia: TciaResource, key: str, tags: dict[str, str]
) -> list[dg.RunRequest]:
    return [dg.RunRequest(key, tags=tags)]


def _fetch(names: Names, tcia: TciaResource, key: str, tags: dict[str, str]) -> list[dg.RunRequest]:
    return image_runs(names, tcia.selection.shards if tcia.selection else 1, key, tags=tags)


def _nightly(names: Names, job: str, cron: str, about: str, asked: _Asked) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job}_nightly",
        job_name=job,
        cron_schedule=cron,
        description=about,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        keys = context.instance.get_dynamic_partitions(str(names.collections.name))
        if not keys:
            return _none_known(names)
        if working := sorted(busy(context.instance, names, list(keys))):
            return dg.SkipReason(f"runs are at work on {', '.join(working[:_SHOWN])}")
        day = context.scheduled_execution_time.date()
        tcia: TciaResource = getattr(context.resources, names.resource)
        return asked(names, tcia, f"{job}:{day}", range_tags(keys[0], keys[-1]))

    return nightly


def _none_known(names: Names) -> dg.SkipReason:
    return dg.SkipReason(f"no Collection is known yet: materialize {names.name}/collections")


# --- Comparing, spread over the day ---------------------------------------------------------------


def _compare(names: Names, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=names.of("compare"),
        job_name=refresh_job(names),
        cron_schedule=cron,
        description=(
            "Looks, every hour, at when each listed Collection was last compared with the archive, "
            "and refreshes those that were not for longest: each once a day (TCIA_COMPARE_HOURS), "
            "and no more at once than that needs. What the sensor cannot see or has lost, such as "
            "Series that are missing, is found here."
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
    """The runs that the schedule requests now, or what it looked at."""
    order = list(instance.get_dynamic_partitions(str(names.collections.name)))
    if not order:
        return _none_known(names)
    listed = set(tcia.warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist())
    at_work = busy(instance, names, order)
    # One that the archive lists no more is frozen, and would be the one longest not compared.
    known = [key for key in order if key in listed]
    free = [key for key in known if key not in at_work]
    compared = last_compared(tcia.warehouse, now)
    within = timedelta(hours=tcia.settings.compare_hours)
    # What fails each time must not hold up what does not.
    again = tried_since(instance, names, order, compared, within)
    due = [
        key
        for keys in ([k for k in free if k not in again], [k for k in free if k in again])
        for key in due_now(keys, compared, now, of=len(known), within=within)
    ][:_MOST_A_TICK]
    if not due:
        return dg.SkipReason(
            f"looked at {len(known)} Collections, {len(known) - len(free)} of them at work: all "
            "others were compared lately enough"
        )
    # Neighbours share a run. Where they are many pieces, those with the oldest go first.
    pieces = sorted(ranges(due, order), key=lambda keys: min(due.index(key) for key in keys))
    return [_request(keys, names, now) for keys in pieces[:_RUNS_A_TICK]]


def _request(keys: Sequence[str], names: Names, now: datetime) -> dg.RunRequest:
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=f"{names.of('compare')}:{now.isoformat()}:{digest}",
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
    """The keys to compare in this hour, longest not compared first; `of` so many in all.

    Each is compared before `within` has passed since it last was.

    As few as possible, so that they spread over the day: only those that could not be done in time
    any more if each later hour took its even share. What was never compared is due at once, and no
    hour takes more than 50.
    """
    never = datetime.min.replace(tzinfo=UTC)
    # To the hour, and then in order: what was compared in one run stays together.
    age = {key: now - compared.get(key, never) for key in keys}
    left = {key: max(1, ceil((within - age[key]) / timedelta(hours=1))) for key in keys}
    oldest_first = sorted(keys, key=lambda key: (left[key], keys.index(key)))
    # The first tick may be an hour away.
    share = ceil(of / max(1, within // timedelta(hours=1) - 1))
    needed = max(
        (place - share * (left[key] - 1) for place, key in enumerate(oldest_first, start=1)),
        default=0,
    )
    return oldest_first[: max(0, min(needed, _MOST_A_TICK))]
