"""The zips of the selected Series, and the tables of what is in them, as assets.

There is no RetryPolicy (it swallows SIGTERM), no partition per Series and no DynamicOut: a killed
run that is re-executed with those reports success although batches are missing.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import checks, display, mirror, zip_checks
from tcia_assets.defs.asset_specs import table_assets
from tcia_assets.defs.events import (
    PartitionEvent,
    Results,
    record_partitions,
    written_event,
)
from tcia_assets.defs.fetch_reporter import FetchReporter
from tcia_assets.defs.left_events import image_facts, manifest_facts, with_events_of
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import RunResource, resource_of
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.images import unindexed
from tcia_assets.images.fetch import FetchResult, fetch_images, finish_interrupted
from tcia_assets.images.fetch_events import record_new_zips
from tcia_assets.images.fetch_session import FetchSession, current_session
from tcia_assets.images.headers import image_rows, references
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets.images.run_limits import RereadBudget, Shard
from tcia_assets.images.zip_files import work_folder
from tcia_assets.metadata.moves import left_collections
from tcia_assets.metadata.selection_parser import selection_from_fields
from tcia_assets.progress import report
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse

Facts = dict[str, Any]


class ImageConfig(dg.Config):
    """Configuration of a run that fetches images."""

    selection: dict[str, Any] | None = None
    """Fields of an image selection; by default the setting TCIA_IMAGE_SELECTION."""
    shards: int = 1
    """The number of runs that share the plan, by hash of the SeriesInstanceUID."""
    shard: int = 0
    """The number of this run among them, from 0 to shards - 1."""
    retry: bool = False
    """Whether to try Series that were given up too."""


def assets(names: Names) -> list[dg.AssetsDefinition]:
    """Return the assets of the image tables, which one step makes."""
    zip_specs = zip_checks.specs(names)
    first = catalog.IMAGE_ARCHIVES.name

    # One step: Dagster would not start a step of its own for the headers if the fetch of a single
    # Collection failed, and the zips of all others would not be read.
    @table_assets(names, first, catalog.IMAGE_TABLES, more_checks=zip_specs, stage="images")
    def image_archives(context: dg.AssetExecutionContext, config: ImageConfig) -> Results:
        """Fetch the zips of the selected Series of the run's Collections, and read their headers.

        Zips that an earlier run fetched and did not read are read too.
        """
        yield from _run(context, names, config)

    return [image_archives]


# --- A run over partitions ------------------------------------------------------------------------

# Tables that are made together, and the work for one partition, which returns the event of each.
_Task = tuple[Sequence[Table], Callable[[str], Sequence[PartitionEvent]]]


def _run(context: dg.AssetExecutionContext, names: Names, config: ImageConfig) -> Results:
    """Make the selected tables of each partition; each fails alone; a change has an event."""
    tag_with_process(context)
    tcia, started = resource_of(context, names), datetime.now(UTC)
    warehouse = tcia.warehouse
    fetched: dict[str, FetchResult] = {}
    # If nothing else is unindexed, only new zips are read, and the manifest is not compared with
    # what is indexed: the checks at the end do that.
    is_all_indexed = unindexed.is_all_indexed(warehouse)

    def new_zips(key: str) -> frozenset[str] | None:
        return fetched[key].new_zips if is_all_indexed and key in fetched else None

    session = _session(tcia, config)
    reread = session.reread if session else RereadBudget()
    left = left_collections(warehouse)
    tasks: list[_Task] = [
        (catalog.IMAGE_TABLES[:1], _fetcher(context, names, tcia, session, fetched)),
        (
            catalog.IMAGE_TABLES[:1],
            lambda key: [] if is_all_indexed else _record_lost_fetches(key, warehouse),
        ),
        # Before the headers: for their rows it matters whether other Collections have the same.
        (catalog.IMAGE_TABLES[1:], lambda key: _remove_rows_left(left.get(key, ()), warehouse)),
        (
            catalog.IMAGE_TABLES[1:2],
            lambda key: _read_headers(key, warehouse, reread, new_zips(key)),
        ),
        (catalog.IMAGE_TABLES[2:], lambda key: _read_references(key, warehouse, new_zips(key))),
    ]
    selected = [t for t in catalog.IMAGE_TABLES if names.key(t) in context.selected_asset_keys]
    good, bad = _do_tasks(context.partition_keys, tasks, selected)
    names_left = {name for key in context.partition_keys for name in left.get(key, ())}
    good = with_events_of(sorted(names_left), context.partition_keys, selected, warehouse, good)
    warehouse.ensure_views()
    if catalog.IMAGE_ARCHIVES in selected:
        mirror.record(context, names, tcia, started, _run_facts(good, bad), session)
    results = [checks.results(context, table, names, warehouse) for table in selected]
    just_fetched = {key: result.fetched for key, result in fetched.items()}
    results.append(zip_checks.results(context, names, tcia, just_fetched))
    found = chain.from_iterable(results)
    yield from record_partitions(context, names, warehouse, good, bad, found)


def _do_tasks(
    keys: Sequence[str], tasks: Sequence[_Task], selected: Sequence[Table]
) -> tuple[list[PartitionEvent], list[tuple[str, Exception]]]:
    """Do all tasks of one partition after the other; return what succeeded, and what failed."""
    good: list[PartitionEvent] = []
    bad: list[tuple[str, Exception]] = []
    for key in keys:
        for tables, work in tasks:
            if not set(tables) & set(selected):
                continue
            try:
                good += [event for event in work(key) if event.table in selected]
            # Any error is this partition's alone; `record_partitions` raises all of them.
            except Exception as error:  # noqa: BLE001
                bad.append((f"{', '.join(t.name for t in tables)} of {key!r}", error))
    return good, bad


def _record_lost_fetches(key: str, warehouse: Warehouse) -> Sequence[PartitionEvent]:
    """Record the fetch of each zip of which the history has none; a fetch records its own alone."""
    record_new_zips(key, warehouse)
    return []


def _remove_rows_left(left: Sequence[str], warehouse: Warehouse) -> Sequence[PartitionEvent]:
    """Remove what tables have, in the Collections that Series left, of zips that went with them."""
    for name in left:
        remove_rows_without_zip(name, warehouse)
    return []


def _run_facts(
    good: Sequence[PartitionEvent], bad: Sequence[tuple[str, Exception]]
) -> dict[str, int]:
    """Return what a run did, for the asset `mirror`."""
    fetched = [each.of_run for each in good if "received_bytes" in each.of_run]
    return {
        "fetched": sum(facts["fetched"] for facts in fetched),
        "received_bytes": sum(facts["received_bytes"] for facts in fetched),
        "failed_partitions": len(bad),
    }


def _session(tcia: RunResource, config: ImageConfig) -> FetchSession | None:
    """Return what the step fetches; None if nothing is selected.

    A session of the caller replaces the config, which the caller made from the same fields.
    """
    selection = selection_from_fields(config.selection) if config.selection else tcia.selection
    if selection is None:
        return None
    shard = Shard(config.shard, config.shards)
    return current_session() or FetchSession(selection, shard, retry=config.retry)


def _fetcher(
    context: dg.AssetExecutionContext,
    names: Names,
    tcia: RunResource,
    session: FetchSession | None,
    fetched: dict[str, FetchResult],
) -> Callable[[str], Sequence[PartitionEvent]]:
    """Return a function that fetches one Collection, and adds what it did to `fetched`."""
    table = catalog.IMAGE_ARCHIVES
    reads = names.key(catalog.IMAGES) in context.selected_asset_keys
    if session is None:
        return lambda key: [_without_selection(table, tcia.warehouse, key)]

    def fetch(key: str) -> Sequence[PartitionEvent]:
        started = time.monotonic()

        def read_zips() -> None:
            if reads:
                _read_headers(key, tcia.warehouse, session.reread)
                _read_references(key, tcia.warehouse)

        with closing(FetchReporter(context, names.key(table), key, read_zips)) as reporter:
            first, *fallbacks = tcia.sources_of_images
            result = fetch_images(key, session, first, tcia.warehouse, reporter, fallbacks)
        if note := session.quiet_note:
            context.log.warning(note)
        fetched[key] = result
        of_run = _fetch_facts(result, session.shard, time.monotonic() - started)
        warehouse = tcia.warehouse
        facts = {
            **manifest_facts(result.totals),
            **_plan_facts(result),
            **display.publication(warehouse, key),
            **display.first_rows(warehouse, table, key),
        }
        of_run |= display.pictures(warehouse, key, result.fetched)
        is_written = result.recorded.total() > 0
        return [PartitionEvent(table, key, facts, of_run, is_written=is_written)]

    return fetch


def _without_selection(table: Table, warehouse: Warehouse, key: str) -> PartitionEvent:
    """Write an empty manifest if there is none, since a materialized partition can be loaded."""
    if work_folder(key, warehouse).is_dir():
        finish_interrupted(key, warehouse)
    elif not warehouse.has(table, key):
        warehouse.write(table, empty(table), key)
    note = {"note": "no image selection is set, so nothing is fetched"}
    return PartitionEvent(table, key, image_facts(table, key, warehouse), note)


# --- Metadata of the events -----------------------------------------------------------------------


def _plan_facts(result: FetchResult) -> Facts:
    """Return what is left to fetch, and what is left out."""
    plan = result.plan
    return {
        "remaining": result.not_started + len(plan.later),
        "remaining_bytes": plan.bytes_later,
        "given_up": len(plan.given_up),
        "denied_by_licence": plan.denied,
        "without_licence": plan.unlicensed,
    }


def _fetch_facts(result: FetchResult, shard: Shard, seconds: float) -> Facts:
    plan, complete = result.plan, len(result.fetched)
    return {
        "to_fetch": len(plan.now) + len(plan.later),
        "bytes_to_fetch": plan.bytes_now + plan.bytes_later,
        "fetched": complete,
        "not_fetched": result.recorded.total() - complete,
        "received_bytes": result.received_bytes,
        "shard": str(shard),
        "megabytes_per_second": round(result.received_bytes / 1e6 / max(seconds, 1e-9), 1),
        "seconds": round(seconds, 3),
    }


def _read_headers(
    key: str,
    warehouse: Warehouse,
    reread: RereadBudget,
    new_zips: frozenset[str] | None = None,
) -> Sequence[PartitionEvent]:
    done = image_rows.index_images(
        key,
        warehouse,
        report=lambda n, total: report(n, total, f"zips of {key} read for images"),
        reread=reread,
        new_zips=new_zips,
    )
    facts = {
        "outdated": done.outdated,
        "unreadable": done.unreadable,
        "with_errors": done.with_errors,
    }
    of_run = {
        "new": done.new,
        "kept": done.kept,
        "files_per_second": round(done.files_per_second),
        "seconds": round(done.seconds, 3),
    }
    return [written_event(catalog.IMAGES, key, done.written, facts, of_run)]


def _read_references(
    key: str, warehouse: Warehouse, new_zips: frozenset[str] | None = None
) -> Sequence[PartitionEvent]:
    done = references.index_references(
        key,
        warehouse,
        report=lambda n, total: report(n, total, f"zips of {key} read for references"),
        new_zips=new_zips,
    )
    facts = {
        "zips_waiting": done.waiting,
        "objects_without_references": done.without,
        "with_errors": done.with_errors,
    }
    of_run = {
        "zips_read": done.new,
        "zips_kept": done.kept,
        "seconds": round(done.seconds, 3),
    }
    return [
        written_event(catalog.REFERENCES, key, done.references, facts, of_run),
        written_event(catalog.TARGETS, key, done.targets, facts, of_run),
    ]
