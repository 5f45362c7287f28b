"""The sensor that keeps the warehouse in step with the archive.

What belongs here: turning news (`news.py`) into few runs: none while one for the same Collection is
going, one for one change, at most so many a tick. What it asks follows from what is stored, so that
a tick that dies, or a wiped instance, loses nothing.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.busy import AtWork, at_work
from tcia_assets.defs.jobs import (
    Job,
    image_runs,
    images_job,
    refresh_job,
    update_job,
)
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import batches, range_tags, ranges
from tcia_assets.defs.pause import Pause
from tcia_assets.defs.resource import TciaResource
from tcia_assets.errors import ArchiveUnreachable, RemoteError, Stopped
from tcia_assets.images.updates import (
    RecentReleases,
    RunReason,
    find_changed_series,
    find_images_to_fetch,
    find_never_refreshed,
)
from tcia_assets.metadata.partition_keys import allowed_collections
from tcia_assets.sources import Pacing, Source, open_source

# Dagster ends a tick after 60 s. A tick asks two questions, and the next one comes soon.
_IN_A_HURRY = Pacing(
    attempts=1, attempts_when_in_doubt=1, connect_timeout_s=5.0, read_timeout_s=15.0
)
_LONGEST_LOOK_S = 45.0
# Dagster takes an empty cursor for none, and keeps the one before.
_NO_PAUSE = "{}"
# Or sets of shards.
_RUNS_A_TICK = 5
_SHOWN = 5
# What was killed or failed is tried again, but not for ever: it may be this Collection's fault.
_MOST_AGAIN = 3
# Neighbours share a run; one over all would hold its Collections too long.
_KEYS_A_RUN = 50


def sensors(names: Names, jobs: Sequence[Job], interval_s: int) -> list[dg.SensorDefinition]:
    """The sensor of one archive, off until switched on; it looks every so many seconds."""

    @dg.sensor(
        name=names.of("new_series"),
        description=(
            "Asks the archive for its Collections and for Series released since a month before "
            "the newest release that is stored; compares them, and the image selection, with the "
            "warehouse; adds new partitions, and requests the runs that refresh what differs and "
            "fetch its images. Where it requests none, it says what it looked at. An archive that "
            "is out of order is left alone for a while, which grows to an hour: the cursor holds "
            "that pause and nothing else."
        ),
        jobs=[
            j for j in jobs if j.name in {refresh_job(names), update_job(names), images_job(names)}
        ],
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        required_resource_keys={names.resource},
    )
    def new_series(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tcia: TciaResource = getattr(context.resources, names.resource)
        pause, now = Pause.of(context.cursor), datetime.now(UTC)
        return tick_or_wait(context.instance, tcia, names, pause, now, interval_s)

    return [new_series]


def tick_or_wait(
    instance: dg.DagsterInstance,
    tcia: TciaResource,
    names: Names,
    pause: Pause | None,
    now: datetime,
    interval_s: int,
) -> dg.SensorResult:
    """A tick, or, while the archive is left alone, that it is; the cursor says which.

    Raises:
        RemoteError: the archive answers, but not this question: asking again changes nothing.
    """
    interval = timedelta(seconds=interval_s)
    if pause and pause.lasts(now, interval):
        return _waiting(pause)
    try:
        answer = tick(instance, tcia, names)
    except RemoteError as error:
        if not error.retryable:
            raise
        return _waiting(Pause.after(error, pause, now, interval))
    if isinstance(answer, dg.SkipReason):
        return dg.SensorResult(skip_reason=answer, cursor=_NO_PAUSE)
    return answer._replace(cursor=_NO_PAUSE)


def _waiting(pause: Pause) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(str(pause)), cursor=pause.cursor)


@dataclass(frozen=True)
class _Seen:
    """What a tick found out: what there is, and why something should run."""

    collections: list[str]
    first: list[RunReason]
    lately: RecentReleases | None
    images: list[RunReason]

    @property
    def changed(self) -> list[RunReason]:
        return self.lately.reasons if self.lately else []


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
    runs = at_work(instance, names, order)
    shards = tcia.selection.shards if tcia.selection else 1
    wanted = _requests(seen, names, order, runs, shards, instance)
    requests = list(chain.from_iterable(islice(wanted, _RUNS_A_TICK)))
    if not new and not requests:
        return dg.SkipReason(_looked_at(seen))
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            names.collections.build_add_request(keys) for keys in batches(new)
        ],
    )


def _untried(
    wanted: Iterable[list[dg.RunRequest]], instance: dg.DagsterInstance, names: Names
) -> Iterator[list[dg.RunRequest]]:
    """Those of the requests for which this sensor has no run yet, whatever became of that.

    Dagster drops the others as well, but only after they have taken the place of something.
    """
    sensor = {"dagster/sensor_name": names.of("new_series")}
    for requests in wanted:
        tags = [sensor | {"dagster/run_key": str(each.run_key)} for each in requests]
        counts = [instance.get_runs_count(dg.RunsFilter(tags=each)) for each in tags]
        if left := [each for each, count in zip(requests, counts, strict=True) if not count]:
            yield left


def _look(tcia: TciaResource) -> _Seen:
    warehouse, selection = tcia.warehouse, tcia.selection
    with open_source(tcia.settings, pacing=_IN_A_HURRY) as source, _ended_in_time(source):
        listed = source.rows(catalog.COLLECTIONS).table["Collection"].to_pylist()
        stored = warehouse.keys(catalog.SERIES)
        collections = sorted(allowed_collections(listed, tcia.settings.collections, stored))
        lately = find_changed_series(source, warehouse, collections)
    images = find_images_to_fetch(selection, warehouse) if selection else []
    return _Seen(
        collections,
        find_never_refreshed(collections, warehouse),
        lately and replace(lately, reasons=_of(collections, lately.reasons)),
        _of(collections, images),
    )


def _of(collections: list[str], news: list[RunReason]) -> list[RunReason]:
    """Without that of Collections that are not mirrored, or not listed now: they are left alone."""
    mine = set(collections)
    return [each for each in news if each.collection in mine]


@contextmanager
def _ended_in_time(source: Source) -> Iterator[None]:
    """What the archive sends in drips is given up before Dagster gives up the tick."""
    timer = threading.Timer(_LONGEST_LOOK_S, source.stop)
    timer.start()
    try:
        yield
    except Stopped:
        problem = f"{source.name} had not answered in full after {_LONGEST_LOOK_S:.0f} s"
        raise ArchiveUnreachable(problem) from None
    finally:
        timer.cancel()


def _looked_at(seen: _Seen) -> str:
    waiting = sorted({each.collection for each in [*seen.first, *seen.changed, *seen.images]})
    named = ", ".join(waiting[:_SHOWN]) + (", ..." if len(waiting) > _SHOWN else "")
    state = (
        f"{len(waiting)} differ, but are being refreshed or were tried: {named}"
        if waiting
        else "all as stored"
    )
    lately = seen.lately
    releases = f"{lately.released} Series released after {lately.since}" if lately else ""
    looked_at = " and ".join(filter(None, [f"{len(seen.collections)} Collections", releases]))
    return f"looked at {looked_at}: {state}"


def _requests(
    seen: _Seen,
    names: Names,
    order: list[str],
    runs: AtWork,
    shards: int,
    instance: dg.DagsterInstance,
) -> Iterator[list[dg.RunRequest]]:
    """Runs in order of need; a Collection is in one of them at most, or in one set of shards."""
    taken = set(runs.living)

    def is_free(each: RunReason) -> bool:
        if each.collection in taken:
            return False
        taken.add(each.collection)
        return True

    # What several runs fetch one refreshes first; the next tick finds what it has changed.
    job = update_job(names) if shards == 1 else refresh_job(names)
    changed = (
        [
            dg.RunRequest(
                f"{job}:{each.collection}:{_mark(each, runs)}",
                job_name=job,
                partition_key=each.collection,
            )
        ]
        for each in filter(is_free, seen.changed)
    )
    yield from _untried(changed, instance, names)
    images = (
        image_runs(
            names,
            shards,
            f"{images_job(names)}:{each.collection}:{_mark(each, runs)}",
            partition_key=each.collection,
        )
        for each in filter(is_free, seen.images)
    )
    # They take long. A Collection that waits for its images is not refreshed meanwhile, and behind
    # a hundred of them in Dagster's queue all that is new would wait as well.
    more = max(0, _RUNS_A_TICK - len(runs.fetching))
    yield from islice(_untried(images, instance, names), more)
    marks = {e.collection: _mark(e, runs) for e in seen.first if e.collection not in taken}
    first = ([request] for request in _first_refreshes(marks, names, order))
    yield from _untried(first, instance, names)


def _mark(news: RunReason, runs: AtWork) -> str:
    """The reason for a run, and another one when the run that it was requested for came to nothing.

    For Dagster remembers run keys for ever, also that of a run that was killed or failed.
    """
    killed = min(runs.killed[news.collection], _MOST_AGAIN)
    failed = min(runs.failed[news.collection], _MOST_AGAIN)
    again = (f":{killed}" if killed else "") + (f":failed-{failed}" if failed else "")
    return news.digest + again


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
