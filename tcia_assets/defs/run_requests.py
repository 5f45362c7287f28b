"""Turn differences between source and warehouse into few run requests.

A Collection is in one run at most, a difference has one run key, and the runs of one tick are
limited. `sensors.py` finds the differences.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.active_runs import RunsByCollection
from tcia_assets.defs.jobs import images_job, refresh_job, update_job
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import range_tags, ranges
from tcia_assets.images.run_reasons import RecentReleases, RunReason, short_digest

# With shards, this limits sets of runs.
_MAX_RUNS_PER_TICK = 5
# A run that was killed or failed is requested again at most this many times: its Collection may be
# the cause.
_MAX_RETRIES = 3
# Neighbouring Collections share a run; one run over all would keep each busy for too long.
_MAX_KEYS_PER_RUN = 50

# One request, or one for each shard.
_Requests = list[dg.RunRequest]


@dataclass(frozen=True)
class Differences:
    """What a tick compared, and the Collections that need a run.

    Attributes:
        collections: The Collections that are listed and mirrored.
        first: Those that were never refreshed.
        releases: The recent releases, and the Collections that they change; None if the source
            offers no such request.
        images: Collections with images to fetch.
        release: The release of the source; "" for a server.
        other_releases: Collections that were compared with another release, or source.
        note: What was left out of the source's list of Collections, and what waits for the end of
            quiet hours; "" if nothing.
    """

    collections: list[str]
    first: list[RunReason]
    releases: RecentReleases | None
    images: list[RunReason]
    note: str = ""
    release: str = ""
    other_releases: list[RunReason] = field(default_factory=list)

    @property
    def changed(self) -> list[RunReason]:
        """Collections with recent releases that are not stored as they are now."""
        return self.releases.reasons if self.releases else []


def image_runs(names: Names, shards: int, run_key: str, **options: Any) -> _Requests:
    """Return a request for a run over images, or one for each shard; options are RunRequest's."""
    job, op = images_job(names), names.of(catalog.IMAGE_ARCHIVES.name)
    if shards == 1:
        return [dg.RunRequest(run_key, job_name=job, **options)]
    return [
        dg.RunRequest(
            f"{run_key}:{shard}-of-{shards}",
            {"ops": {op: {"config": {"shards": shards, "shard": shard}}}},
            job_name=job,
            **options,
        )
        for shard in range(shards)
    ]


@dataclass(frozen=True)
class RunPlanner:
    """Turns what one tick found into run requests.

    Attributes:
        names: The names of jobs and assets.
        order: All partition keys, in Dagster's order.
        runs: What other runs work on; their Collections are left out.
        shards: The number of runs that share the images of a Collection.
        instance: Dagster's records, to leave out what was requested before.
    """

    names: Names
    order: list[str]
    runs: RunsByCollection
    shards: int
    instance: dg.DagsterInstance

    def requests(self, found: Differences) -> list[dg.RunRequest]:
        """Return the run requests that remove these differences, the most urgent first."""
        return list(chain.from_iterable(islice(self._by_urgency(found), _MAX_RUNS_PER_TICK)))

    def _by_urgency(self, found: Differences) -> Iterator[_Requests]:
        taken = set(self.runs.running)

        def is_free(reason: RunReason) -> bool:
            if reason.collection in taken:
                return False
            taken.add(reason.collection)
            return True

        # A release is compared in seconds: one run for all. A server is asked for each Collection.
        most = len(self.order) if found.release else _MAX_KEYS_PER_RUN
        others = list(filter(is_free, found.other_releases))
        yield from self._never_requested(self._runs_of_many(others, most))
        yield from self._never_requested(map(self._change_run, filter(is_free, found.changed)))
        images = self._never_requested(map(self._image_runs, filter(is_free, found.images)))
        # Fetching takes long. A Collection that waits for its images is not refreshed meanwhile,
        # and new releases would wait behind a hundred such runs in Dagster's queue.
        yield from islice(images, max(0, _MAX_RUNS_PER_TICK - len(self.runs.fetching)))
        first = [each for each in found.first if each.collection not in taken]
        yield from self._never_requested(self._runs_of_many(first))

    def _change_run(self, reason: RunReason) -> _Requests:
        # With shards, one run refreshes first; the next tick finds the images to fetch.
        job = update_job(self.names) if self.shards == 1 else refresh_job(self.names)
        key = f"{job}:{reason.collection}:{self._run_key(reason)}"
        return [dg.RunRequest(key, job_name=job, partition_key=reason.collection)]

    def _image_runs(self, reason: RunReason) -> _Requests:
        key = f"{images_job(self.names)}:{reason.collection}:{self._run_key(reason)}"
        return image_runs(self.names, self.shards, key, partition_key=reason.collection)

    def _runs_of_many(
        self, reasons: list[RunReason], most: int = _MAX_KEYS_PER_RUN
    ) -> Iterator[_Requests]:
        """Yield few runs for many Collections: all of TCIA takes three runs, not 141."""
        job = refresh_job(self.names)
        run_keys = {each.collection: self._run_key(each) for each in reasons}
        for neighbours in ranges(list(run_keys), self.order):
            for start in range(0, len(neighbours), most):
                keys = neighbours[start : start + most]
                digest = short_digest(f"{key} {run_keys[key]}" for key in keys)
                tags = range_tags(keys[0], keys[-1])
                yield [dg.RunRequest(f"{job}:{digest}", job_name=job, tags=tags)]

    def _run_key(self, reason: RunReason) -> str:
        """Return the digest of a reason, with the number of its runs that were killed or failed.

        Dagster never starts a second run with the same key, even if the first was killed or failed.
        """
        killed = min(self.runs.killed[reason.collection], _MAX_RETRIES)
        failed = min(self.runs.failed[reason.collection], _MAX_RETRIES)
        retries = (f":{killed}" if killed else "") + (f":failed-{failed}" if failed else "")
        return reason.digest + retries

    def _never_requested(self, wanted: Iterable[_Requests]) -> Iterator[_Requests]:
        """Leave out requests for which this sensor has a run already, whatever became of it.

        Dagster drops them too, but only after they were counted towards the limit of a tick.
        """
        sensor = {"dagster/sensor_name": self.names.of("new_series")}
        for requests in wanted:
            tags = [sensor | {"dagster/run_key": str(each.run_key)} for each in requests]
            counts = [self.instance.get_runs_count(dg.RunsFilter(tags=each)) for each in tags]
            if left := [each for each, count in zip(requests, counts, strict=True) if not count]:
                yield left
