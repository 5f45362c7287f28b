"""The values of an index release: the SQL that types them, and what becomes of those it cannot.

Beside a column that is not a text, the database has one with the texts that are not of its kind;
the first of a row's keys without a good value is named in a column too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IDC_HTML, IDC_READ, MAX_DESCRIPTION, SERIES
from tcia_assets.sources import UnreadableValues
from tcia_assets.sources.html_text import plain_text
from tcia_assets.spec import MAX_UID_LENGTH, UID_PATTERN, IndexRows, Table
from tcia_assets.store import sql
from tcia_assets.store.conform import replace_column

REFUSED = "refused key"
_UNREADABLE = "unreadable "
# Our types in SQL, and which of their values are meant.
_SQL = {
    "day": ("DATE", "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"),
    "whole": ("BIGINT", "IS NOT NULL"),
    "count": ("BIGINT", ">= 0"),
    "size": ("BIGINT", ">= 0"),
}
_KEYS = ("Collection", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")
_AGGREGATE = re.compile(r"min\((\w+)\)")


def select(values: Mapping[str, str], origin: str) -> str:
    """Return a statement for expressions, by the names of their columns."""
    named = ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    return f"SELECT {named} FROM {origin}"


def typed(rows: IndexRows) -> dict[str, str]:
    """Return each column's typed value, and its text where it is not of the column's kind."""
    values = {}
    for name, value in rows.columns.items():
        kind = rows.table.column(name).kind.name
        if kind not in _SQL:
            values[name] = f"({value})::VARCHAR"
            continue
        type_name, meant = _SQL[kind]
        cast = f"try_cast({value} AS {type_name})"
        values[name] = f"CASE WHEN {cast} {meant} THEN {cast} END"
        text = f"nullif(({value})::VARCHAR, '')"
        values[_UNREADABLE + name] = f"CASE WHEN ({values[name]}) IS NULL THEN {text} END"
    return values


def texts_of_unreadable(rows: IndexRows) -> dict[str, str]:
    """Return the columns with the texts of values that cannot be read, as they are selected."""
    if rows.table in IDC_READ:
        return {name: f'"{name}"' for name in typed(rows) if name.startswith(_UNREADABLE)}
    texts, readable = {}, typed(IDC_READ[SERIES])
    for name, value in rows.columns.items():
        aggregate = _AGGREGATE.fullmatch(value)
        text = _UNREADABLE + (aggregate[1] if aggregate else value)
        if text in readable:
            of_all = f'CASE WHEN {value} IS NULL THEN min("{text}") END'
            texts[_UNREADABLE + name] = of_all if aggregate else f'"{text}"'
    return texts


def refused_key(rows: IndexRows) -> str:
    """Return SQL for the name of the first key without a good value; null if all are good."""
    cases = []
    for name in _KEYS:
        value = f"({rows.columns[name]})::VARCHAR"
        good = f"{value} <> ''"
        if name.endswith("UID"):
            pattern = sql.literal(UID_PATTERN)
            good = f"length({value}) <= {MAX_UID_LENGTH} AND regexp_full_match({value}, {pattern})"
        cases.append(f"WHEN NOT coalesce({good}, false) THEN {sql.literal(name)}")
    return f"CASE {' '.join(cases)} END"


def split_unreadable(found: pa.Table, names: Sequence[str]) -> dict[str, UnreadableValues]:
    """Return what is null in the rows because it is not of its column's kind, by column."""
    unreadable = {}
    for name in names:
        if _UNREADABLE + name not in found.column_names:
            continue
        texts = found[_UNREADABLE + name]
        if texts.null_count < len(texts):
            mask = pc.is_valid(texts)
            values = len(texts) - texts.null_count + len(texts) - found[name].null_count
            rows = found.select([*names]).filter(mask)
            unreadable[name] = UnreadableValues(rows, texts.filter(mask), values)
    return unreadable


def without_html(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows with plain text in the columns that may have HTML."""
    for name in IDC_HTML.get(table, ()):
        texts = [plain_text(html or "", MAX_DESCRIPTION) or None for html in rows[name].to_pylist()]
        rows = replace_column(rows, name, pa.array(texts, pa.string()))
    return rows
