"""The zips of the selected Series, and the tables of what they hold.

What belongs here: the runs around `fetch`, `image_rows` and `references`, and their events. No
RetryPolicy (it swallows SIGTERM), no partition a Series, no DynamicOut (a killed run that is
re-executed reports success with batches missing).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import checks, proof
from tcia_assets.defs.events import Results, record_partitions
from tcia_assets.defs.metadata import asset_spec
from tcia_assets.defs.names import Names
from tcia_assets.defs.process import tag_with_process
from tcia_assets.defs.resource import TciaResource, resource_of
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_run import FetchRun, shared_run
from tcia_assets.images.headers import image_rows, references
from tcia_assets.images.manifest_row import STATUSES, ManifestRow
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.shard import Shard
from tcia_assets.images.workers import FetchProgress
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import selection_from_fields
from tcia_assets.progress import report
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse

_LOG_EVERY_S = 10.0
# One observation for so many Series or seconds, and one for each failure up to a bound: Dagster's
# log must tell what happened without growing with the archive.
_SUMMARY_EVERY_S = 60.0
_SUMMARY_EVERY_SERIES = 500
_MOST_FAILURES_SHOWN = 50

Facts = dict[str, Any]


class ImageConfig(dg.Config):
    """What a run may be told."""

    selection: dict[str, Any] | None = None
    """Fields of an image selection; without it, the setting TCIA_IMAGE_SELECTION holds."""
    shards: int = 1
    """Into how many runs at once the plan is split, by hash of the SeriesInstanceUID."""
    shard: int = 0
    """Which of them this run is: 0 to shards - 1."""
    retry: bool = False
    """Try also Series that came as something else too often."""


def assets(names: Names) -> list[dg.AssetsDefinition]:
    """The image archives of one archive, and the objects in them, as assets."""
    return [_image_archives(names), _images(names), _references(names)]


def _image_archives(names: Names) -> dg.AssetsDefinition:
    table = catalog.IMAGE_ARCHIVES

    @dg.multi_asset(
        name=names.of(table.name),
        specs=[asset_spec(table, names, deps=[names.key(catalog.SERIES)])],
        check_specs=[*checks.specs(table, names), *proof.specs(names)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
        pool=names.of("images"),
    )
    def image_archives(context: dg.AssetExecutionContext, config: ImageConfig) -> Results:
        """Fetches, proves and keeps the zips of the selected Series of the run's Collections."""
        tcia = resource_of(context, names)
        shard = Shard(config.shard, config.shards)
        chosen = selection_from_fields(config.selection) if config.selection else tcia.selection

        run = shared_run() or (FetchRun.for_selection(chosen) if chosen else None)
        just_fetched: dict[str, frozenset[str]] = {}

        def fetched(key: str) -> Facts:
            if chosen is None:
                _keep_empty(table, tcia, key)
                return {"note": "no image selection is set, so nothing is fetched"}
            asset, retry = names.key(table), config.retry
            facts, just_fetched[key] = _fetched(
                context, tcia, asset, key, chosen, shard, run, retry=retry
            )
            return facts

        proven = proof.results(names, tcia, context.partition_keys, just_fetched)
        yield from _by_partition(context, names, table, fetched, proven)

    return image_archives


def _images(names: Names) -> dg.AssetsDefinition:
    table = catalog.IMAGES

    @dg.multi_asset(
        name=names.of("image_headers"),  # a job has the table's name
        specs=[asset_spec(table, names, deps=[names.key(catalog.IMAGE_ARCHIVES)])],
        check_specs=checks.specs(table, names),
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
    )
    def images(context: dg.AssetExecutionContext) -> Results:
        """Reads the headers of the objects in new or changed archives of the run's Collections."""
        warehouse = resource_of(context, names).warehouse

        def indexed(key: str) -> Facts:
            return _indexed(key, warehouse)

        yield from _by_partition(context, names, table, indexed)

    return images


def _references(names: Names) -> dg.AssetsDefinition:
    tables = (catalog.REFERENCES, catalog.TARGETS)
    deps = [names.key(catalog.IMAGES)]

    @dg.multi_asset(
        name=names.of("object_references"),
        specs=[asset_spec(table, names, deps=deps) for table in tables],
        check_specs=[spec for table in tables for spec in checks.specs(table, names)],
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
    )
    def object_references(context: dg.AssetExecutionContext) -> Results:
        """Reads whom the objects about images in new or changed archives refer to."""
        warehouse = resource_of(context, names).warehouse

        def read(key: str) -> Sequence[Facts]:
            return _referred(key, warehouse)

        yield from _by_partitions(context, names, tables, read)

    return object_references


def _by_partition(
    context: dg.AssetExecutionContext,
    names: Names,
    table: Table,
    work: Callable[[str], Facts],
    more_checks: Iterable[dg.AssetCheckResult] = (),
) -> Results:
    """`work` for each partition of the run; each fails alone, and has one event of its own."""
    return _by_partitions(context, names, (table,), lambda key: [work(key)], more_checks)


def _by_partitions(
    context: dg.AssetExecutionContext,
    names: Names,
    tables: Sequence[Table],
    work: Callable[[str], Sequence[Facts]],
    more_checks: Iterable[dg.AssetCheckResult] = (),
) -> Results:
    """As `_by_partition`, where the same work makes a partition of each of these tables."""
    tag_with_process(context)
    done: list[tuple[dg.AssetKey, str, Mapping[str, Any]]] = []
    failed: list[tuple[str, Exception]] = []
    for partition in context.partition_keys:
        try:
            found = zip(tables, work(partition), strict=True)
            done += [(names.key(table), partition, facts) for table, facts in found]
        # Whatever it is, it is this partition's alone; all are raised at the end.
        except Exception as error:  # noqa: BLE001
            what = ", ".join(table.name for table in tables)
            failed.append((f"{what} of {partition!r}", error))
    warehouse = resource_of(context, names).warehouse
    warehouse.ensure_views()
    checked = [checks.results(table, names, warehouse, context.instance) for table in tables]
    yield from record_partitions(context, done, failed, chain(*checked, more_checks))


def _fetched(
    context: dg.AssetExecutionContext,
    tcia: TciaResource,
    asset: dg.AssetKey,
    key: str,
    selection: Selection,
    shard: Shard,
    run: FetchRun | None,
    *,
    retry: bool,
) -> tuple[Facts, frozenset[str]]:
    """Fetches what is planned for a Collection; what a person may want to know, and what came."""
    teller = _Teller(context, asset, key)
    started = time.monotonic()
    got = fetch_images(
        key,
        selection,
        tcia.source,
        tcia.warehouse,
        shard=shard,
        retry=retry,
        run=run,
        on_wait=teller.waiting,
        on_plan=teller.planned,
        on_progress=teller.progress,
        on_row=teller.arrived,
    )
    teller.close()
    seconds = time.monotonic() - started
    statuses = Counter(got.manifest["status"].to_pylist())
    came = frozenset(row.series_instance_uid for row in got.rows if row.is_complete)
    remaining = got.not_started + len(got.plan.later)
    facts = {
        "dagster/partition_row_count": got.manifest.num_rows,
        **{status: statuses[status] for status in STATUSES},
        "to_fetch": len(got.plan.now) + len(got.plan.later),
        "bytes_to_fetch": got.plan.bytes_now + got.plan.bytes_later,
        "fetched": len(came),
        "not_fetched": len(got.rows) - len(came),
        "remaining": remaining,
        "remaining_bytes": got.plan.bytes_later,
        "given_up": len(got.plan.given_up),
        "denied_by_licence": got.plan.denied,
        "without_licence": got.plan.unlicensed,
        "received_bytes": got.received_bytes,
        "bytes_on_disk": sum(n or 0 for n in got.manifest["archive_bytes"].to_pylist()),
        "shard": str(shard),
        "megabytes_per_second": round(got.received_bytes / 1e6 / max(seconds, 1e-9), 1),
        "seconds": round(seconds, 3),
    }
    return facts, came


def _keep_empty(table: Table, tcia: TciaResource, key: str) -> None:
    """What is materialized can be loaded: an empty manifest, where there is none yet."""
    if not tcia.warehouse.has(table, key):
        tcia.warehouse.write(table, empty(table), key)


def _indexed(key: str, warehouse: Warehouse) -> Facts:
    """Reads what is new of a Collection's archives; what a person may want to know of it."""
    done = image_rows.index_images(
        key, warehouse, report=lambda n, total: report(n, total, f"zips of {key} read for images")
    )
    return {
        "dagster/partition_row_count": done.objects,
        "new": done.new,
        "kept": done.kept,
        "unreadable": done.unreadable,
        "with_errors": done.with_errors,
        "file_changed": done.written.changed,
        "file_bytes": done.written.bytes_on_disk,
        "dagster/uri": str(done.written.path),
        "files_per_second": round(done.files_per_second),
        "seconds": round(done.seconds, 3),
    }


def _referred(key: str, warehouse: Warehouse) -> Sequence[Facts]:
    """Reads what is new of a Collection's references and targets; what is known of each then."""
    done = references.index_references(
        key,
        warehouse,
        report=lambda n, total: report(n, total, f"zips of {key} read for references"),
    )
    told: Facts = {
        "zips_read": done.new,
        "zips_kept": done.kept,
        "zips_waiting": done.waiting,
        "objects_without_references": done.without,
        "with_errors": done.with_errors,
        "seconds": round(done.seconds, 3),
    }
    return [
        {
            "dagster/partition_row_count": written.rows,
            "file_changed": written.changed,
            "file_bytes": written.bytes_on_disk,
            "dagster/uri": str(written.path),
            **told,
        }
        for written in (done.references, done.targets)
    ]


class _Teller:
    """Tells the terminal always, and Dagster every so often, how far the fetching is."""

    def __init__(self, context: dg.AssetExecutionContext, asset: dg.AssetKey, key: str) -> None:
        self._context, self._asset, self._key = context, asset, key
        self._started = self._logged = self._summed_up = time.monotonic()
        self._batch: Counter[str] = Counter()
        self._batch_bytes = self._failures = 0

    def waiting(self) -> None:
        told = f"waiting until another run has fetched images of {self._key}"
        report(0, 1, told)
        self._context.log.info(told)

    def planned(self, plan: FetchPlan) -> None:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(plan.reasons.items())) or "none"
        self._context.log.info(
            f"{self._key}: {len(plan.now)} Series ({why}) of up to {plan.bytes_now / 1e6:.1f} MB "
            f"and {plan.sizes_unknown} of unknown size to fetch, {plan.complete} complete, "
            f"{len(plan.later)} left to later runs, "
            f"{len(plan.given_up)} given up, {plan.denied} denied by licence"
        )

    def progress(self, progress: FetchProgress) -> None:
        now = time.monotonic()
        note = _said(progress, now - self._started)
        report(progress.done, progress.planned, note)
        if now - self._logged > _LOG_EVERY_S:
            self._logged = now
            self._context.log.info(f"{self._key}: {progress.done} of {progress.planned}, {note}")

    def arrived(self, row: ManifestRow) -> None:
        self._batch[row.status] += 1
        if row.is_complete:
            self._batch_bytes += row.archive_bytes or 0
        elif self._failures < _MOST_FAILURES_SHOWN:
            facts = row.to_record()
            shown = ("SeriesInstanceUID", "status", "error", "attempts")
            self._observe({name: facts[name] for name in shown})
            self._failures += 1
        is_due = time.monotonic() - self._summed_up > _SUMMARY_EVERY_S
        if is_due or self._batch.total() >= _SUMMARY_EVERY_SERIES:
            self._sum_up()

    def close(self) -> None:
        if self._batch.total() > 0:
            self._sum_up()

    def _sum_up(self) -> None:
        seconds = time.monotonic() - self._summed_up
        self._observe({**self._batch, "bytes": self._batch_bytes, "seconds": round(seconds, 1)})
        self._summed_up = time.monotonic()
        self._batch.clear()
        self._batch_bytes = 0

    def _observe(self, facts: Facts) -> None:
        event = dg.AssetObservation(self._asset, partition=self._key, metadata=facts)
        self._context.log_event(event)


def _said(progress: FetchProgress, seconds: float) -> str:
    """Bytes, rate, failures, and the time left by the bytes that are done.

    >>> _said(FetchProgress(5, 10, 1, 60_000_000, 90_000_000, 50_000_000, 8), 10.0)
    '50.0 MB, 5.0 MB/s, 5 s left, 1 failed'
    """
    parts = [f"{progress.received_bytes / 1e6:.1f} MB"]
    if seconds > 0:
        parts.append(f"{progress.received_bytes / seconds / 1e6:.1f} MB/s")
    if progress.bytes_done:
        left = seconds * (progress.bytes_planned / progress.bytes_done - 1)
        parts.append(f"{left:.0f} s left")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return ", ".join(parts)
