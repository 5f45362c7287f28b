"""The metadata tables as assets: one step that refreshes any of them for many partitions.

What belongs here: declaration -> asset spec, one run over tables and partitions, its events.
What does not: what refreshing is (`refresh.py`).

One step, not one a table, because a failed step stops all steps behind it: here a Collection that
fails takes nothing along but its own rows. It is also one process start instead of eight.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs import checks
from tcia_assets.defs.events import Results, record_partitions
from tcia_assets.defs.names import Names
from tcia_assets.defs.partitions import add_partitions
from tcia_assets.defs.process import tag_with_process
from tcia_assets.defs.resource import TciaResource, resource_of
from tcia_assets.errors import TciaError
from tcia_assets.metadata.budget import RunBudget
from tcia_assets.metadata.moves import settle_moves
from tcia_assets.metadata.partition_keys import allowed_collections
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.progress import report
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse

BY_COLLECTION = tuple(t for t in catalog.TABLES if t.partitioned_by == "Collection" and t.endpoint)
# The nightly schedule refreshes all: a day and two hours without is odd, two days are wrong.
_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=50), warn_window=timedelta(hours=26)
)
_LOG_EVERY_S = 10.0


class MetadataConfig(dg.Config):
    """What a run may be told."""

    max_size_requests: int = 500
    """How many Series to ask singly for their size; the rest is asked by later runs."""

    max_probe_requests: int = 200
    """How many Series, missing for long, to ask for singly before they count as withdrawn."""


def asset_spec(table: Table, names: Names, **chosen: Any) -> dg.AssetSpec:
    """The asset that a table's declaration implies."""
    updates = table.updates.format(prefix=names.name)
    return dg.AssetSpec(
        names.key(table),
        description=f"One row per {table.grain}.\n\n{updates}".strip(),
        group_name=names.group,
        owners=list(names.owners),
        kinds={"parquet", "duckdb"},
        code_version=table.version,
        partitions_def=names.partitions(table),
        metadata={
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": table.name,
            "key": ", ".join(table.key),
            "endpoint": table.endpoint or "made here",
        },
        **chosen,
    ).with_io_manager_key(names.io)


def assets(names: Names) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """All metadata tables of one archive as assets.

    The history comes along with `series`, in the same write. So it is declared for who looks or
    depends on it, and has no runs or events of its own.
    """
    series = names.key(catalog.SERIES)
    history = [
        asset_spec(t, names, deps=[series]) for t in (catalog.SERIES_CHANGES, catalog.SNAPSHOTS)
    ]
    return [_collections(names), _by_collection(names), _shared_lists(names), *history]


# --- The three definitions -----------------------------------------------------------------------


def _collections(names: Names) -> dg.AssetsDefinition:
    table = catalog.COLLECTIONS

    @dg.multi_asset(
        name=names.of(table.name),
        specs=[asset_spec(table, names, freshness_policy=_FRESH)],
        check_specs=checks.specs(table, names),
        required_resource_keys={names.resource},
    )
    def collections(context: dg.AssetExecutionContext) -> Results:
        """Lists the Collections and makes each a partition."""
        tag_with_process(context)
        tcia = resource_of(context, names)
        done = _one(tcia, table, "")
        listed = tcia.warehouse.read(table)["Collection"].to_pylist()
        stored = tcia.warehouse.keys(catalog.SERIES)
        partitions = allowed_collections(listed, tcia.settings.collections, stored)
        added = add_partitions(context.instance, names.collections, partitions)
        unfit = sorted(set(listed) - set(allowed_collections(listed, ())))
        gone = sorted(set(stored) - set(listed))
        facts = {"partitions": len(partitions), "added": added, "unfit_names": unfit, "gone": gone}
        yield dg.MaterializeResult(asset_key=names.key(table), metadata=_metadata(done) | facts)
        yield from checks.results(table, names, tcia.warehouse, context.instance)

    return collections


def _by_collection(names: Names) -> dg.AssetsDefinition:
    collections = names.key(catalog.COLLECTIONS)
    specs = [
        asset_spec(
            t,
            names,
            deps=[names.key("series")] if _after_series(t) else [collections],
            freshness_policy=_FRESH,
        )
        for t in BY_COLLECTION
    ]

    @dg.multi_asset(
        name=names.of("metadata"),
        specs=specs,
        check_specs=[spec for t in BY_COLLECTION for spec in checks.specs(t, names)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
    )
    def metadata(context: dg.AssetExecutionContext, config: MetadataConfig) -> Results:
        """Asks the archive for the selected tables of the run's Collections."""
        chosen = [t for t in BY_COLLECTION if names.key(t) in context.selected_asset_keys]
        budget = RunBudget(config.max_size_requests, config.max_probe_requests)
        yield from run(context, names, chosen, context.partition_keys, budget)

    return metadata


def _shared_lists(names: Names) -> dg.AssetsDefinition:
    table = catalog.SHARED_LISTS

    @dg.multi_asset(
        name=names.of(table.name),
        specs=[asset_spec(table, names)],
        check_specs=checks.specs(table, names),
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={names.resource},
    )
    def shared_lists(context: dg.AssetExecutionContext) -> Results:
        """Asks the archive for the Series on the run's shared lists."""
        yield from run(context, names, [table], context.partition_keys, RunBudget(0))

    return shared_lists


# --- A run over tables and partitions ------------------------------------------------------------


@dataclass
class _Outcome:
    """What came of a run so far."""

    good: list[RefreshResult] = field(default_factory=list)
    bad: list[tuple[Table, str, Exception]] = field(default_factory=list)
    received_bytes: int = 0


def run(
    context: dg.AssetExecutionContext,
    names: Names,
    tables: Sequence[Table],
    keys: Sequence[str],
    budget: RunBudget,
) -> Results:
    """Refreshes each table for each key; each pair fails alone and has one event of its own.

    Raises dg.Failure, when all is done, if any failed: the good ones are recorded by then.
    """
    tag_with_process(context)
    tcia, at, outcome = resource_of(context, names), datetime.now(UTC), _Outcome()
    frozen = _frozen(tcia.warehouse, keys)
    if frozen:
        context.log.warning(f"the archive lists no more, so they stay as they are: {frozen}")
    keys = [key for key in keys if key not in frozen]
    first = [(t, k) for k in keys for t in tables if not _after_series(t)]
    second = [(t, k) for k in keys for t in tables if _after_series(t)]
    total, logged = len(first) + len(second), time.monotonic()
    for done, _ in enumerate(_refreshed(tcia, first, second, at, budget, outcome), start=1):
        report(done, total, f"{outcome.received_bytes / 1e6:.0f} MB")
        if time.monotonic() - logged > _LOG_EVERY_S:
            logged = time.monotonic()
            context.log.info(f"{done} of {total} partitions, {len(outcome.bad)} failed")
    tcia.warehouse.ensure_views()
    if catalog.SERIES in tables:
        _settle(context, tcia.warehouse, at, outcome)
    checked = (
        result
        for table in tables
        for result in checks.results(table, names, tcia.warehouse, context.instance)
        if dg.AssetCheckKey(names.key(table), str(result.check_name))
        in context.selected_asset_check_keys
    )
    yield from _record(context, names, outcome, checked)


def _settle(
    context: dg.AssetExecutionContext, warehouse: Warehouse, at: datetime, outcome: _Outcome
) -> None:
    try:
        settled = settle_moves(warehouse, at)
    except TciaError as error:  # what was refreshed is recorded all the same
        outcome.bad.append((catalog.SERIES, "any Collection: moves cannot be seen", error))
        return
    if settled:
        context.log.info(f"Series that moved, by the Collection whose rows say so: {settled}")


def _frozen(warehouse: Warehouse, keys: Sequence[str]) -> list[str]:
    """Collections that are stored and that the archive does not list any more.

    That may mean moved as well as withdrawn: nothing is asked of them, and nothing is changed.
    """
    listed = set(warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist())
    stored = set(warehouse.keys(catalog.SERIES))
    return [key for key in keys if listed and key in stored - listed]


def _refreshed(
    tcia: TciaResource,
    first: list[tuple[Table, str]],
    second: list[tuple[Table, str]],
    at: datetime,
    budget: RunBudget,
    outcome: _Outcome,
) -> Iterator[None]:
    """Works off both lists, many at once; tables of the second are made from those of the first."""
    for tasks in (first, second):
        with ThreadPoolExecutor(tcia.settings.max_connections) as pool:
            futures: dict[Future[RefreshResult], tuple[Table, str]] = {
                pool.submit(refresh, t, k, tcia.source, tcia.warehouse, at, budget): (t, k)
                for t, k in tasks
            }
            try:
                for future in as_completed(futures):
                    _sort(future, *futures[future], outcome)
                    yield
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _sort(future: Future[RefreshResult], table: Table, key: str, outcome: _Outcome) -> None:
    try:
        outcome.good.append(future.result())
        outcome.received_bytes += outcome.good[-1].received_bytes
    # Whatever it is, it is this partition's alone; `_record` raises it with the others.
    except Exception as error:  # noqa: BLE001
        outcome.bad.append((table, key, error))


def _record(
    context: dg.AssetExecutionContext,
    names: Names,
    outcome: _Outcome,
    checked: Iterator[dg.AssetCheckResult],
) -> Results:
    good = [(names.key(done.table), done.key, _metadata(done)) for done in outcome.good]
    bad = [(f"{table.name} of {key!r}", error) for table, key, error in outcome.bad]
    yield from record_partitions(context, good, bad, checked)


def _one(tcia: TciaResource, table: Table, key: str) -> RefreshResult:
    done = refresh(table, key, tcia.source, tcia.warehouse, datetime.now(UTC), RunBudget(0))
    tcia.warehouse.ensure_views()
    return done


def _after_series(table: Table) -> bool:
    return table is catalog.SERIES_SIZES


# --- What people see -----------------------------------------------------------------------------


def _metadata(done: RefreshResult) -> dict[str, Any]:
    rows = "dagster/partition_row_count" if done.key else "dagster/row_count"
    return {
        rows: done.written.rows,
        "rows_before": done.rows_before,
        "file_changed": done.written.changed,
        "file_bytes": done.written.bytes_on_disk,
        "dagster/uri": str(done.written.path),
        "requests": done.requests,
        "received_bytes": done.received_bytes,
        "seconds": round(done.seconds, 3),
        "unclaimed_wire_fields": ", ".join(done.unclaimed) or "none",
        **done.facts,
    }


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                c.name,
                str(c.kind.arrow_type),
                description=f"{c.description} {c.tag}".strip(),
                constraints=dg.TableColumnConstraints(
                    nullable=not c.required, unique=table.key == (c.name,)
                ),
            )
            for c in table.columns
        ]
    )
