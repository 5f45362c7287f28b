"""The result of a query as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.table import Table as Grid

from tcia_assets.cli.terminal import fits, make_grid, out, printable
from tcia_assets.errors import UsageError
from tcia_assets.metadata.s5cmd_manifest import format_manifest
from tcia_assets.units import counted

# A table that is wider than the terminal by more than this is hard to read when it is folded.
_MOST_FOLDING = 1.5
# Of what Python's own dates and times cannot hold, such as the year 0.
_FIRST_YEAR, _LAST_YEAR = 1, 9999


def write_result(result: pa.Table, form: str | None, output: Path | None, rows: int) -> None:
    """Write a table to the terminal, to standard output or to a file.

    Args:
        result: The rows to write.
        form: "table", "csv", "json", "parquet" or "s5cmd"; None is by the suffix of `output`, and a
            table without that. A file gets CSV in place of "table".
        output: The file, which appears whole or not at all; standard output if None.
        rows: How many rows the terminal shows at most.

    Raises:
        UsageError: The file cannot be written, or Parquet was chosen without a file.
    """
    form = form or _form_of(output)
    result = _intervals_as_text(result)
    if form == "table" and output is None:
        _print(_instants_as_text(result), rows)
        return
    if output is None and form == "parquet":
        raise UsageError("Parquet is not for a terminal: add --output FILE")
    if output is None:
        _write(result, form, sys.stdout.buffer)
        return
    try:
        draft = output.with_name(f".{output.name}.draft")
        with draft.open("wb") as file:
            _write(result, "csv" if form == "table" else form, file)
        draft.replace(output)
    # ValueError: a path such as "/" has no name. ArrowException: no Parquet has such a type.
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--output {str(output)!r} cannot be written: {reason}") from None


def _form_of(output: Path | None) -> str:
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return suffix if suffix in {"csv", "json", "parquet", "s5cmd"} else "table"


def _print(table: pa.Table, limit: int) -> None:
    grid, caption = _grid_of(table, limit), _caption(table, limit)
    if fits(grid, out, folding=_MOST_FOLDING):
        out.print(grid)
    else:
        out.print(_records(table, limit))
        caption += "; too wide for a table, so one line per value"
    # Not the table's own caption, which would be folded to the width of the table.
    out.print(f"[dim]{caption}[/]", soft_wrap=True)


def _write(table: pa.Table, form: str, file: Any) -> None:
    if form == "parquet":
        pq.write_table(table, file)
    elif form == "s5cmd":
        file.write(format_manifest(table).encode())
    elif form == "csv":
        pyarrow.csv.write_csv(_lists_as_text(table), file)
    else:
        rows = [
            {k: _jsonable(v) for k, v in row.items()}
            for row in _instants_as_text(table).to_pylist()
        ]
        text = json.dumps(rows, ensure_ascii=False, indent=1, default=str)
        file.write(text.encode() + b"\n")


def _intervals_as_text(table: pa.Table) -> pa.Table:
    """Return a table with text for the differences of times, which no format can hold."""
    for place, field in enumerate(table.schema):
        if pa.types.is_interval(field.type):
            texts = [None if v is None else _interval_text(*v) for v in table[place].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _interval_text(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval nearly as DuckDB writes it.

    >>> _interval_text(14, 1, 5_400_000_000_000), _interval_text(0, 0, -500_000_000)
    ('14 months 1 day 01:30:00', '-00:00:00.500000')
    """
    seconds, fraction = divmod(abs(nanoseconds) // 1000, 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    clock = f"{'-' if nanoseconds < 0 else ''}{clock}" + (f".{fraction:06}" if fraction else "")
    counted = [(months, "month"), (days, "day")]
    parts = [f"{n} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in counted if n]
    return " ".join([*parts, clock] if nanoseconds or not parts else parts)


def _instants_as_text(table: pa.Table) -> pa.Table:
    """Return a table with text for dates and times that Python has no type for.

    Within lists and structs all are text: JSON and the terminal have no other form for them.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            table = table.set_column(place, field.name, table[place].cast(_textual(field.type)))
        elif _is_beyond_python(table[place]):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table


def _textual(kind: pa.DataType) -> pa.DataType:
    """Return a type with texts in place of dates and times.

    >>> print(_textual(pa.struct({"at": pa.date32(), "days": pa.list_(pa.date32())})))
    struct<at: string, days: list<item: string>>
    """
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _textual(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_textual(kind.key_type), _textual(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_textual(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_textual(kind.value_type))
    is_instant = pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind)
    return pa.string() if is_instant else kind


def _is_beyond_python(column: pa.ChunkedArray) -> bool:
    if column.type == pa.timestamp("ns"):  # pyarrow's `to_pylist` would need pandas
        return True
    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
        return False
    years = pc.min_max(pc.year(column)).as_py()
    return None not in years.values() and not (
        years["min"] >= _FIRST_YEAR and years["max"] <= _LAST_YEAR
    )


def _lists_as_text(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            values = table[place].cast(_textual(field.type)).to_pylist()
            texts = [None if v is None else json.dumps(v, default=str) for v in values]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _grid_of(table: pa.Table, limit: int) -> Grid:
    grid = make_grid()
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        justify = "right" if is_number else "left"
        grid.add_column(printable(field.name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in table.slice(0, limit).to_pylist():
        grid.add_row(*(_cell(v) for v in row.values()))
    return grid


def _records(table: pa.Table, limit: int) -> Group:
    """One line a value, for rows that are too wide for a table."""
    parts: list[RenderableType] = []
    for number, row in enumerate(table.slice(0, limit).to_pylist(), 1):
        record = Grid.grid(padding=(0, 1, 0, 0))
        record.add_column(no_wrap=True, style="dim")
        record.add_column(overflow="fold")
        for name, value in row.items():
            record.add_row(f"{printable(name)}:", _cell(value))
        parts += [f"[dim]--- {number}[/]", record]
    return Group(*parts)


def _caption(table: pa.Table, limit: int) -> str:
    hidden = max(0, table.num_rows - limit)
    return counted(table.num_rows, "row") + (f", {hidden} not shown (--rows)" if hidden else "")


def _cell(value: Any) -> str:
    return "" if value is None else printable(str(value))
