"""Replies of the archive, read once: wire names, types and nulls end here.

What belongs here: a reply's body in any of its four formats -> a typed Arrow table with our column
names. What does not: asking (`client`), and what a table demands of its rows (`conform.py`).

JSON is read by DuckDB straight from the file, in one pass: 230,000 Series in less than a second.
The other formats are for cross-checks; they are turned into JSON rows first, so that there is one
way in which a value gets its type.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ARRIVING
from tcia_assets.errors import BadValue, UnreadableReply
from tcia_assets.sources.nbia.formats import beginning, decode, rows_in
from tcia_assets.spec import Column, Endpoint, Wire
from tcia_assets.store import sql

# Marks our own error() among DuckDB's; \x1f cannot occur in what the archive sends as text.
_MARK = "tcia-bad-value"
_BORDER = "\x1f"
_UID, _LONGEST_UID = r"^[0-9]+([.][0-9]+)*$", 64
_NONE_OF_ITS_FIELDS = "rows with none of its fields"
_LONGEST_SHOWN = 80
_CHUNK = 1 << 20
LARGE = 1 << 24
_SMALL = 1 << 19


@dataclass(frozen=True)
class Rows:
    """What a reply held: the typed columns, and the wire fields that no column claims."""

    table: pa.Table
    unclaimed: tuple[str, ...]


def read(body: Path, endpoint: Endpoint, wire: Wire, *, form: str = "json", url: str = "") -> Rows:
    """The rows of a reply, in the order of the body; columns that no row has are left out.

    Raises UnreadableReply where the body is not a list of rows of that endpoint, BadValue where a
    value is not of its column's kind; the body is kept.
    """
    if form != "json":
        body = _as_json(body, endpoint, form, url)
    _demand_array(body, url)
    with _database_for(body) as connection:
        try:
            return _read_json(connection, body, endpoint, wire, url)
        except sql.SqlError as error:
            _raise_bad_value(error, endpoint)
            if not _is_utf8(body):
                return read(_transcoded(body), endpoint, wire, url=url)
            raise UnreadableReply(
                f"{endpoint.name}: not a list of rows", url=url, excerpt=_excerpt(body)
            ) from error


def _database_for(body: Path) -> sql.Connection:
    if body.stat().st_size <= LARGE:
        return sql.scratch()
    # A large reply has one of its own: what that took goes back to the system when it is closed.
    connection = sql.connect()
    connection.execute("SET threads = 1")  # one array is read by one; others would only wait
    return connection


def empty(endpoint: Endpoint) -> Rows:
    """No rows, with the columns that the endpoint declares."""
    return Rows(_schema(endpoint.columns).empty_table(), ())


def untyped(
    body: bytes, endpoint: Endpoint, *, form: str = "json", url: str = ""
) -> list[dict[str, object]]:
    """The rows of a small reply as they travel: wire names, and values that have no type yet.

    Raises UnreadableReply where the body is not a list of rows.
    """
    text, problem = decode(body), "not a list of rows"
    try:
        rows: object = json.loads(text) if form == "json" else rows_in(text, form, endpoint.columns)
    except (ValueError, RecursionError) as error:
        rows, problem = None, str(error)
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        seen = set().union(*rows)
        if not seen or _claimed(seen, endpoint):
            return rows
        problem = _NONE_OF_ITS_FIELDS
    raise UnreadableReply(f"{endpoint.name}: {problem}", url=url, excerpt=beginning(body))


# --- Which fields ---------------------------------------------------------------------------------


def _read_json(
    connection: sql.Connection, body: Path, endpoint: Endpoint, wire: Wire, url: str
) -> Rows:
    table, fields = _selected_and_counted(connection, body, endpoint, wire)
    present = [name for name in table.column_names if table[name].null_count < table.num_rows]
    filled = sum(table.num_rows - column.null_count for column in table.columns)
    if filled == fields:
        # Rows may be all null: `[{}]` is how nbia-v1 says that it knows no size.
        return Rows(table.select(present) if present else table, ())
    seen = _names_in(connection, body)
    names = _claimed(seen, endpoint)
    if not names:
        problem = f"{endpoint.name}: {_NONE_OF_ITS_FIELDS}"
        raise UnreadableReply(problem, url=url, excerpt=_excerpt(body))
    table = _select(connection, body, endpoint, wire, names)
    return Rows(table, tuple(sorted(seen - set(names))))


def _selected_and_counted(
    connection: sql.Connection, body: Path, endpoint: Endpoint, wire: Wire
) -> tuple[pa.Table, int]:
    if body.stat().st_size <= _SMALL:
        # To start a thread takes longer than to count.
        return _select(connection, body, endpoint, wire, endpoint.columns), _fields_in(body)
    with ThreadPoolExecutor(1) as beside:
        counted = beside.submit(_fields_in, body)
        return _select(connection, body, endpoint, wire, endpoint.columns), counted.result()


def _fields_in(body: Path) -> int:
    """How many fields all rows have, those within texts included.

    Counting is many times as fast as parsing, and enough to see that no field was left out: DuckDB
    drops fields that it was not asked for, and those of another case, without a word.
    """
    found, cut = 0, False
    with body.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found += chunk.count(b'":') + (cut and chunk.startswith(b":"))
            cut = chunk.endswith(b'"')
    return found


def _names_in(connection: sql.Connection, body: Path) -> set[str]:
    found = connection.execute(
        "SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects(?, format = 'array')",
        [str(body)],
    )
    return {name for (name,) in found.fetchall()}


def _claimed(seen: set[str], endpoint: Endpoint) -> list[str]:
    """The spellings to read: the declared ones that are there, then those of other dialects."""
    claimed = [name for name in endpoint.columns if name in seen]
    missing = {ARRIVING[n].name for n in endpoint.columns} - {ARRIVING[n].name for n in claimed}
    for name in sorted(seen & ARRIVING.keys()):
        if ARRIVING[name].name in missing:
            claimed.append(name)
            missing.remove(ARRIVING[name].name)
    return claimed


# --- What they hold -------------------------------------------------------------------------------


def _select(
    connection: sql.Connection, body: Path, endpoint: Endpoint, wire: Wire, names: Sequence[str]
) -> pa.Table:
    """The fields of those wire names, typed and under our names."""
    key = sql.identifier(names[0])
    values = ", ".join(
        f"{_typed(name, ARRIVING[name], endpoint.wire(name, wire), key)} AS "
        f"{sql.identifier(ARRIVING[name].name)}"
        for name in names
    )
    bare = ", ".join(_bare(name, ARRIVING[name]) for name in names)
    # As text, so that this module and not the JSON reader decides what a value of each kind is.
    fields = ", ".join(f"{sql.literal(name)}: 'VARCHAR'" for name in names)
    source = (
        f"read_json({sql.literal(str(body))}, columns = {{{fields}}}, format = 'array', "
        "records = 'true', hive_partitioning = false)"
    )
    statement = f"SELECT {values} FROM (SELECT {bare} FROM {source})"
    table = sql.fetch_table(connection, statement).cast(_schema(names))
    _demand_uids(table, endpoint)
    return table


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(ARRIVING[name].name, ARRIVING[name].kind.arrow) for name in names])


def _bare(name: str, column: Column) -> str:
    """SQL for a wire field without blanks around it, but for texts: theirs are kept."""
    raw = sql.identifier(name)
    if column.kind.name == "text":
        return raw
    # Looking for blanks first: to trim what has none costs as much as to parse it.
    has_blanks = f"prefix({raw}, ' ') OR suffix({raw}, ' ')"
    return f"CASE WHEN {has_blanks} THEN trim({raw}) ELSE {raw} END AS {raw}"


def _typed(name: str, column: Column, wire: Wire, key: str) -> str:
    """SQL for the value of a bare wire field, or an error that names column, value and key."""
    bare = sql.identifier(name)
    if column.kind.name == "text":
        return bare
    facts = sql.literal(f"{_MARK}{_BORDER}{column.name}{_BORDER}")
    problem = f"error({facts} || {bare} || chr(31) || coalesce({key}, '(no key)'))"
    return _if(f"{bare} <> ''", f"coalesce({_value(column.kind.name, bare, wire)}, {problem})")


def _value(kind: str, x: str, wire: Wire) -> str:
    """SQL for a text as a value of a kind; null where it is not one."""
    # Big decimals are printed with zeros behind their point.
    integer = f"TRY_CAST(split_part({x}, '.', 1) AS BIGINT)"
    number = f"TRY_CAST({x} AS DOUBLE)"
    meanings = {
        "uid": x,  # as it is: `_demand_uids` looks at it
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


def _if(condition: str, value: str) -> str:
    return f"CASE WHEN {condition} THEN {value} END"


def _is(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {sql.literal(pattern)})"


def _instant(x: str, form: str) -> str:
    """SQL for a text of exactly that form: `%Y` alone would take a year of two digits."""
    names = re.sub("%[ab]", "___", form)
    shape = re.sub("%[^Yf]", "__", names).replace("%Y", "____").replace("%f", "%")
    if form.endswith("%f"):
        # Java prints 1 to 9 digits of a second; 6 are kept, and rounding could change the day.
        cut = f"WHEN {_is(x, '.{26}[0-9]{1,3}')} THEN left({x}, 26)"
        x = f"(CASE WHEN strlen({x}) <= 26 THEN {x} {cut} END)"
    return _if(f"{x} LIKE {sql.literal(shape)}", f"try_strptime({x}, {sql.literal(form)})")


def _demand_uids(table: pa.Table, endpoint: Endpoint) -> None:
    """Raises BadValue where a UID is none; Arrow finds out in half of the time that SQL takes."""
    for name in table.column_names:
        if ARRIVING[name].kind.name == "uid":
            uids = table[name]
            is_short = pc.less_equal(pc.binary_length(uids), _LONGEST_UID)
            fits = pc.and_(is_short, pc.match_substring_regex(uids, _UID))
            if not pc.all(fits, min_count=0).as_py():
                place = pc.index(fits, value=False).as_py()
                key = table[0][place].as_py() or "(no key)"
                raise _bad_value(endpoint, name, uids[place].as_py(), key)


def _raise_bad_value(error: sql.SqlError, endpoint: Endpoint) -> None:
    _, mark, facts = str(error).partition(_MARK)
    if mark:
        _, name, value, key = facts.split(_BORDER, 3)
        raise _bad_value(endpoint, name, value, key) from error


def _bad_value(endpoint: Endpoint, name: str, value: str, key: str) -> BadValue:
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}..."
    problem = f"{shown!r} is not {ARRIVING[name].kind.rule}"
    return BadValue(problem, table=endpoint.name, column=name, value=value, key=key)


# --- The body as bytes --------------------------------------------------------------------------


def _excerpt(body: Path) -> str:
    with body.open("rb") as file:
        return beginning(file.read(800))


def _demand_array(body: Path, url: str) -> None:
    """Raises unless the body begins and ends as an array: DuckDB takes one cut behind a comma."""
    with body.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(max(0, body.stat().st_size - 64))
        end = file.read().rstrip()
    if start.startswith(b"[") and end.endswith(b"]"):
        return
    problem = "the list of rows is cut off" if start.startswith(b"[") else "not a list of rows"
    raise UnreadableReply(problem, url=url, excerpt=_excerpt(body))


def _is_utf8(body: Path) -> bool:
    try:
        with body.open(encoding="utf-8", newline="") as file:
            while file.read(_CHUNK):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _transcoded(body: Path) -> Path:
    # The archive stores Latin-1 and old servers sent it as it was.
    target = body.with_suffix(".utf8")
    with (
        body.open(encoding="latin-1", newline="") as given,
        target.open("w", encoding="utf-8", newline="") as file,
    ):
        shutil.copyfileobj(given, file, _CHUNK)
    return target


def _as_json(body: Path, endpoint: Endpoint, form: str, url: str) -> Path:
    target = body.with_suffix(".rows")
    try:
        rows = rows_in(decode(body.read_bytes()), form, endpoint.columns)
    except ValueError as error:
        raise UnreadableReply(
            f"{endpoint.name}: {error}", url=url, excerpt=_excerpt(body)
        ) from None
    target.write_text(json.dumps(rows), encoding="utf-8")
    return target
