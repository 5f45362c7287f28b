"""Values that the source sent and that cannot be read: their table, and when they are too many.

Such a value is null in its table and has a row of `unreadable_values`. Many of them in one column
mean that the column is read in a wrong way; then the partition is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import MAX_UNREADABLE_TEXT, SHARED_LISTS, UNREADABLE_VALUES
from tcia_assets.errors import BadValue, shorten
from tcia_assets.metadata.schema_change import accept_hint
from tcia_assets.sources import SourceRows, UnreadableValues
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse

# A column is refused if more of its values cannot be read than both of these.
MAX_VALUES, MAX_SHARE = 5, 0.01
_LONGEST_SHOWN = 80


def unreadable_rows(
    table: Table, key: str, reply: SourceRows, at: datetime, *, accept: bool = False
) -> pa.Table:
    """Return the rows of `unreadable_values` for a reply.

    Args:
        table: The table that the reply is for.
        key: Its partition.
        reply: The reply, as it was read.
        at: When it was requested.
        accept: Accept any number of unreadable values.

    Raises:
        BadValue: There are too many in a column.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, values in reply.unreadable.items():
        if name not in table.column_names:
            continue
        count = len(values.texts)
        if count > MAX_VALUES and count > MAX_SHARE * values.values and not accept:
            raise _too_many(table, key, name, values)
        for row, text in zip(values.rows.to_pylist(), values.texts.to_pylist(), strict=True):
            row |= {table.partitioned_by: key}
            row_key = row_key_of(table, row)
            collection = row.get("Collection")
            if collection is None:
                problem = f"is null in a row whose {name} cannot be read"
                raise BadValue(problem, table=table.name, column="Collection", key=row_key)
            found[name, row_key] = {
                "Collection": collection,
                "table_name": table.name,
                "column_name": name,
                "row_key": row_key,
                "value_text": text[:MAX_UNREADABLE_TEXT],
                "first_seen_at": at,
                "last_value_text": None,
            }
    return pa.Table.from_pylist(list(found.values()), schema=UNREADABLE_VALUES.schema)


def row_key_of(table: Table, row: Mapping[str, Any]) -> str:
    """Return the `row_key` of a table's row."""
    return json.dumps({name: row.get(name) for name in table.key}, ensure_ascii=False)


def _too_many(table: Table, key: str, name: str, values: UnreadableValues) -> BadValue:
    text = values.texts[0].as_py()
    row = values.rows.slice(0, 1).to_pylist()[0] | {table.partitioned_by: key}
    return BadValue(
        f"{len(values.texts)} of {values.values} values cannot be read: each should be "
        f"{table.column(name).kind.rule}, and one is {shorten(text, _LONGEST_SHOWN)!r}; do "
        f"the settings (TCIA_DIALECT, TCIA_IDC_INDEX) match the source? {accept_hint(table, key)}",
        table=table.name,
        column=name,
        value=text,
        key=row_key_of(table, row),
    )


# --- The table ------------------------------------------------------------------------------------


def record_unreadable(
    table: Table,
    key: str,
    rows: pa.Table,
    warehouse: Warehouse,
    is_received: Callable[[str], bool] = lambda _row_key: True,
) -> None:
    """Make these the only rows of `unreadable_values` for what was received of a partition.

    A value that was there before keeps its `first_seen_at`. To be called before the partition is
    written: what it still stores is the last value that could be read.

    Args:
        table: The table.
        key: Its partition.
        rows: The rows, as `unreadable_rows` returns them.
        warehouse: Where they are stored.
        is_received: Whether a row with this `row_key` was received, as all are by default. Others
            keep what was recorded of them.
    """
    by_collection: dict[str, list[dict[str, Any]]] = {
        name: [] for name in _collections_of(table, key, warehouse)
    }
    stored = _stored_values(table, key, rows, warehouse)
    for row in rows.to_pylist():
        row["last_value_text"] = stored.get((row["column_name"], row["row_key"]))
        by_collection.setdefault(row["Collection"], []).append(row)
    for name, new in by_collection.items():
        _replace(table, key, name, new, warehouse, is_received)


def _stored_values(
    table: Table, key: str, rows: pa.Table, warehouse: Warehouse
) -> dict[tuple[str, str], str]:
    """Return the stored values of these columns and rows as text, by column and `row_key`."""
    if not rows.num_rows:
        return {}
    stored, wanted = warehouse.read_or_empty(table, key), set(rows["row_key"].to_pylist())
    keys = [row_key_of(table, row) for row in stored.select(table.key).to_pylist()]
    return {
        (name, row_key): text
        for name in set(rows["column_name"].to_pylist())
        if not pa.types.is_nested(stored.schema.field(name).type)
        # Arrow knows dates that Python has not: earlier versions stored the year 0.
        for row_key, text in zip(keys, stored[name].cast(pa.string()).to_pylist(), strict=True)
        if row_key in wanted and text is not None
    }


def _collections_of(table: Table, key: str, warehouse: Warehouse) -> Sequence[str]:
    """Return the partitions that may have rows about a partition of the table."""
    stored = [key] if table is not SHARED_LISTS else warehouse.keys(UNREADABLE_VALUES)
    return [name for name in stored if name and warehouse.has(UNREADABLE_VALUES, name)]


def _replace(
    table: Table,
    key: str,
    collection: str,
    new: list[dict[str, Any]],
    warehouse: Warehouse,
    is_received: Callable[[str], bool],
) -> None:
    with warehouse.update(UNREADABLE_VALUES, collection) as partition:
        before = partition.rows.to_pylist()
        old = {
            (row["column_name"], row["row_key"]): row
            for row in before
            if row["table_name"] == table.name
            and is_received(row["row_key"])
            and _is_in_partition(table, key, row)
        }
        for row in new:
            known = old.get((row["column_name"], row["row_key"]), row)
            row["first_seen_at"] = known["first_seen_at"]
            # In the stored rows it is null since then.
            row["last_value_text"] = row["last_value_text"] or known["last_value_text"]
        if {_identity(row) for row in old.values()} != {_identity(row) for row in new}:
            replaced = {id(row) for row in old.values()}
            kept = [row for row in before if id(row) not in replaced]
            partition.rows = pa.Table.from_pylist([*kept, *new], schema=UNREADABLE_VALUES.schema)


def _identity(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["column_name"], row["row_key"], row["value_text"]


def _is_in_partition(table: Table, key: str, row: Mapping[str, Any]) -> bool:
    """Return whether a row is about this partition: only lists share the partitions of others."""
    by = table.partitioned_by
    return table is not SHARED_LISTS or json.loads(row["row_key"]).get(by) == key


def describe_unreadable(
    warehouse: Warehouse, collections: Iterable[str], lists: Collection[str] = ()
) -> str:
    """Return a line about the unreadable values of Collections and shared lists; "" if none."""
    wanted, found = set(collections), []
    for name in warehouse.keys(UNREADABLE_VALUES):
        if lists or name in wanted:
            for row in warehouse.read(UNREADABLE_VALUES, [name]).to_pylist():
                is_list = row["table_name"] == SHARED_LISTS.name
                is_shown = (
                    json.loads(row["row_key"])[SHARED_LISTS.partitioned_by] in lists
                    if is_list
                    else name in wanted
                )
                found += [row] if is_shown else []
    return describe(found)


def describe(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line about rows of `unreadable_values`: how many, and the first; "" if none."""
    if not rows:
        return ""
    first = rows[0]
    values = (
        "1 value cannot be read and is"
        if len(rows) == 1
        else (f"{len(rows)} values cannot be read and are")
    )
    return (
        f"{values} null, such as {shorten(first['value_text'], _LONGEST_SHOWN)!r} in "
        f"{first['table_name']}.{first['column_name']} of {shorten(first['row_key'])}; "
        f"see the table {UNREADABLE_VALUES.name}"
    )
