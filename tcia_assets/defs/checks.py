"""Asset checks of the tables: what a person should look at after a refresh.

They report facts that are unusual but may be right. Rows that are wrong raise an error before they
are written (`store/conform.py`); a check comes after and does not protect what is stored. Checks
look at all partitions, since Dagster keeps no history of a check by partition. One that found
nothing is evaluated again when a file of its tables has changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.names import Names
from tcia_assets.errors import TciaError
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.spec import Check, Parent, Table
from tcia_assets.store import sql
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse

_MAX_EXAMPLES = 10
VALUES_READABLE = "values_readable"
ROWS_KEPT = "rows_kept"
SOURCE_ANSWERS = "source_answers"
_ROWS_KEPT = "No partition lists a tenth less than before."
_SOURCE_ANSWERS = (
    "The source has answered within TCIA_SOURCE_GONE_DAYS. The sensor evaluates it while there is "
    "no answer, and each refresh."
)


# Rows of `series` are never removed, so the listed Series are counted.
_LISTINGS_KEPT = Check(
    ROWS_KEPT,
    _ROWS_KEPT,
    "WITH newest AS (SELECT Collection, max_by(listed, taken_at) AS listed, "
    f"max_by(lost, taken_at) AS lost FROM {catalog.SNAPSHOTS.name} GROUP BY Collection) "
    "SELECT Collection, listed + lost AS before, listed AS now FROM newest "
    f"WHERE lost > (listed + lost) * {catalog.MAX_PLAUSIBLE_LOSS}",
)


def checks_of(table: Table) -> list[Check]:
    """Return the checks of a table: of key, parents and readability, and those that it declares."""
    parents = (_parents_exist(table, parent) for parent in table.parents)
    # No value of a key is ever left out.
    is_readable = [_values_readable(table)] if table.endpoint and _has_more_than_key(table) else []
    listings = [_LISTINGS_KEPT] if table is catalog.SERIES else []
    return [_keys_unique(table), *parents, *is_readable, *table.checks, *listings]


def specs(table: Table, names: Names) -> list[dg.AssetCheckSpec]:
    """Return the checks of a table's asset."""
    return check_specs(names.key(table), descriptions(table))


def descriptions(table: Table) -> dict[str, str]:
    """Return what each check of a table's asset says, by its name."""
    declared = {check.name: check.description for check in checks_of(table)}
    answers = {SOURCE_ANSWERS: _SOURCE_ANSWERS} if table is catalog.COLLECTIONS else {}
    kept = {ROWS_KEPT: _ROWS_KEPT} if table.endpoint else {}
    return declared | kept | answers


def results(
    context: dg.AssetExecutionContext, table: Table, names: Names, warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checks of a table that the run has selected.

    A check whose query fails counts as failed.
    """
    key = names.key(table)
    selected = selected_checks(context, key)
    queries = CleanQueries(warehouse)
    yield from (_evaluate(c, key, queries) for c in checks_of(table) if c.name in selected)
    if SOURCE_ANSWERS in selected:
        yield check_result(key, SOURCE_ANSWERS, passed=True, is_error=True)


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


def _evaluate(check: Check, key: dg.AssetKey, queries: CleanQueries) -> dg.AssetCheckResult:
    try:
        failing = queries.find(f"{key.path[-1]}.{check.name}", check.ordered_sql)
    except TciaError as error:
        # It may be of a different table, which the query reads; the error names file and remedy.
        problem = f"not evaluated: {error}"
        return check_result(key, check.name, passed=False, is_error=True, description=problem)
    examples = failing.slice(0, _MAX_EXAMPLES).to_pylist() if failing else []
    shown = dg.MetadataValue.json([{k: str(v) for k, v in row.items()} for row in examples])
    count = failing.num_rows if failing else 0
    facts: dict[str, Any] = {"contradicting_rows": count, "examples": shown}
    return check_result(key, check.name, passed=not count, is_error=check.is_error, **facts)


def rows_kept(
    context: dg.AssetExecutionContext, table: Table, names: Names, done: Iterable[RefreshResult]
) -> Iterator[dg.AssetCheckResult]:
    """Compare rows before and after a refresh, if any partition changed and the check is selected.

    That of `series` compares listings, which are stored, and is one of `checks_of`.
    """
    key = names.key(table)
    if table is catalog.SERIES or ROWS_KEPT not in selected_checks(context, key):
        return
    changed = [each for each in done if each.table is table and each.written.changed]
    collapsed = {
        each.key or table.name: {"before": each.rows_before, "now": each.written.rows}
        for each in changed
        if each.written.rows < each.rows_before * (1 - catalog.MAX_PLAUSIBLE_LOSS)
    }
    if changed:
        shown = dg.MetadataValue.json(collapsed)
        facts: dict[str, Any] = {"collapsed": shown, "partitions": len(changed)}
        yield check_result(key, ROWS_KEPT, passed=not collapsed, **facts)


# --- Checks of key and parents ------------------------------------------------------------------


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(sql.identifier, names))


def _keys_unique(table: Table) -> Check:
    keys = _listed(table.key)
    exception = ", apart from Series that moved" if _follows_series(table) else ""
    chosen = f"hash({keys}) IN ({_repeated_numbers(table)})"
    if table.summary:  # An object that cannot be read has no key there; null is in no list.
        chosen = f"{keys} IN (SELECT {keys} FROM {_shared_rows(table)})"
    return Check(
        "keys_unique",
        f"No two rows of all partitions have the same {', '.join(table.key)}{exception}.",
        f"SELECT {keys}, count(*) AS rows FROM {_without_moved(table)} "
        f"WHERE {chosen} GROUP BY {keys} HAVING count(*) > 1",
    )


def _repeated_numbers(table: Table) -> str:
    """Return SQL for the numbers of keys that occur twice: all keys would be held as texts.

    Where there is none, DuckDB reads no row again.
    """
    number = f"hash({_listed(table.key)})"
    name = sql.identifier(table.name)
    return f"SELECT {number} FROM {name} GROUP BY {number} HAVING count(*) > 1"


def _shared_rows(table: Table) -> str:
    """Return SQL for the rows that may have the key of a row of a different partition.

    They were looked for when they were written, so that nobody groups all rows of the table.
    Within a partition no key is repeated.
    """
    return (
        f"{sql.identifier(table.name)} SEMI JOIN (SELECT Collection, SeriesInstanceUID "
        f"FROM {table.summary} WHERE shared_count > 0) USING (Collection, SeriesInstanceUID)"
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
    child = listed if table is catalog.SERIES else sql.identifier(table.summary or table.name)
    names = _listed(parent.on)
    condition = " AND ".join(f"{sql.identifier(n)} IS NOT NULL" for n in parent.on)
    if parent.table == catalog.COLLECTIONS.name:  # what was imported is in no source's list
        condition += f" AND Collection NOT IN (SELECT Collection FROM {catalog.IMPORTS.name})"
    return Check(
        f"{parent.table}_exist",
        f"Each row has a parent row in {parent.table}.",
        # By numbers, of which a set takes less than texts. That a missing parent has the number of
        # any other happens once in 10^14 times.
        f"SELECT DISTINCT {names} FROM {child} AS child ANTI JOIN "
        f"(SELECT hash({names}) AS number FROM {sql.identifier(parent.table)}) AS parent "
        f"ON hash({names}) = parent.number WHERE {condition}",
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
        f"FROM {catalog.UNREADABLE_VALUES.name} WHERE table_name = {sql.literal(table.name)}",
        order="first_seen_at DESC, Collection, column_name, row_key",
    )
