"""Write rows in the four formats, byte for byte as the servers do (archive-api.md 5.2 to 5.4).

The rows come from `queries.py`; statuses and headers from `handlers.py`.

DuckDB writes the JSON of queries in chunks, without Python code per row. `write` writes the same
format row by row, for a few rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pyarrow as pa

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.sandbox.markup_encoder import DoubleEncoding, encode
from tcia_assets.spec import ValueFormat
from tcia_assets.store import sql

Value = str | int | None
Rows = Iterable[Sequence[Value]]

CONTENT_TYPES = {
    "json": "application/json",
    "csv": "text/csv",
    "csvquoted": "text/csv",
    "csv-download": "text/csv",
    "xml": "application/xml",
    "html": "text/html",
}

_NUMBERS = {"count", "size", "whole", "number", "flag"}
# The Java types that XML shows: of Hibernate entities, and of native SQL.
_ENTITY_TYPES = {
    "count": "java.lang.Integer",
    "whole": "java.lang.Integer",
    "size": "java.lang.Long",
    "number": "java.lang.Double",
    "flag": "java.lang.Boolean",
    "day": "java.sql.Timestamp",
    "instant": "java.sql.Timestamp",
}
_SQL_TYPES = {
    "count": "java.math.BigInteger",
    "whole": "java.math.BigDecimal",
    "size": "java.math.BigDecimal",
    "number": "java.lang.Double",
    "flag": "java.lang.Integer",
}


@dataclass(frozen=True)
class Field:
    """A column of a reply, and how its values are written.

    Args:
        wire_name: Its name in the reply.
        expression: SQL of its value, a number or a text.
        java_type: The Java type that XML shows.
        is_number: Whether JSON has it without quotes.
        decimals_in_text: Whether CSV, XML and HTML have six decimals after the whole number.
        decimals_in_json: Whether JSON has them too, as a text.
    """

    wire_name: str
    expression: str
    java_type: str
    is_number: bool
    decimals_in_text: bool = False
    decimals_in_json: bool = False

    def text(self, value: Value) -> str:
        """Return the value as CSV, XML and HTML show it."""
        return f"{value}.000000" if self.decimals_in_text else str(value)

    def json(self, value: Value) -> str:
        """Return the value as JSON shows it."""
        if self.decimals_in_json:
            return f'"{value}.000000"'
        if self.is_number:
            return str(value)
        return json.dumps(value, ensure_ascii=False).replace("/", "\\/")

    @property
    def json_expression(self) -> str:
        """SQL of the value as JSON shows it."""
        if self.decimals_in_json:
            return f"""'"' || ({self.expression})::VARCHAR || '.000000"'"""
        if self.is_number:
            return f"({self.expression})::VARCHAR"
        return f"to_json({self.expression})::VARCHAR"


def fields(served: ServedEndpoint) -> tuple[Field, ...]:
    """Return the columns of an endpoint's reply, in the order of the server."""
    return tuple(_field(served, wire_name) for wire_name in served.endpoint.columns)


def _field(served: ServedEndpoint, wire_name: str) -> Field:
    column, default = COLUMNS_BY_WIRE_NAME[wire_name], served.dialect.value_format
    kind = column.kind.name
    value_format = served.endpoint.value_format(wire_name, default)
    expression = _expression(sql.identifier(column.name), kind, value_format)
    if served.number_columns is not None:
        is_number = wire_name in served.number_columns
        return _field_of_texts(wire_name, expression, kind, is_number=is_number)
    is_big_decimal = kind in {"size", "whole"} and default.decimals_in_text
    types = _SQL_TYPES if served.is_native_sql else _ENTITY_TYPES
    return Field(
        wire_name,
        expression,
        types.get(kind, "java.lang.String"),
        is_number=kind in _NUMBERS,
        decimals_in_text=is_big_decimal,
        # Clients of Bindaas convert sizes with float(), so it must send them as texts.
        decimals_in_json=is_big_decimal and kind == "size" and served.is_bindaas,
    )


def _field_of_texts(wire_name: str, expression: str, kind: str, *, is_number: bool) -> Field:
    """Return a column of a reply in which nearly all values are texts."""
    if is_number:
        return Field(wire_name, expression, "java.lang.Long", is_number=True)
    decimals = " || '.000000'" if kind == "whole" else ""
    text = f"({expression})::VARCHAR{decimals}"
    return Field(wire_name, text, "java.lang.String", is_number=False)


def _expression(name: str, kind: str, value_format: ValueFormat) -> str:
    if kind in {"day", "instant"}:
        written = value_format.day if kind == "day" else value_format.instant
        # A java.sql.Timestamp has at least one digit of fraction; the database stores none.
        return f"strftime({name}, {sql.literal(written.replace('%f', '0'))})"
    return name


# --- By DuckDB -----------------------------------------------------------------------------------


def json_statement(statement: str, columns: Sequence[Field]) -> str:
    """Return a SELECT of one text per row: a comma and the JSON object, without null values."""
    pairs = ", ".join(
        f"{sql.literal(json.dumps(each.wire_name) + ':')} || {each.json_expression}"
        for each in columns
    )
    row = rf"',{{' || replace(concat_ws(',', {pairs}), '/', '\/') || '}}'"
    return f"SELECT {row} FROM ({statement})"


def json_chunks(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yield the JSON array from the rows of `json_statement`; nothing if there are no rows."""
    start = b"["
    for texts in (chunk for table in tables for chunk in table.column(0).chunks):
        if len(texts):
            yield start + _bytes_of(texts)[len(start) :]
            start = b""
    if not start:
        yield b"]"


def _bytes_of(texts: pa.Array) -> bytes:
    """Return the concatenated texts of an array."""
    _, offsets, characters = texts.cast(pa.large_string()).buffers()
    ends = memoryview(offsets).cast("q")
    first, last = ends[texts.offset], ends[texts.offset + len(texts)]
    return memoryview(characters)[first:last].tobytes()


def text_statement(statement: str, columns: Sequence[Field]) -> str:
    """Return a SELECT of the values that `write` takes."""
    values = ", ".join(f"{each.expression} AS c{i}" for i, each in enumerate(columns))
    return f"SELECT {values} FROM ({statement})"


def rows_of(tables: Iterable[pa.Table]) -> Iterator[tuple[Value, ...]]:
    """Yield the rows of `text_statement`."""
    for table in tables:
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


# --- Row by row ---------------------------------------------------------------------------------


def write(format_name: str, columns: Sequence[Field], rows: Rows) -> Iterator[bytes]:
    """Yield the rows in a format, in chunks; nothing if there are no rows."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    yield from _in_chunks(_writer(format_name, columns)(chain([first], rows)))


def _writer(format_name: str, columns: Sequence[Field]) -> Callable[[Rows], Iterator[str]]:
    if format_name.startswith("csv"):
        return partial(_csv_lines if len(columns) == 1 else _csv, columns)
    return partial({"json": _json, "xml": _xml, "html": _html}[format_name], columns)


def _in_chunks(pieces: Iterable[str], size: int = 1 << 18) -> Iterator[bytes]:
    held, length = [], 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield "".join(held).encode()
            held, length = [], 0
    yield "".join(held).encode()


def _json(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    before = "["
    for row in rows:
        pairs = (
            f"{json.dumps(each.wire_name)}:{each.json(value)}"
            for each, value in zip(columns, row, strict=True)
            if value is not None
        )
        yield f"{before}{{{','.join(pairs)}}}"
        before = ","
    yield "]"


def _csv_lines(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    """Write CSV of one column, in which the servers quote nothing."""
    yield f"{columns[0].wire_name}\n"
    for (value,) in rows:
        yield "\n" if value is None else f"{columns[0].text(value)}\n"


def _csv(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    yield ",".join(f'"{each.wire_name}"' for each in columns) + "\n"
    for row in rows:
        texts = [
            "" if value is None else each.text(value).replace('"', '""')
            for each, value in zip(columns, row, strict=True)
        ]
        # For a null in the first column the servers write `","`, without an opening quote.
        start = '","' if row[0] is None else f'"{texts[0]}'
        yield start + "".join(f'","{text}' for text in texts[1:]) + '"\n'


def _xml(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results>'
    for row in rows:
        yield "<Row>"
        for each, value in zip(columns, row, strict=True):
            if value is not None:
                yield f"<{each.wire_name} type='{each.java_type}'>"
                try:
                    yield _markup(each, value)
                except DoubleEncoding:
                    return  # the server ignores the error and ends the document here
                yield f"</{each.wire_name}>"
        yield "</Row>"
    yield "</Results>"


def _html(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    heads = "".join(f"<TH>{each.wire_name}</TH>" for each in columns)
    yield f"<P ALIGN='center'><TABLE BORDER=1><TR>{heads}</TR>"
    for row in rows:
        yield "<TR>"
        for each, value in zip(columns, row, strict=True):
            try:
                yield f"<TD>{'&nbsp;' if value is None else _markup(each, value)}</TD>"
            except DoubleEncoding:
                return
        yield "</TR>"
    yield "</TABLE></P>"


def _markup(field: Field, value: Value) -> str:
    text = field.text(value)
    return encode(text) if field.java_type == "java.lang.String" else text
