"""Types of wire values: the SQL that turns texts into them, and the errors if it cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, DATE_FORMATS
from tcia_assets.errors import BadValue
from tcia_assets.spec import MAX_UID_LENGTH, UID_PATTERN, Column, Endpoint, ValueFormat
from tcia_assets.store import sql

# Marks our own error() among DuckDB's; servers never send \x1f in a text.
_MARK = "tcia-bad-value"
_SEPARATOR = "\x1f"
_LONGEST_SHOWN = 80


def schema(names: Sequence[str]) -> pa.Schema:
    """Return the schema of the columns that these wire fields become."""
    return pa.schema(
        [
            (COLUMNS_BY_WIRE_NAME[name].name, COLUMNS_BY_WIRE_NAME[name].kind.arrow_type)
            for name in names
        ]
    )


def select(source: str, endpoint: Endpoint, wire: ValueFormat, names: Sequence[str]) -> str:
    """Return a statement for the typed values of wire fields, under our names.

    The first field is the key that an error names.

    Args:
        source: SQL for rows of texts.
        endpoint: The endpoint that the rows came from.
        wire: How its dialect writes values.
        names: Fields of the rows.
    """
    key = sql.identifier(names[0])
    values = ", ".join(
        f"{_typed(name, COLUMNS_BY_WIRE_NAME[name], endpoint.value_format(name, wire), key)} AS "
        f"{sql.identifier(COLUMNS_BY_WIRE_NAME[name].name)}"
        for name in names
    )
    trimmed = ", ".join(_trimmed(name, COLUMNS_BY_WIRE_NAME[name]) for name in names)
    return f"SELECT {values} FROM (SELECT {trimmed} FROM {source})"


def _trimmed(name: str, column: Column) -> str:
    """Return SQL for a wire field without blanks around it; those of texts are kept."""
    raw = sql.identifier(name)
    if column.kind.name == "text":
        return raw
    # Look for blanks first: to trim a value that has none costs as much as to parse it.
    has_blanks = f"prefix({raw}, ' ') OR suffix({raw}, ' ')"
    return f"CASE WHEN {has_blanks} THEN trim({raw}) ELSE {raw} END AS {raw}"


def _typed(name: str, column: Column, wire: ValueFormat, key: str) -> str:
    """Return SQL for the value of a trimmed field, or an error with column, value and key."""
    x = sql.identifier(name)
    if column.kind.name == "text":
        return x
    facts = sql.literal(f"{_MARK}{_SEPARATOR}{column.name}{_SEPARATOR}")
    problem = f"error({facts} || {x} || chr(31) || coalesce({key}, '(no key)'))"
    return _if(f"{x} <> ''", f"coalesce({value(column.kind.name, x, wire)}, {problem})")


def value(kind: str, x: str, wire: ValueFormat) -> str:
    """Return SQL for a text as a value of a kind; null if it is not one."""
    # Some servers write big decimals with zeros behind their point.
    integer = f"TRY_CAST(split_part({x}, '.', 1) AS BIGINT)"
    number = f"TRY_CAST({x} AS DOUBLE)"
    meanings = {
        "uid": x,  # unchanged: `check_uids` is faster
        "day": f"{_instant(x, wire.day)}::DATE",
        "instant": f"{_instant(x, wire.instant)}::TIMESTAMPTZ",
        "whole": _if(_is(x, "-?[0-9]+([.]0*)?"), integer),
        "count": _if(_is(x, "[0-9]+([.]0*)?"), integer),
        "size": _if(_is(x, "[0-9]+([.]0*)?"), integer),
        "number": _if(f"isfinite({number})", number),
        "flag": f"CASE WHEN lower({x}) IN ('true', '1', 'yes') THEN true "
        f"WHEN lower({x}) IN ('false', '0', 'no') THEN false END",
    }
    return meanings[kind]


def _if(condition: str, then: str) -> str:
    return f"CASE WHEN {condition} THEN {then} END"


def _is(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {sql.literal(pattern)})"


def _instant(x: str, declared: str) -> str:
    """Return SQL for a date or time in any known form; null for the year 0.

    The declared form is tried first, because nearly all values have it. Python and Arrow's other
    readers have no year 0.
    """
    forms = dict.fromkeys((declared, *DATE_FORMATS))
    parsed = f"CASE {' '.join(_when_parsed(x, form) for form in forms)} END"
    return _if(f"{x} NOT LIKE '%0000%' OR year({parsed}) > 0", parsed)


def _when_parsed(x: str, form: str) -> str:
    """Return a SQL branch for a text of exactly that form: `%Y` alone would accept two digits."""
    names = re.sub("%[ab]", "___", form)
    shape = re.sub("%[^Yf]", "__", names).replace("%Y", "____").replace("%f", "%")
    parsed = x
    if form.endswith("%f"):
        # Java writes 1 to 9 digits of a second; 6 are kept, and rounding could change the day.
        cut = f"WHEN {_is(x, '.{26}[0-9]{1,3}')} THEN left({x}, 26)"
        parsed = f"(CASE WHEN strlen({x}) <= 26 THEN {x} {cut} END)"
    return f"WHEN {x} LIKE {sql.literal(shape)} THEN try_strptime({parsed}, {sql.literal(form)})"


def check_uids(table: pa.Table, endpoint: Endpoint) -> None:
    """Raise BadValue if a UID is not one; Arrow checks this in half of the time of SQL."""
    for name in table.column_names:
        if COLUMNS_BY_WIRE_NAME[name].kind.name == "uid":
            uids = table[name]
            is_short = pc.less_equal(pc.binary_length(uids), MAX_UID_LENGTH)
            fits = pc.and_(is_short, pc.match_substring_regex(uids, f"^{UID_PATTERN}$"))
            if not pc.all(fits, min_count=0).as_py():
                row = pc.index(fits, value=False).as_py()
                key = table[0][row].as_py() or "(no key)"
                raise _bad_value(endpoint, name, uids[row].as_py(), key)


def raise_bad_value(error: sql.SqlError, endpoint: Endpoint) -> None:
    """Raise BadValue if DuckDB's error is one that the SQL of `select` raised."""
    _, mark, facts = str(error).partition(_MARK)
    if mark:
        _, name, wrong, key = facts.split(_SEPARATOR, 3)
        raise _bad_value(endpoint, name, wrong, key) from error


def _bad_value(endpoint: Endpoint, name: str, wrong: str, key: str) -> BadValue:
    shown = wrong if len(wrong) <= _LONGEST_SHOWN else f"{wrong[:_LONGEST_SHOWN]}..."
    problem = f"{shown!r} is not {COLUMNS_BY_WIRE_NAME[name].kind.rule}"
    return BadValue(problem, table=endpoint.name, column=name, value=wrong, key=key)
