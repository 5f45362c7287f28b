"""Faults in rows: change the query of a reply, its columns or its encoding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.reply_formats import Field
from tcia_assets.store import sql

_COUNTS = {"ImageCount", "ObjectCount"}

Columns = tuple[Field, ...]


def rows_with_fault(fault: Fault, statement: str) -> str:
    """Return the SELECT statement of a reply's rows, changed by the fault."""
    if fault.kind == "duplicate_rows":
        return f"SELECT rows_.* FROM ({statement}) AS rows_ CROSS JOIN range(2)"
    if fault.kind == "null_row":
        rows = f"({statement}) AS rows_"
        return (
            f"SELECT rows_.* FROM {rows} "
            f"UNION ALL SELECT rows_.* FROM (SELECT 1) LEFT JOIN {rows} ON false"
        )
    if fault.kind == "bad_value":
        # Numbered by their values, so that it is the same row each time.
        number = "row_number() OVER (ORDER BY rows_::VARCHAR)"
        return f"SELECT rows_.*, {number} AS row_ FROM ({statement}) AS rows_"
    return statement


def columns_with_fault(fault: Fault, columns: Columns, *, as_json: bool) -> Columns:
    """Return the columns of a reply, changed by the fault."""
    return tuple(_field_with_fault(fault, each, as_json=as_json) for each in columns)


def _field_with_fault(fault: Fault, field: Field, *, as_json: bool) -> Field:
    if fault.kind == "wrong_count" and field.wire_name in _COUNTS:
        return replace(field, expression=f"{field.expression} + {fault.images}")
    if field.wire_name != fault.column:
        return field
    if fault.kind == "renamed_column":
        return replace(field, wire_name=fault.value)
    if fault.kind == "bad_value":
        # The text of a number is written to JSON without quotes, so they are added here.
        bad = json.dumps(fault.value) if as_json and field.is_number else fault.value
        is_bad = f"row_ <= {fault.rows:d}"
        bad_first = (
            f"CASE WHEN {is_bad} THEN {sql.literal(bad)} ELSE ({field.expression})::VARCHAR END"
        )
        return replace(field, expression=bad_first)
    return field


def in_latin1(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Encode the text as the archive's database does."""
    return (chunk.decode().encode("latin-1", "replace") for chunk in chunks)
