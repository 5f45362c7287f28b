"""The sensor that keeps the warehouse in step with the archive.

What belongs here: turning news (`news.py`) into few runs: none while one for the same Collection is
going, one for one change, at most so many a tick. It keeps no cursor: what it asks follows from
what is stored, so that a tick that dies, or a wiped instance, loses nothing.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import dagster as dg

from tcia_assets import catalog
from tcia_assets.client import ArchiveClient, Pacing
from tcia_assets.defs.busy import busy
from tcia_assets.defs.jobs import (
    Job,
    image_runs,
    images_job,
    range_tags,
    ranges,
    refresh_job,
    update_job,
)
from tcia_assets.defs.metadata import in_additions
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import TciaResource
from tcia_assets.errors import RemoteError
from tcia_assets.news import News, changed_series, images_to_fetch, never_refreshed
from tcia_assets.refresh import allowed

_INTERVAL_S = 300
# Dagster ends a tick after 60 s. A tick asks three questions at most, and the next one comes soon.
_IN_A_HURRY = Pacing(
    attempts=1, attempts_when_in_doubt=1, connect_timeout_s=5.0, read_timeout_s=15.0
)
# Or sets of shards.
_RUNS_A_TICK = 5
# Neighbours share a run; one over all would hold its Collections too long.
_KEYS_A_RUN = 50


def sensors(names: Names, jobs: Sequence[Job]) -> list[dg.SensorDefinition]:
    """The sensor of one archive, off until switched on."""

    @dg.sensor(
        name=names.of("new_series"),
        description=(
            "Asks the archive for its Collections and for Series released since a month before "
            "the newest release that is stored; compares them, and the image selection, with the "
            "warehouse; adds new partitions, and requests the runs that refresh what differs and "
            "fetch its images. Where it requests none, it says what it looked at."
        ),
        jobs=[
            j for j in jobs if j.name in {refresh_job(names), update_job(names), images_job(names)}
        ],
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def new_series(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        tcia: TciaResource = getattr(context.resources, names.resource)
        try:
            return tick(context.instance, tcia, names)
        except RemoteError as error:
            return dg.SkipReason(f"the archive could not be asked, nothing was changed: {error}")

    return [new_series]


@dataclass(frozen=True)
class _Seen:
    """What a tick found out: what there is, and why something should run."""

    collections: list[str]
    first: list[News]
    changed: list[News]
    images: list[News]


def tick(
    instance: dg.DagsterInstance, tcia: TciaResource, names: Names
) -> dg.SensorResult | dg.SkipReason:
    """What the sensor answers now: partitions to add and runs to start, or what it looked at.

    Raises:
        RemoteError: the archive cannot be asked.
    """
    seen = _look(tcia)
    known = list(instance.get_dynamic_partitions(str(names.collections.name)))
    new = [name for name in seen.collections if name not in set(known)]
    order = known + new
    shards = tcia.selection.shards if tcia.selection else 1
    wanted = _requests(seen, names, order, busy(instance, names, order), shards)
    requests = list(chain.from_iterable(islice(wanted, _RUNS_A_TICK)))
    if not new and not requests:
        return dg.SkipReason(_looked_at(seen))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            names.collections.build_add_request(keys) for keys in in_additions(new)
        ],
    )


def _look(tcia: TciaResource) -> _Seen:
    warehouse, selection = tcia.warehouse, tcia.selection
    with ArchiveClient(tcia.settings, pacing=_IN_A_HURRY) as client:
        listed = client.ask("getCollectionValues").table["Collection"].to_pylist()
        stored = warehouse.keys(catalog.SERIES)
        collections = sorted(allowed(listed, tcia.settings.collections, stored))
        asks_for_news = client.dialect.has("getUpdatedSeries")
        changed = changed_series(client, warehouse) if asks_for_news else []
    return _Seen(
        collections,
        never_refreshed(collections, warehouse),
        changed,
        images_to_fetch(selection, warehouse) if selection else [],
    )


def _looked_at(seen: _Seen) -> str:
    waiting = len(seen.first) + len(seen.changed) + len(seen.images)
    state = (
        f"{waiting} differ, but are being refreshed or were tried" if waiting else "all as stored"
    )
    return f"looked at {len(seen.collections)} Collections and the newest releases: {state}"


def _requests(
    seen: _Seen, names: Names, order: list[str], at_work: set[str], shards: int
) -> Iterator[list[dg.RunRequest]]:
    """Runs in order of need; a Collection is in one of them at most, or in one set of shards."""
    taken, wanted = set(at_work), set(seen.collections)

    def is_free(each: News) -> bool:
        if each.collection in taken or each.collection not in wanted:
            return False
        taken.add(each.collection)
        return True

    # What several runs fetch one refreshes first; the next tick finds what it has changed.
    job = update_job(names) if shards == 1 else refresh_job(names)
    for each in filter(is_free, seen.changed):
        key = f"{job}:{each.collection}:{each.mark}"
        yield [dg.RunRequest(key, job_name=job, partition_key=each.collection)]
    for each in filter(is_free, seen.images):
        key = f"{images_job(names)}:{each.collection}:{each.mark}"
        yield image_runs(names, shards, key, partition_key=each.collection)
    marks = {each.collection: each.mark for each in seen.first if each.collection not in taken}
    yield from ([request] for request in _first_refreshes(marks, names, order))


def _first_refreshes(
    marks: dict[str, str], names: Names, order: list[str]
) -> Iterator[dg.RunRequest]:
    """Few runs for many Collections: a first start on the whole archive is three runs, not 141."""
    job = refresh_job(names)
    for neighbours in ranges(list(marks), order):
        for start in range(0, len(neighbours), _KEYS_A_RUN):
            keys = neighbours[start : start + _KEYS_A_RUN]
            facts = "\n".join(f"{key} {marks[key]}" for key in keys)
            digest = hashlib.sha256(facts.encode()).hexdigest()[:16]
            yield dg.RunRequest(
                run_key=f"{job}:{digest}", job_name=job, tags=range_tags(keys[0], keys[-1])
            )
