"""`image_archives`: the zips of the selected Series, one plain bounded step.

What belongs here: the run around `archive.py`. No RetryPolicy (it swallows SIGTERM), no partition a
Series, no DynamicOut (a killed run that is re-executed reports success with batches missing).
"""

import time
from collections import Counter
from typing import Any

import dagster as dg

from tcia_assets import archive, catalog
from tcia_assets.conform import empty
from tcia_assets.defs import checks
from tcia_assets.defs.metadata import Results, asset_spec, record_partitions, resource
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import TciaResource
from tcia_assets.progress import report
from tcia_assets.selection import Selection, from_fields

_LOG_EVERY_S = 10.0


class ImageConfig(dg.Config):
    """What a run may be told."""

    selection: dict[str, Any] | None = None
    """Fields of an image selection; without it, the setting TCIA_IMAGE_SELECTION holds."""


def assets(names: Names) -> list[dg.AssetsDefinition]:
    """The image archives of one archive as an asset."""
    table = catalog.IMAGE_ARCHIVES

    @dg.multi_asset(
        name=names.of(table.name),
        specs=[asset_spec(table, names, deps=[names.key(catalog.SERIES)])],
        check_specs=checks.specs(table, names),
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
        pool=names.of("images"),
    )
    def image_archives(context: dg.AssetExecutionContext, config: ImageConfig) -> Results:
        """Fetches, proves and keeps the zips of the selected Series of the run's Collections."""
        tcia = resource(context, names)
        chosen = from_fields(config.selection) if config.selection else tcia.selection
        done: dict[str, dict[str, Any]] = {}
        failed: dict[str, Exception] = {}
        for key in context.partition_keys:
            try:
                done[key] = _fetched(context, tcia, key, chosen)
            # Whatever it is, it is this partition's alone; all are raised at the end.
            except Exception as error:  # noqa: BLE001
                failed[key] = error
        tcia.warehouse.ensure_views()
        key = names.key(table)
        yield from record_partitions(
            context,
            [(key, partition, facts) for partition, facts in done.items()],
            [(f"{table.name} of {partition!r}", error) for partition, error in failed.items()],
            checks.results(table, names, tcia.warehouse, context.instance),
        )

    return [image_archives]


def _fetched(
    context: dg.AssetExecutionContext, tcia: TciaResource, key: str, selection: Selection | None
) -> dict[str, Any]:
    """Fetches what is planned for a Collection; what a person may want to know of it."""
    if selection is None:
        _keep_empty(tcia, key)
        return {"note": "no image selection is set, so nothing is fetched"}

    def planned(plan: archive.Plan) -> None:
        context.log.info(
            f"{key}: {len(plan.now)} Series of {plan.bytes_now / 1e6:.1f} MB to fetch, "
            f"{plan.complete} complete, {len(plan.later)} left to later runs"
        )

    started = time.monotonic()
    plan, manifest = archive.fetch(
        key,
        selection,
        tcia.client,
        tcia.warehouse,
        planned=planned,
        report=_Reporter(context, key),
    )
    statuses = Counter(manifest["status"].to_pylist())
    seconds = time.monotonic() - started
    fetched = len(plan.now) - sum(n for status, n in statuses.items() if status != "complete")
    return {
        "dagster/partition_row_count": manifest.num_rows,
        **{status: statuses[status] for status in archive.STATUSES},
        "fetched": max(0, fetched),
        "remaining": len(plan.later),
        "remaining_bytes": plan.bytes_later,
        "bytes_on_disk": sum(n or 0 for n in manifest["archive_bytes"].to_pylist()),
        "seconds": round(seconds, 3),
    }


def _keep_empty(tcia: TciaResource, key: str) -> None:
    """What is materialized can be loaded: an empty manifest, where there is none yet."""
    table = catalog.IMAGE_ARCHIVES
    if not tcia.warehouse.has(table, key):
        tcia.warehouse.write(table, empty(table), key)


class _Reporter:
    """Tells the terminal always and Dagster's log every so often how far the fetching is."""

    def __init__(self, context: dg.AssetExecutionContext, key: str) -> None:
        self._context, self._key = context, key
        self._started = self._logged = time.monotonic()

    def __call__(self, progress: archive.Progress) -> None:
        now = time.monotonic()
        rate = progress.bytes_done / max(1e-9, now - self._started) / 1e6
        note = f"{progress.bytes_done / 1e6:.1f} MB, {rate:.1f} MB/s"
        report(progress.done, progress.planned, note)
        if now - self._logged > _LOG_EVERY_S:
            self._logged = now
            self._context.log.info(f"{self._key}: {progress.done} of {progress.planned}, {note}")
