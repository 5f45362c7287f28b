"""Types of wire values: the SQL that turns texts into them, and what becomes of those it cannot.

Values are first read by a statement that fails at the first one that its dialect would not write.
Only then are they read again, by one that knows all forms of a date, and that returns null for each
value that is not of its column's kind, and its text beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTION, COLUMNS_BY_WIRE_NAME, DATE_FORMATS, TABLES
from tcia_assets.errors import BadValue, shorten
from tcia_assets.sources import UnreadableValues
from tcia_assets.spec import MAX_UID_LENGTH, UID_PATTERN, Column, Endpoint, ValueFormat
from tcia_assets.store import sql

# Marks our own error() among DuckDB's.
_MARK = "tcia-unreadable-value"
_UNREADABLE = "unreadable "
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

    It fails at a value that is not of its column's kind, or is a date in another than the declared
    form, and mostly at blanks around one; see `is_unreadable`. It is short, because planning it
    takes longer than reading a small reply.

    Args:
        source: SQL for rows of texts.
        endpoint: The endpoint that the rows came from.
        wire: How its dialect writes values.
        names: Fields of the rows.
    """

    def typed(name: str) -> str:
        x, kind = sql.identifier(name), COLUMNS_BY_WIRE_NAME[name].kind.name
        if kind == "text":
            return x
        if kind == "uid":
            return f"nullif({x}, '')"  # see `is_readable`
        parsed = value(kind, x, endpoint.value_format(name, wire), ())
        return _if(f"{x} <> ''", f"coalesce({parsed}, error({sql.literal(_MARK)}))")

    return f"SELECT {_named({_our_name(name): typed(name) for name in names})} FROM {source}"


def select_leniently(
    source: str, endpoint: Endpoint, wire: ValueFormat, names: Sequence[str]
) -> str:
    """Return a statement as `select` does, with null for values that are not of their kind.

    It takes twice as long. The texts of values that are null are in further columns, which
    `split_unreadable` takes apart.

    Args:
        source: SQL for rows of the wire types that `lenient_type` returns.
        endpoint: The endpoint that the rows came from.
        wire: How its dialect writes values.
        names: Fields of the rows.
    """
    columns = {}
    for name in names:
        x, ours = sql.identifier(name), _our_name(name)
        kind = COLUMNS_BY_WIRE_NAME[name].kind.name
        if kind == "text":
            is_nested = f"json_type({x}) IN ('OBJECT', 'ARRAY')"
            columns[ours] = _if(f"NOT {is_nested}", f"{x} ->> '$'")
            columns[_UNREADABLE + ours] = _if(is_nested, f"{x}::VARCHAR")
        else:
            is_uid = f"strlen({x}) <= {MAX_UID_LENGTH} AND {_is(x, UID_PATTERN)}"
            parsed = value(kind, x, endpoint.value_format(name, wire))
            parsed = _if(is_uid, x) if kind == "uid" else parsed
            columns[ours] = _if(f"{x} <> ''", parsed)
            columns[_UNREADABLE + ours] = _if(f"{x} <> '' AND ({parsed}) IS NULL", x)
    trimmed = ", ".join(_trimmed(name, COLUMNS_BY_WIRE_NAME[name]) for name in names)
    return f"SELECT {_named(columns)} FROM (SELECT {trimmed} FROM {source})"


def lenient_type(name: str) -> str:
    """Return the type in which `select_leniently` needs a wire field.

    As a text, an object in place of a text cannot be told from a text that looks like one.
    """
    return "JSON" if COLUMNS_BY_WIRE_NAME[name].kind.name == "text" else "VARCHAR"


def _our_name(wire_name: str) -> str:
    return COLUMNS_BY_WIRE_NAME[wire_name].name


def _named(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{text} AS {sql.identifier(name)}" for name, text in columns.items())


def _trimmed(name: str, column: Column) -> str:
    """Return SQL for a wire field without blanks around it; those of texts are kept."""
    raw = sql.identifier(name)
    if column.kind.name == "text":
        return raw
    # Look for blanks first: to trim a value that has none costs as much as to parse it.
    return f"CASE WHEN {_has_blanks(raw)} THEN trim({raw}) ELSE {raw} END AS {raw}"


def _has_blanks(x: str) -> str:
    return f"prefix({x}, ' ') OR suffix({x}, ' ')"


def value(kind: str, x: str, wire: ValueFormat, forms: Sequence[str] = DATE_FORMATS) -> str:
    """Return SQL for a text as a value of a kind; null if it is not one.

    Args:
        kind: The name of the kind.
        x: SQL for the text.
        wire: How its dialect writes values.
        forms: The forms in which a date may be beside that one.
    """
    # Some servers write big decimals with zeros behind their point.
    integer = f"TRY_CAST(split_part({x}, '.', 1) AS BIGINT)"
    number = f"TRY_CAST({x} AS DOUBLE)"
    meanings = {
        "uid": x,  # unchanged: `is_readable` is faster
        "day": f"{_instant(x, (wire.day, *forms))}::DATE",
        "instant": f"{_instant(x, (wire.instant, *forms))}::TIMESTAMPTZ",
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


def _instant(x: str, forms: Sequence[str]) -> str:
    """Return SQL for a date or time in any of these forms; null for the year 0.

    Python and Arrow's other readers have no year 0.
    """
    return f"CASE {' '.join(_when_parsed(x, form) for form in dict.fromkeys(forms))} END"


def _when_parsed(x: str, form: str) -> str:
    """Return a SQL branch for a text of exactly that form: `%Y` alone would accept two digits."""
    names = re.sub("%[ab]", "___", form)
    shape = re.sub("%[^Yf]", "__", names).replace("%f", "%")
    some, zero = (sql.literal(shape.replace("%Y", year)) for year in ("____", "0000"))
    parsed = x
    if form.endswith("%f"):
        # Java writes 1 to 9 digits of a second; 6 are kept, and rounding could change the day.
        cut = f"WHEN {_is(x, '.{26}[0-9]{1,3}')} THEN left({x}, 26)"
        parsed = f"(CASE WHEN strlen({x}) <= 26 THEN {x} {cut} END)"
    return (
        f"WHEN {x} LIKE {some} AND {x} NOT LIKE {zero} "
        f"THEN try_strptime({parsed}, {sql.literal(form)})"
    )


def is_unreadable(error: sql.SqlError) -> bool:
    """Return whether DuckDB's error is that of a statement of `select` for a value."""
    return _MARK in str(error)


def is_readable(table: pa.Table) -> bool:
    """Return whether the rest of the rows that `select` returned is as it should be.

    Arrow sees in half of the time of SQL whether a UID is one, and whether a text may have been an
    object or a list.
    """
    for name, values in zip(table.column_names, table.columns, strict=True):
        kind = COLUMNS_BY_WIRE_NAME[name].kind.name
        if kind == "uid":
            is_short = pc.less_equal(pc.binary_length(values), MAX_UID_LENGTH)
            fits = pc.and_(is_short, pc.match_substring_regex(values, f"^{UID_PATTERN}$"))
            if not pc.all(fits, min_count=0).as_py():
                return False
        elif kind == "text":
            may_be_nested = pc.or_(pc.starts_with(values, "{"), pc.starts_with(values, "["))
            if pc.any(may_be_nested, min_count=0).as_py():
                return False
    return True


def split_unreadable(
    found: pa.Table, endpoint: Endpoint, names: Sequence[str]
) -> tuple[pa.Table, dict[str, UnreadableValues]]:
    """Return the typed rows of `select_leniently`, and what is null in them for its wrong kind.

    Raises:
        BadValue: It is in a column without which a row is not identified.
    """
    table = found.select([_our_name(name) for name in names]).cast(schema(names))
    unreadable = {}
    for name in table.column_names:
        texts = found[_UNREADABLE + name]
        if texts.null_count < len(texts):
            mask = pc.is_valid(texts)
            values = len(texts) - texts.null_count + len(table) - table[name].null_count
            unreadable[name] = UnreadableValues(table.filter(mask), texts.filter(mask), values)
    for name in sorted(_identifying(endpoint) & unreadable.keys()):
        raise _bad_value(endpoint, name, unreadable[name])
    return table, unreadable


def _identifying(endpoint: Endpoint) -> set[str]:
    """Return the columns, by our names, of which no value can be left out."""
    found = {COLLECTION.name, _our_name(endpoint.columns[0])}
    for table in TABLES:
        if table.endpoint == endpoint.name:
            found |= {*table.key, *(c.name for c in table.columns if c.required)}
    return found


def _bad_value(endpoint: Endpoint, name: str, unreadable: UnreadableValues) -> BadValue:
    wrong = unreadable.texts[0].as_py()
    problem = f"{shorten(wrong, _LONGEST_SHOWN)!r} is not {COLUMNS_BY_WIRE_NAME[name].kind.rule}"
    key = unreadable.rows[0][0].as_py() or "without a key"
    return BadValue(problem, table=endpoint.name, column=name, value=wrong, key=key)
