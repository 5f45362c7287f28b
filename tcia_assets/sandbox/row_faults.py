"""Rows that are not what was asked for: the faults that change a question or its columns."""

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
    """The statement that gives a reply's rows, with that fault in it."""
    if fault.kind == "duplicate_rows":
        return f"SELECT rows_.* FROM ({statement}) AS rows_ CROSS JOIN range(2)"
    if fault.kind == "bad_value":
        return f"SELECT *, row_number() OVER () AS row_ FROM ({statement})"
    return statement


def columns_with_fault(fault: Fault, columns: Columns, *, as_json: bool) -> Columns:
    """The columns of a reply, with that fault in them."""
    return tuple(_spoiled(fault, each, as_json=as_json) for each in columns)


def _spoiled(fault: Fault, field: Field, *, as_json: bool) -> Field:
    if fault.kind == "wrong_count" and field.wire in _COUNTS:
        return replace(field, expression=f"{field.expression} + {fault.images}")
    if field.wire != fault.column:
        return field
    if fault.kind == "renamed_column":
        return replace(field, wire=fault.value)
    if fault.kind == "bad_value":
        # a number's text stands in the JSON as it is
        bad = json.dumps(fault.value) if as_json and field.is_number else fault.value
        first = f"CASE WHEN row_ = 1 THEN {sql.literal(bad)} ELSE ({field.expression})::VARCHAR END"
        return replace(field, expression=first)
    return field


def in_latin1(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in the encoding of the archive's database."""
    return (chunk.decode().encode("latin-1", "replace") for chunk in chunks)
