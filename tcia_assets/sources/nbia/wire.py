"""Parse replies: wire names, wire types and nulls end here.

A body in any of the four formats becomes a typed Arrow table with our column names. What a table
requires of its rows is checked elsewhere (`store/conform.py`).

JSON is parsed by DuckDB straight from the file, in one pass: 230,000 Series in less than a second.
The other formats are for cross-checks. They become JSON rows first, so that there is one way in
which a value gets its type.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.errors import UnreadableReply, shorten
from tcia_assets.sources import SourceRows, UnreadableValues
from tcia_assets.sources.http import text
from tcia_assets.sources.nbia import values
from tcia_assets.sources.nbia.formats import rows_in
from tcia_assets.spec import Endpoint, ValueFormat
from tcia_assets.store import sql

_FOREIGN_FIELDS = "rows with none of its fields"
_CHUNK = 1 << 18
_EDGE = 1 << 12
LARGE = 1 << 24
_SMALL, _MEDIUM = 1 << 19, 1 << 20
_MOST_UNCLAIMED = 100
# By our column name.
_Unreadable = dict[str, UnreadableValues]


def read(
    body: Path, endpoint: Endpoint, wire: ValueFormat, *, form: str = "json", url: str = ""
) -> SourceRows:
    """Read the rows of a reply, in the order of the body; columns that no row has are left out.

    Args:
        body: The file; it is not changed.
        endpoint: The endpoint that returned it.
        wire: How its dialect writes values.
        form: json, csv, xml or html.
        url: For errors.

    Raises:
        UnreadableReply: The body is not a list of rows of that endpoint.
        BadValue: A value that identifies its row is not of its column's kind; any other one is null
            and in `unreadable`.
    """
    reply = _Reply(body, endpoint, wire, url)
    return (reply if form == "json" else reply.in_json(form)).read()


def _database_for(body: Path) -> sql.Connection:
    if body.stat().st_size <= _MEDIUM:
        return sql.scratch()
    # For others one of its own: closing it gives its memory back to the system. In the shared one
    # that would be in pieces, between what other replies use.
    return sql.connect(threads=1)  # one array is parsed by one thread; others would wait


def empty(endpoint: Endpoint) -> SourceRows:
    """Return no rows, with the columns that the endpoint declares."""
    return SourceRows(values.schema(endpoint.columns).empty_table())


def untyped(
    body: bytes, endpoint: Endpoint, *, form: str = "json", url: str = ""
) -> list[dict[str, object]]:
    """Parse a small reply into rows with wire names and untyped values.

    Raises:
        UnreadableReply: The body is not a list of rows.
    """
    decoded, problem = text.decode(body), "not a list of rows"
    try:
        rows: object = (
            json.loads(decoded) if form == "json" else rows_in(decoded, form, endpoint.columns)
        )
    except (ValueError, RecursionError) as error:
        rows, problem = None, str(error)
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        fields = set().union(*rows)
        if not fields or _claimed(fields, endpoint):
            return rows
        problem = _FOREIGN_FIELDS
    raise UnreadableReply(f"{endpoint.name}: {problem}", url=url, excerpt=text.excerpt(body))


@dataclass(frozen=True)
class _Reply:
    """A body in JSON, and what it should have."""

    body: Path
    endpoint: Endpoint
    wire: ValueFormat
    url: str

    def read(self) -> SourceRows:
        self.check_array()
        with _database_for(self.body) as connection:
            try:
                return self.rows(connection)
            except sql.SqlError as error:
                if not _is_utf8(self.body):
                    return replace(self, body=_transcode(self.body)).read()
                if mended := _mended(self.body):
                    return replace(self, body=mended).read()
                raise self.unreadable(f"{self.endpoint.name}: not a list of rows") from error

    def check_array(self) -> None:
        """Raise unless the body begins and ends as one: DuckDB accepts one cut after a comma."""
        first, last = _outermost(self.body)
        if first != b"[":
            raise self.unreadable("not a list of rows")
        if last != b"]":
            raise self.unreadable("the list of rows is cut off")

    def rows(self, connection: sql.Connection) -> SourceRows:
        table, unreadable, field_count = self.select_and_count(connection)
        present = [name for name in table.column_names if table[name].null_count < table.num_rows]
        filled = sum(table.num_rows - column.null_count for column in table.columns)
        filled += sum(len(each.texts) for each in unreadable.values())
        if filled == field_count:
            # Rows may be all null: nbia-v1 returns `[{}]` if it has no size.
            rows = table.select(present) if present else table
            return SourceRows(rows, unreadable=unreadable)
        fields = _fields_of(connection, self.body)
        names = _claimed(fields, self.endpoint)
        if not names:
            raise self.unreadable(f"{self.endpoint.name}: {_FOREIGN_FIELDS}")
        table, unreadable = self.select(connection, names)
        return SourceRows(table, _unclaimed(fields - set(names)), unreadable=unreadable)

    def select_and_count(self, connection: sql.Connection) -> tuple[pa.Table, _Unreadable, int]:
        """Read the declared fields, and count those that all rows have."""
        names = self.endpoint.columns
        if self.body.stat().st_size <= _SMALL:
            # Starting a thread takes longer than counting.
            return *self.select(connection, names), _count_fields(self.body)
        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(_count_fields, self.body)
            return *self.select(connection, names), counted.result()

    def select(
        self, connection: sql.Connection, names: Sequence[str]
    ) -> tuple[pa.Table, _Unreadable]:
        """Read these wire fields, typed and under our names, and what is unreadable of them."""
        # As texts, so that `values` and not the JSON reader decides what a value of each kind is.
        source = self.source(dict.fromkeys(names, "VARCHAR"))
        statement = values.select(source, self.endpoint, self.wire, names)
        try:
            table = sql.fetch_table(connection, statement).cast(values.schema(names))
        except sql.SqlError as error:
            if not values.is_unreadable(error):
                raise
        else:
            if values.is_readable(table):
                return table, {}
        source = self.source({name: values.lenient_type(name) for name in names})
        statement = values.select_leniently(source, self.endpoint, self.wire, names)
        found = sql.fetch_table(connection, statement)
        return values.split_unreadable(found, self.endpoint, names)

    def source(self, types: Mapping[str, str]) -> str:
        """Return SQL for the rows of the body, with these fields in these types."""
        fields = ", ".join(f"{sql.literal(name)}: '{kind}'" for name, kind in types.items())
        return (
            f"read_json({sql.literal(str(self.body))}, columns = {{{fields}}}, format = 'array', "
            "records = 'true', hive_partitioning = false)"
        )

    def in_json(self, form: str) -> _Reply:
        """Convert a body in another format."""
        target = self.body.with_suffix(".rows")
        try:
            rows = rows_in(text.decode(self.body.read_bytes()), form, self.endpoint.columns)
        except ValueError as error:
            raise self.unreadable(f"{self.endpoint.name}: {error}") from None
        target.write_text(json.dumps(rows), encoding="utf-8")
        return replace(self, body=target)

    def unreadable(self, problem: str) -> UnreadableReply:
        with self.body.open("rb") as file:
            excerpt = text.excerpt(file.read(800))
        return UnreadableReply(problem, url=self.url, excerpt=excerpt)


# --- Fields ---------------------------------------------------------------------------------------


def _count_fields(body: Path) -> int:
    """Count the fields of all rows, and those that occur within texts.

    Counting is much faster than parsing, and enough to see that no field was left out: DuckDB
    silently drops fields that the statement does not name, and those of different case.
    """
    found, is_cut = 0, False
    with body.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found += chunk.count(b'":') + (is_cut and chunk.startswith(b":"))
            is_cut = chunk.endswith(b'"')
    return found


def _fields_of(connection: sql.Connection, body: Path) -> set[str]:
    found = connection.execute(
        "SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects(?, format = 'array')",
        [str(body)],
    )
    return {name for (name,) in found.fetchall()}


def _unclaimed(fields: set[str]) -> tuple[str, ...]:
    """Return names for a message; a server may send any number of them, of any length."""
    hidden = len(fields) - _MOST_UNCLAIMED
    names = tuple(shorten(name) for name in sorted(fields)[:_MOST_UNCLAIMED])
    return (*names, f"and {hidden} more") if hidden > 0 else names


def _claimed(fields: set[str], endpoint: Endpoint) -> list[str]:
    """Return the fields to read: the declared ones that are there, then other dialects' names."""
    declared = (*endpoint.columns, *endpoint.optional_columns)
    claimed = [name for name in declared if name in fields]
    missing = {COLUMNS_BY_WIRE_NAME[n].name for n in declared} - {
        COLUMNS_BY_WIRE_NAME[n].name for n in claimed
    }
    for name in sorted(fields & COLUMNS_BY_WIRE_NAME.keys()):
        if COLUMNS_BY_WIRE_NAME[name].name in missing:
            claimed.append(name)
            missing.remove(COLUMNS_BY_WIRE_NAME[name].name)
    return claimed


# --- Bytes ----------------------------------------------------------------------------------------


def _outermost(body: Path) -> tuple[bytes, bytes]:
    """Return the first and the last byte of a body that are no white space; b"" if all are."""
    with body.open("rb") as file:
        start = file.read(_EDGE).removeprefix(b"\xef\xbb\xbf").lstrip()
        while not start and (chunk := file.read(_EDGE)):
            start = chunk.lstrip()
        at, end = body.stat().st_size, b""
        while at and not end:
            size = min(at, _EDGE)
            at -= size
            file.seek(at)
            end = file.read(size).rstrip()
    return start[:1], end[-1:]


def _is_utf8(body: Path) -> bool:
    try:
        with body.open(encoding="utf-8", newline="") as file:
            while file.read(_CHUNK):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _transcode(body: Path) -> Path:
    """Convert to UTF-8: TCIA stores Latin-1, and old servers sent it unchanged."""
    target = body.with_suffix(".utf8")
    with (
        body.open(encoding="latin-1", newline="") as given,
        target.open("w", encoding="utf-8", newline="") as file,
    ):
        shutil.copyfileobj(given, file, _CHUNK)
    return target


def _mended(body: Path) -> Path | None:
    """Write a body anew if it has texts that JSON or Unicode does not allow; None if it has none.

    Some writers do not escape control characters, and one that cuts a text may cut a character of
    two code units in half. Such a text costs no other row; half a character becomes U+FFFD.
    """
    target = body.with_suffix(".mended")
    if target == body:
        return None
    try:
        rows = json.loads(
            text.decode(body.read_bytes()), strict=False, object_pairs_hook=_unique_fields
        )
    except (ValueError, RecursionError):
        return None
    units = json.dumps(rows, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    target.write_text(units.decode("utf-16-le", "replace"), encoding="utf-8", newline="")
    return target


def _unique_fields(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields
