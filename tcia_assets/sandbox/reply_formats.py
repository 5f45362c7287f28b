"""Rows -> the four formats, byte for byte as the servers write them (archive-api.md 5.2 to 5.4).

What belongs here: formats, and how each dialect writes a value of a kind. What does not: which rows
(`queries.py`), statuses and headers (`handlers.py`).

JSON of a large answer is made by DuckDB, in chunks, with no Python for a row; what is not worth a
query is written by `write`, which says the same in plain words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pyarrow as pa

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME
from tcia_assets.sandbox.markup_encoder import SeemsEncodedTwice, encoded
from tcia_assets.spec import Dialect, Endpoint, ValueFormat
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
# Java types of the values: Hibernate entities in nbia-v1 and v2, native SQL in nbia-v4.
_ENTITY = {
    "count": "java.lang.Integer",
    "whole": "java.lang.Integer",
    "size": "java.lang.Long",
    "number": "java.lang.Double",
    "flag": "java.lang.Boolean",
    "day": "java.sql.Timestamp",
    "instant": "java.sql.Timestamp",
}
_NATIVE = {
    "count": "java.math.BigInteger",
    "whole": "java.math.BigDecimal",
    "size": "java.math.BigDecimal",
    "number": "java.lang.Double",
    "flag": "java.lang.Integer",
}


@dataclass(frozen=True)
class Field:
    """A column of a reply: its name on the wire, and how its values are written there.

    `expression` gives the value in SQL: a number, or a text.
    """

    wire: str
    expression: str
    java: str
    is_number: bool
    decimals_in_text: bool = False
    decimals_in_json: bool = False

    def text(self, value: Value) -> str:
        """As CSV, XML and HTML have it."""
        return f"{value}.000000" if self.decimals_in_text else str(value)

    def json(self, value: Value) -> str:
        if self.decimals_in_json:
            return f'"{value}.000000"'
        if self.is_number:
            return str(value)
        return json.dumps(value, ensure_ascii=False).replace("/", "\\/")

    @property
    def json_expression(self) -> str:
        if self.decimals_in_json:
            return f"""'"' || ({self.expression})::VARCHAR || '.000000"'"""
        if self.is_number:
            return f"({self.expression})::VARCHAR"
        return f"to_json({self.expression})::VARCHAR"


def fields(dialect: Dialect, endpoint: Endpoint) -> tuple[Field, ...]:
    """The columns of an endpoint's reply, in the order in which the server writes them."""
    return tuple(_field(dialect, endpoint, wire) for wire in endpoint.columns)


def _field(dialect: Dialect, endpoint: Endpoint, wire: str) -> Field:
    column = COLUMNS_BY_WIRE_NAME[wire]
    kind = column.kind.name
    form = endpoint.value_format(wire, dialect.value_format)
    expression = _expression(sql.identifier(column.name), kind, form)
    if endpoint.numbers is not None:
        return _of_texts(wire, expression, kind, is_number=wire in endpoint.numbers)
    is_big_decimal = kind in {"size", "whole"} and dialect.value_format.decimals_in_text
    types = _NATIVE if dialect.server == "sql" else _ENTITY
    return Field(
        wire,
        expression,
        types.get(kind, "java.lang.String"),
        is_number=kind in _NUMBERS,
        decimals_in_text=is_big_decimal,
        # its clients go through float, which only a text makes necessary
        decimals_in_json=is_big_decimal and kind == "size" and dialect.server == "bindaas",
    )


def _of_texts(wire: str, expression: str, kind: str, *, is_number: bool) -> Field:
    """A column of a reply in which all but a few numbers were made texts by the database."""
    if is_number:
        return Field(wire, expression, "java.lang.Long", is_number=True)
    decimals = " || '.000000'" if kind == "whole" else ""
    return Field(wire, f"({expression})::VARCHAR{decimals}", "java.lang.String", is_number=False)


def _expression(name: str, kind: str, wire: ValueFormat) -> str:
    if kind in {"day", "instant"}:
        # A java.sql.Timestamp prints at least one digit of its fraction; the database keeps none.
        form = (wire.day if kind == "day" else wire.instant).replace("%f", "0")
        return f"strftime({name}, {sql.literal(form)})"
    return name


# --- Vectorised ---------------------------------------------------------------------------------


def json_statement(statement: str, columns: Sequence[Field]) -> str:
    """A SELECT of one text per row: a comma and the JSON object, null values left out."""
    pairs = ", ".join(
        f"{sql.literal(json.dumps(each.wire) + ':')} || {each.json_expression}" for each in columns
    )
    row = rf"',{{' || replace(concat_ws(',', {pairs}), '/', '\/') || '}}'"
    return f"SELECT {row} FROM ({statement})"


def json_chunks(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """The array of objects that `json_statement` gives; nothing at all where there is no row."""
    start = b"["
    for texts in (chunk for table in tables for chunk in table.column(0).chunks):
        if len(texts):
            yield start + _bytes_of(texts)[len(start) :]
            start = b""
    if not start:
        yield b"]"


def _bytes_of(texts: pa.Array) -> bytes:
    """All texts of an array, one after the other."""
    _, offsets, characters = texts.cast(pa.large_string()).buffers()
    ends = memoryview(offsets).cast("q")
    first, last = ends[texts.offset], ends[texts.offset + len(texts)]
    return memoryview(characters)[first:last].tobytes()


def text_statement(statement: str, columns: Sequence[Field]) -> str:
    """A SELECT of the values, as `write` takes them."""
    values = ", ".join(f"{each.expression} AS c{i}" for i, each in enumerate(columns))
    return f"SELECT {values} FROM ({statement})"


def rows_of(tables: Iterable[pa.Table]) -> Iterator[tuple[Value, ...]]:
    """The rows that `text_statement` gives."""
    for table in tables:
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


# --- Row by row ---------------------------------------------------------------------------------


def write(form: str, columns: Sequence[Field], rows: Rows) -> Iterator[bytes]:
    """A reply in that format, in chunks; nothing at all where there is no row."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    yield from _in_chunks(_writer(form, columns)(chain([first], rows)))


def _writer(form: str, columns: Sequence[Field]) -> Callable[[Rows], Iterator[str]]:
    if form.startswith("csv"):
        return partial(_csv_lines if len(columns) == 1 else _csv, columns)
    return partial({"json": _json, "xml": _xml, "html": _html}[form], columns)


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
            f"{json.dumps(each.wire)}:{each.json(value)}"
            for each, value in zip(columns, row, strict=True)
            if value is not None
        )
        yield f"{before}{{{','.join(pairs)}}}"
        before = ","
    yield "]"


def _csv_lines(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    """One column: nothing is quoted, whatever the value holds."""
    yield f"{columns[0].wire}\n"
    for (value,) in rows:
        yield "\n" if value is None else f"{columns[0].text(value)}\n"


def _csv(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    yield ",".join(f'"{each.wire}"' for each in columns) + "\n"
    for row in rows:
        texts = [
            "" if value is None else each.text(value).replace('"', '""')
            for each, value in zip(columns, row, strict=True)
        ]
        # A null in the first column leaves its quote unopened and its comma quoted.
        start = '","' if row[0] is None else f'"{texts[0]}'
        yield start + "".join(f'","{text}' for text in texts[1:]) + '"\n'


def _xml(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results>'
    for row in rows:
        yield "<Row>"
        for each, value in zip(columns, row, strict=True):
            if value is not None:
                yield f"<{each.wire} type='{each.java}'>"
                try:
                    yield _markup(each, value)
                except SeemsEncodedTwice:
                    return  # the formatter swallows it: the document is cut here
                yield f"</{each.wire}>"
        yield "</Row>"
    yield "</Results>"


def _html(columns: Sequence[Field], rows: Rows) -> Iterator[str]:
    heads = "".join(f"<TH>{each.wire}</TH>" for each in columns)
    yield f"<P ALIGN='center'><TABLE BORDER=1><TR>{heads}</TR>"
    for row in rows:
        yield "<TR>"
        for each, value in zip(columns, row, strict=True):
            try:
                yield f"<TD>{'&nbsp;' if value is None else _markup(each, value)}</TD>"
            except SeemsEncodedTwice:
                return
        yield "</TR>"
    yield "</TABLE></P>"


def _markup(field: Field, value: Value) -> str:
    text = field.text(value)
    return encoded(text) if field.java == "java.lang.String" else text
