"""One run that refreshes metadata tables for many partitions, and records each.

It is one step, not one for each table, because Dagster skips the steps behind a failed one: here a
Collection that fails affects only its own rows. It also starts one process instead of eight.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from itertools import chain
from typing import Any

import dagster as dg
import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.defs import checks, display, mirror
from tcia_assets.defs.events import (
    PartitionEvent,
    Results,
    record_partitions,
    stored_facts,
    written_event,
)
from tcia_assets.defs.names import Names
from tcia_assets.defs.resource import RunResource, resource_of
from tcia_assets.defs.run_process import tag_with_process
from tcia_assets.errors import TciaError
from tcia_assets.images.fetch import record_fetches_of_others
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.markdown import is_plain_url
from tcia_assets.metadata.moves import settle_moves
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.progress import report
from tcia_assets.sources.names import FOLDER, family_of
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import format_bytes

_LOG_EVERY_S = 10.0
# For a source on this disk, where no partition waits for the network: more of them would take more
# memory, and no less time.
_LOCAL_WORKERS = 2
_OF_LISTINGS = ("new", "changed")
_Task = tuple[Table, str]


@dataclass
class _Outcome:
    """The results and failures of a run so far."""

    good: list[RefreshResult] = field(default_factory=list)
    bad: list[tuple[Table, str, Exception]] = field(default_factory=list)
    received_bytes: int = 0
    others: set[str] = field(default_factory=set)
    """Collections that were not refreshed, of which Series may have moved to others."""


def refresh_partitions(
    context: dg.AssetExecutionContext,
    names: Names,
    tables: Sequence[Table],
    keys: Sequence[str],
    budget: ProbeBudget,
    accept_schema: Sequence[str] = (),
) -> Results:
    """Refresh each table for each key; each pair fails alone, and has an event if it changed.

    Args:
        context: The context of the step.
        names: The names of the assets.
        tables: The tables to refresh.
        keys: The partitions to refresh.
        budget: The requests that all of them may send for single Series.
        accept_schema: The keys whose changed columns are accepted; see `refresh`.

    Raises:
        dg.Failure: A partition failed. It is raised last, once all others are recorded.
    """
    tag_with_process(context)
    tcia, at = resource_of(context, names), datetime.now(UTC)
    outcome = _refresh_all(context, tcia, tables, keys, at, budget, accept_schema)
    tcia.warehouse.ensure_views()
    record_fetches_of_others(tcia.warehouse)
    if catalog.SERIES in tables:
        _settle_moves(context, tcia.warehouse, at, outcome)
    if catalog.SHARED_LISTS not in tables:
        mirror.record(context, names, tcia, at, _run_facts(outcome))
    good = [refresh_event(done, _shown_rows(done, tcia.warehouse)) for done in outcome.good]
    if catalog.SERIES in tables:
        good += _other_events(tcia.warehouse, outcome)
    bad = [(f"{table.name} of {key!r}", error) for table, key, error in outcome.bad]
    found = [checks.results(context, table, names, tcia.warehouse) for table in tables]
    found += [checks.rows_kept(context, table, names, outcome.good) for table in tables]
    yield from record_partitions(
        context, names, tcia.warehouse, good, bad, chain.from_iterable(found)
    )


def _other_events(warehouse: Warehouse, outcome: _Outcome) -> list[PartitionEvent]:
    """Return events of Collections that were not refreshed: Series may have left them."""
    table = catalog.SERIES
    return [
        PartitionEvent(table, key, stored_facts(warehouse, table, key))
        for key in sorted(outcome.others)
        if warehouse.has(table, key)
    ]


def _run_facts(outcome: _Outcome) -> dict[str, Any]:
    """Return what a run did, for the asset `mirror`."""
    listings = {done.key: done.facts for done in outcome.good if done.table is catalog.SERIES}
    implausible = {
        key: facts["implausible_because"]
        for key, facts in listings.items()
        if not facts["plausible"]
    }
    return {
        **{name: sum(int(each[name]) for each in listings.values()) for name in _OF_LISTINGS},
        **({mirror.IMPLAUSIBLE: implausible} if implausible else {}),
        "requests": sum(done.cost.requests for done in outcome.good),
        "received_bytes": outcome.received_bytes,
        "failed_partitions": len(outcome.bad),
    }


def refresh_one(tcia: RunResource, table: Table) -> RefreshResult:
    """Refresh a table without partitions."""
    done = refresh(
        table, "", tcia.source_of_metadata, tcia.warehouse, datetime.now(UTC), ProbeBudget(0)
    )
    tcia.warehouse.ensure_views()
    return done


def refresh_event(done: RefreshResult, shown: Mapping[str, Any]) -> PartitionEvent:
    """Return the event of a partition that was compared; `shown` are further facts about it."""
    found = {name: _shown(value) for name, value in done.facts.items()}
    # Those of a list of Series count what this comparison changed, those of other tables what is.
    facts, counts = ({}, found) if done.table is catalog.SERIES else (found, {})
    of_run = {
        "rows_before": done.rows_before,
        "requests": done.cost.requests,
        "received_bytes": done.cost.size_bytes,
        "seconds": round(done.seconds, 3),
        "unclaimed_wire_fields": ", ".join(done.unclaimed) or "none",
        "unreadable_values": done.unreadable,
        **counts,
    }
    return written_event(done.table, done.key, done.written, {**facts, **shown}, of_run)


def _shown_rows(done: RefreshResult, warehouse: Warehouse) -> dict[str, Any]:
    """Return the page and the first rows of a Collection whose Series changed."""
    if done.table is not catalog.SERIES or not done.written.changed:
        return {}
    return display.publication(warehouse, done.key) | display.first_rows(
        warehouse, done.table, done.key
    )


def _shown(fact: object) -> object:
    """Return a fact as Dagster shows it: an address as a link."""
    is_link = isinstance(fact, str) and is_plain_url(fact)
    return dg.MetadataValue.url(str(fact)) if is_link else fact


def _refresh_all(
    context: dg.AssetExecutionContext,
    tcia: RunResource,
    tables: Sequence[Table],
    keys: Sequence[str],
    at: datetime,
    budget: ProbeBudget,
    accept_schema: Sequence[str],
) -> _Outcome:
    imported, removed = _left_alone(tcia, keys)
    if imported:
        context.log.info(f"imported from a folder, so not refreshed: {imported}")
    if removed:
        context.log.warning(f"removed from the source's list, so not refreshed: {removed}")
    if unused := sorted(set(accept_schema) - set(keys)):
        context.log.warning(f"accept_schema names what this run does not refresh: {unused}")
    left_alone = {*imported, *removed}
    tasks = [(table, key) for key in keys if key not in left_alone for table in tables]
    outcome, logged = _Outcome(others=set(removed)), time.monotonic()
    with closing(_refresh_in_stages(tcia, tasks, at, budget, accept_schema, outcome)) as refreshed:
        for done, _ in enumerate(refreshed, start=1):
            report(done, len(tasks), format_bytes(outcome.received_bytes))
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                context.log.info(f"{done} of {len(tasks)} partitions, {len(outcome.bad)} failed")
    for each in outcome.good:
        if each.unreadable:
            context.log.warning(f"{each.table.name} of {each.key!r}: {each.unreadable_example}")
    return outcome


def _left_alone(tcia: RunResource, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the Collections that were imported, and those removed from the source's list.

    No request is sent for them, and nothing is changed: only the folder has the former, and the
    latter may have been renamed or withdrawn.
    """
    known = set(tcia.warehouse.keys(catalog.IMPORTS))
    imported = [key for key in keys if key in known]
    if imported and family_of(tcia.source_of_metadata.name) == FOLDER:
        return [], []
    listed = set(tcia.warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist())
    stored = set(tcia.warehouse.keys(catalog.SERIES)) - set(imported)
    return imported, [key for key in keys if listed and key in stored - listed]


def _refresh_in_stages(
    tcia: RunResource,
    tasks: list[_Task],
    at: datetime,
    budget: ProbeBudget,
    accept_schema: Sequence[str],
    outcome: _Outcome,
) -> Generator[None, None, None]:
    """Refresh many partitions at a time; yields after each.

    A table is refreshed once those are whose rows its refresh reads, for all Collections.
    """
    is_local = tcia.settings.source == "idc"
    for stage in _stages(dict.fromkeys(table for table, _ in tasks)):
        with ThreadPoolExecutor(
            _LOCAL_WORKERS if is_local else tcia.settings.max_connections
        ) as pool:
            try:
                futures: dict[Future[RefreshResult], _Task] = {
                    pool.submit(
                        refresh,
                        *task,
                        tcia.source_of_metadata,
                        tcia.warehouse,
                        at,
                        budget,
                        accept_schema=task[1] in accept_schema,
                    ): task
                    for task in tasks
                    if task[0] in stage
                }
                for future in as_completed(futures):
                    _collect(future, futures[future], outcome)
                    yield
            except BaseException as error:
                if not isinstance(error, Exception):
                    # Interrupted, here or in the caller: a request may wait for minutes.
                    tcia.source_of_metadata.stop()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        # Arrow keeps memory for threads that have ended now.
        pa.default_memory_pool().release_unused()


def _stages(tables: Iterable[Table]) -> Iterator[list[Table]]:
    """Yield tables that can be refreshed at the same time, after those of the stages before."""
    chosen = {table.name: table for table in tables}
    order = TopologicalSorter({name: table.refreshed_after for name, table in chosen.items()})
    order.prepare()
    while order.is_active():
        ready = order.get_ready()
        yield [chosen[name] for name in ready if name in chosen]
        order.done(*ready)


def _collect(future: Future[RefreshResult], task: _Task, outcome: _Outcome) -> None:
    try:
        outcome.good.append(future.result())
        outcome.received_bytes += outcome.good[-1].cost.size_bytes
    # Any error is this partition's alone; `record_partitions` raises all of them.
    except Exception as error:  # noqa: BLE001
        outcome.bad.append((*task, error))


def _settle_moves(
    context: dg.AssetExecutionContext, warehouse: Warehouse, at: datetime, outcome: _Outcome
) -> None:
    try:
        settled = settle_moves(warehouse, at)
    except TciaError as error:  # what was refreshed is recorded all the same
        outcome.bad.append((catalog.SERIES, "all Collections: moves cannot be determined", error))
        return
    refreshed = {done.key for done in outcome.good} | {key for _, key, _ in outcome.bad}
    outcome.others |= settled.keys() - refreshed
    if settled:
        context.log.info(f"Series whose `moved_to` changed, by Collection: {settled}")
