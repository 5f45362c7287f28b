"""Asset checks of the tables: what a person should look at after a refresh.

They report facts that are unusual but may be right. Rows that are wrong raise an error before they
are written (`store/conform.py`); a check comes after and does not protect what is stored. Checks
look at all partitions, since Dagster keeps no history of a check by partition.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.errors import TciaError
from tcia_assets.spec import Check, Parent, Table
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

_MAX_EXAMPLES = 10
_STALE_AFTER_S = 50 * 3600
_MAX_EVENTS = 1000
VALUES_READABLE = "values_readable"
ROWS_KEPT = "rows_kept"
SOURCE_ANSWERS = "source_answers"
_FROM_EVENTS = {
    ROWS_KEPT: "No partition lists a tenth less than before.",
    "refreshed_lately": "No partition is older than two days and two hours.",
}
_SOURCE_ANSWERS = (
    "The source has answered within TCIA_SOURCE_GONE_DAYS. The sensor evaluates it while there is "
    "no answer, and each refresh."
)


def checks_of(table: Table) -> list[Check]:
    """Return the checks of a table: of key, parents and readability, and those that it declares."""
    parents = (_parents_exist(table, parent) for parent in table.parents)
    # No value of a key is ever left out.
    is_readable = [_values_readable(table)] if table.endpoint and _has_more_than_key(table) else []
    return [_keys_unique(table), *parents, *is_readable, *table.checks]


def specs(table: Table, names: Names) -> list[dg.AssetCheckSpec]:
    """Return the checks of a table's asset."""
    return check_specs(names.key(table), descriptions(table))


def descriptions(table: Table) -> dict[str, str]:
    """Return what each check of a table's asset says, by its name."""
    declared = {check.name: check.description for check in checks_of(table)}
    answers = {SOURCE_ANSWERS: _SOURCE_ANSWERS} if table is catalog.COLLECTIONS else {}
    return declared | _FROM_EVENTS | answers


def results(
    context: dg.AssetExecutionContext, table: Table, names: Names, warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checks of a table that the run has selected.

    A check whose query fails counts as failed.
    """
    key = names.key(table)
    selected = selected_checks(context, key)
    yield from [_evaluate(c, key, warehouse) for c in checks_of(table) if c.name in selected]
    if SOURCE_ANSWERS in selected:
        yield check_result(key, SOURCE_ANSWERS, passed=True, is_error=True)
    if selected.isdisjoint(_FROM_EVENTS):
        return
    newest = _newest_events(key, context.instance)
    for result in (_rows_kept(key, newest), _refreshed_lately(key, newest)):
        if result.check_name in selected:
            yield result


def selected_checks(context: dg.AssetExecutionContext, key: dg.AssetKey) -> set[str]:
    """Return the names of an asset's checks in this run; Dagster refuses results of others."""
    return {check.name for check in context.selected_asset_check_keys if check.asset_key == key}


def check_specs(key: dg.AssetKey, descriptions: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """Return the checks of an asset, from their descriptions by name."""
    return [dg.AssetCheckSpec(n, asset=key, description=t) for n, t in descriptions.items()]


def check_result(
    key: dg.AssetKey,
    name: str,
    *,
    passed: bool,
    is_error: bool = False,
    description: str | None = None,
    **facts: Any,
) -> dg.AssetCheckResult:
    """Return the result of a check: a warning or an error if it failed, with facts as metadata."""
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=key,
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=facts,
    )


def _evaluate(check: Check, key: dg.AssetKey, warehouse: Warehouse) -> dg.AssetCheckResult:
    try:
        failing = warehouse.query(check.sql)
    except TciaError as error:
        problem = f"{error}; if a file is damaged, delete it and refresh its Collection"
        return check_result(key, check.name, passed=False, is_error=True, description=problem)
    examples = failing.slice(0, _MAX_EXAMPLES).to_pylist()
    shown = dg.MetadataValue.json([{k: str(v) for k, v in row.items()} for row in examples])
    facts = {"contradicting_rows": failing.num_rows, "examples": shown}
    is_good = not failing.num_rows
    return check_result(key, check.name, passed=is_good, is_error=check.is_error, **facts)


_Events = dict[str, tuple[float, dg.AssetMaterialization]]


def _newest_events(key: dg.AssetKey, instance: dg.DagsterInstance) -> _Events:
    """Return each partition's newest materialization, and its time, among the last thousand."""
    newest: _Events = {}
    for record in instance.fetch_materializations(key, limit=_MAX_EVENTS).records:
        event = record.asset_materialization
        if event is not None:
            newest.setdefault(str(event.partition), (record.timestamp, event))
    return newest


def _rows_kept(key: dg.AssetKey, newest: _Events) -> dg.AssetCheckResult:
    """Compare the number of rows before and after, recorded in the newest events."""
    counts = {partition: _counts(event) for partition, (_, event) in newest.items()}
    collapsed = {
        partition: {"before": before, "now": now}
        for partition, (before, now) in counts.items()
        if now < before * (1 - catalog.MAX_PLAUSIBLE_LOSS)
    }
    shown = dg.MetadataValue.json(collapsed)
    facts: dict[str, Any] = {"collapsed": shown, "partitions": len(newest)}
    return check_result(key, ROWS_KEPT, passed=not collapsed, **facts)


def _counts(event: dg.AssetMaterialization) -> tuple[int, int]:
    # Rows of `series` are never removed, so the listed Series are counted.
    return _count(event, "listed_before", "rows_before"), _count(
        event, "listed", "dagster/partition_row_count", "dagster/row_count"
    )


def _refreshed_lately(key: dg.AssetKey, newest: _Events) -> dg.AssetCheckResult:
    """Find old partitions; Dagster's freshness policy only sees the newest one of an asset."""
    now = time.time()
    old = {
        partition: round((now - at) / 3600)
        for partition, (at, _) in newest.items()
        if now - at > _STALE_AFTER_S
    }
    shown = dg.MetadataValue.json(old)
    facts: dict[str, Any] = {"hours_ago": shown, "partitions": len(newest)}
    return check_result(key, "refreshed_lately", passed=not old, **facts)


def _count(event: dg.AssetMaterialization, *names: str) -> int:
    found = (event.metadata[name].value for name in names if name in event.metadata)
    return int(str(next(found, 0)))


# --- Checks of key and parents ------------------------------------------------------------------


def _listed(names: tuple[str, ...], prefix: str = "") -> str:
    return ", ".join(prefix + sql.identifier(name) for name in names)


def _keys_unique(table: Table) -> Check:
    keys = _listed(table.key)
    exception = ", apart from Series that moved" if _follows_series(table) else ""
    # An object that cannot be read has a row whose whole key is null.
    condition = " OR ".join(f"{sql.identifier(name)} IS NOT NULL" for name in table.key)
    return Check(
        "keys_unique",
        f"No two rows of all partitions have the same {', '.join(table.key)}{exception}.",
        f"SELECT {keys}, count(*) AS rows FROM {_without_moved(table)} "
        f"WHERE {condition} GROUP BY {keys} HAVING count(*) > 1",
    )


def _without_moved(table: Table) -> str:
    """Return SQL for the rows of a table, without Series that moved to a different Collection."""
    name = sql.identifier(table.name)
    if not _follows_series(table):
        return name
    return (
        f"(SELECT * FROM {name} ANTI JOIN (SELECT Collection, SeriesInstanceUID FROM series "
        "WHERE moved_to IS NOT NULL) USING (Collection, SeriesInstanceUID))"
    )


def _follows_series(table: Table) -> bool:
    return table.key == catalog.SERIES.key and table.partitioned_by == catalog.SERIES.partitioned_by


def _parents_exist(table: Table, parent: Parent) -> Check:
    # A Series that is missing from its Collection needs no Study there, nor one stored alone.
    listed = f"(SELECT * FROM {catalog.COMPARED_SERIES} WHERE missing_since IS NULL)"
    child = listed if table is catalog.SERIES else sql.identifier(table.name)
    same = " AND ".join(f"c.{sql.identifier(n)} = p.{sql.identifier(n)}" for n in parent.on)
    condition = " AND ".join(f"c.{sql.identifier(n)} IS NOT NULL" for n in parent.on)
    return Check(
        f"{parent.table}_exist",
        f"Each row has a parent row in {parent.table}.",
        f"SELECT DISTINCT {_listed(parent.on, 'c.')} FROM {child} AS c "
        f"ANTI JOIN {sql.identifier(parent.table)} AS p ON {same} WHERE {condition}",
        # The source lists a Series of it: the reply with the parents was not whole.
        is_error=table is catalog.SERIES,
    )


# --- Values that cannot be read -------------------------------------------------------------------


def _has_more_than_key(table: Table) -> bool:
    return set(table.column_names) > set(table.key)


def _values_readable(table: Table) -> Check:
    return Check(
        VALUES_READABLE,
        "Each value that the source sent can be read; the others are null.",
        "SELECT Collection, column_name, row_key, value_text, first_seen_at "
        f"FROM {catalog.UNREADABLE_VALUES.name} WHERE table_name = {sql.literal(table.name)} "
        "ORDER BY first_seen_at DESC",
    )
