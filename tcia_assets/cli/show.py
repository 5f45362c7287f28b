"""What people see on a terminal and in the docs: tables, status, the data dictionary.

What belongs here: values -> text. What does not: arguments and exit codes (`cli`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.table import Table as Grid

from tcia_assets import catalog
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images import Audited, Damage, Plan, Rebuilt, Standing, Verified
from tcia_assets.metadata.selection import Selection, check_shared_lists, unmatched_licenses
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse

if TYPE_CHECKING:
    from tcia_assets.datasets.versions import Version  # it needs numpy

_STEP = 1000
# Columns of a terminal that never ends.
_WIDEST = 1_000_000


def plain(text: str) -> str:
    """A text that may come from the network, with nothing in it that a terminal obeys."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text))


def one_of(what: str, name: str, known: Sequence[str]) -> str:
    """The name, if it is known; UnknownName lists near ones otherwise."""
    if name not in known:
        raise UnknownName(what, name, known)
    return name


def size(count: float | None) -> str:
    """Bytes as people read them.

    >>> [size(n) for n in (0, 999, 27_844_690, None)]
    ['0 B', '999 B', '27.8 MB', '?']
    """
    if count is None:
        return "?"
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= _STEP and len(units) > 1:
        count /= _STEP
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "B" else f"{count:.1f} {units[0]}"


# --- Answers ------------------------------------------------------------------------------------


def answer(table: pa.Table, form: str, output: Path | None, console: Console, rows: int) -> None:
    """Writes the answer to a query where and how it is wanted."""
    if form == "table" and output is None:
        shown = _without_nanoseconds(table)
        grid = _grid_of(shown, rows)
        console.print(grid if _fits(grid, console) else _records(shown, rows))
        return
    if output is None and form == "parquet":
        raise UsageError("Parquet is not for a terminal: add --output FILE")
    if output is None:
        _write(table, form, sys.stdout.buffer)
        return
    try:
        draft = output.with_name(f".{output.name}.draft")
        with draft.open("wb") as file:
            _write(table, "csv" if form == "table" else form, file)
        draft.replace(output)
    except (OSError, ValueError) as error:  # ValueError: a name such as "/" cannot be had
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--output {str(output)!r} cannot be written: {reason}") from None


def _write(table: pa.Table, form: str, file: Any) -> None:
    if form == "parquet":
        pq.write_table(table, file)
    elif form == "csv":
        pyarrow.csv.write_csv(_without_lists(table), file)
    else:
        rows = [
            {k: _jsonable(v) for k, v in row.items()}
            for row in _without_nanoseconds(table).to_pylist()
        ]
        file.write(json.dumps(rows, ensure_ascii=False, indent=1).encode() + b"\n")


def _without_nanoseconds(table: pa.Table) -> pa.Table:
    """Such instants as text: Python has no type for them, so that pyarrow would ask for pandas."""
    for place, field in enumerate(table.schema):
        if field.type == pa.timestamp("ns"):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table


def _without_lists(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v) for v in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | list):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _fits(grid: Grid, console: Console) -> bool:
    """Whether no cell would have to be folded."""
    unbounded = console.options.update(width=_WIDEST)
    return Measurement.get(console, unbounded, grid).maximum <= console.width


def _records(table: pa.Table, limit: int) -> Group:
    """Each row as lines of column and value: readable where the columns have no room."""
    parts: list[RenderableType] = []
    for number, row in enumerate(table.slice(0, limit).to_pylist(), 1):
        record = Grid.grid(padding=(0, 1, 0, 0))
        record.add_column(no_wrap=True, style="dim")
        record.add_column(overflow="fold")
        for name, value in row.items():
            record.add_row(f"{plain(name)}:", _cell(value))
        parts += [f"[dim]--- {number}[/]", record]
    return Group(
        *parts, f"[dim]{_caption(table, limit)}; too wide for a table, so a line a value[/]"
    )


def _caption(table: pa.Table, limit: int) -> str:
    hidden = max(0, table.num_rows - limit)
    return f"{table.num_rows} rows" + (f", {hidden} not shown (--rows)" if hidden else "")


def _cell(value: Any) -> str:
    return "" if value is None else plain(str(value))


def _grid_of(table: pa.Table, limit: int) -> Grid:
    grid = _grid(caption=_caption(table, limit), caption_justify="left")
    for field in table.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        grid.add_column(
            plain(field.name), justify="right" if is_number else "left", overflow="fold"
        )
    for row in table.slice(0, limit).to_pylist():
        grid.add_row(*(_cell(v) for v in row.values()))
    return grid


def _grid(*columns: str | Column, **chosen: Any) -> Grid:
    """A table without walls: a terminal is narrow."""
    return Grid(
        *columns,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        **chosen,
    )


# --- Status -------------------------------------------------------------------------------------

# Columns of a table and what is in them; Series first, then bytes and instants.
_COUNTED = ("series", "selected", "complete", "incomplete", "missing", "withdrawn")
_MEASURED = ("on disk", "to come", "last change", "compared")
_SUMMED = (*_COUNTED, "bytes_on_disk", "bytes_to_come", "sizes_unknown")


def status(standings: Sequence[Standing], console: Console) -> Group:
    """How things stand in Collections, and in all of them, as wide as the console is.

    One table; or two, the Series and then bytes and instants, where one has no room.
    """
    names = [each.collection for each in standings]
    every = [*standings, _sum(standings)]
    counted, measured = [_counts(each) for each in every], [_measures(each) for each in every]
    whole = [a + b for a, b in zip(counted, measured, strict=True)]
    grids = [_by_collection((*_COUNTED, *_MEASURED), names, whole)]
    if not _fits(grids[0], console):
        grids = [
            _by_collection(_COUNTED, names, counted),
            _by_collection(_MEASURED, names, measured),
        ]
    spaced = [part for each in grids for part in (each, "")][:-1]
    notes = "Counts are Series; bytes are of zips on disk, of DICOM to come; times are UTC"
    if any(each.selected is None for each in standings):
        notes += "\nTCIA_IMAGE_SELECTION is not set, so nothing is selected"
    lines = [f"[dim]{notes}[/]"]
    if suspect := [plain(each.collection) for each in standings if each.is_suspect]:
        lines.append(
            "[yellow]Suspect:[/] the archive lists no more, so stays as it is: "
            + ", ".join(suspect)
        )
    return Group(*spaced, *lines)


def _by_collection(
    columns: Sequence[str], names: Sequence[str], lines: Sequence[Sequence[str]]
) -> Grid:
    """A line a Collection; what is left of the lines is the sum."""
    grid = _grid(show_footer=len(names) > 1)
    footer = f"{len(names)} Collections"
    grid.add_column("Collection", footer=footer, overflow="fold", min_width=len(footer))
    for name, total in zip(columns, lines[-1], strict=True):
        grid.add_column(name, footer=total, justify="right", no_wrap=True)
    for name, cells in zip(names, lines[:-1], strict=True):
        grid.add_row(plain(name), *cells)
    return grid


def _sum(standings: Sequence[Standing]) -> Standing:
    sums: dict[str, Any] = {}
    for name in _SUMMED:
        every = [getattr(each, name) for each in standings]
        sums[name] = None if None in every else sum(every)
    return Standing("", **sums)


def _counts(each: Standing) -> list[str]:
    counts = [getattr(each, name) for name in _COUNTED]
    return ["-" if count is None else f"{count:,}" for count in counts]


def _measures(each: Standing) -> list[str]:
    # A size that the archive does not tell makes the sum a lower bound.
    bound = "> " if each.sizes_unknown else ""
    return [
        size(each.bytes_on_disk),
        "-" if each.bytes_to_come is None else f"{bound}{size(each.bytes_to_come)}",
        _minute(each.changed_at),
        _minute(each.compared_at),
    ]


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


# --- History ------------------------------------------------------------------------------------

_LONGEST_VALUE = 40


def changes(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Rows of `series_changes` as lines: when, what, where, which; below it, old -> new."""
    for row in events:
        head = f"{_minute(row['seen_at'])}  {row['event']:<10}  {row['Collection']}  "
        yield head + row["SeriesInstanceUID"]
        yield from (f"    {detail}" for detail in _details(row))


def _details(row: dict[str, Any]) -> Iterator[str]:
    before, after = (json.loads(row[name] or "{}") for name in ("before", "after"))
    if row["event"] == "moved":
        yield f"to {after['moved_to']}"
    for name in row["changed_columns"] or ():
        old, new = _value(before.get(name)), _value(after.get(name))
        is_short = max(len(old), len(new)) <= _LONGEST_VALUE
        yield f"{name}: {old} -> {new}" if is_short else f"{name}: another, too long to show"


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


# --- Plans --------------------------------------------------------------------------------------


def plans(planned: Sequence[Plan]) -> Grid:
    """What a fetch would do: Series, why, at most how many bytes, and what it leaves."""
    grid = _grid(
        Column("Collection", overflow="fold", min_width=10),
        _right("here"),
        _right("to fetch"),
        _right("bytes"),
        Column("why", overflow="fold"),
        Column("left", overflow="fold"),
    )
    for each in planned:
        grid.add_row(
            plain(each.collection),
            f"{each.complete:,}",
            f"{len(each.now):,}",
            size(each.bytes_now) + ("+" if each.sizes_unknown else ""),
            _listed(each.why),
            _listed(_left(each)),
        )
    if len(planned) > 1:
        total = sum(len(each.now) for each in planned)
        here = sum(each.complete for each in planned)
        bytes_now = size(sum(each.bytes_now for each in planned))
        grid.add_section()
        grid.add_row("in all", f"{here:,}", f"{total:,}", bytes_now)
    return grid


def _left(plan: Plan) -> dict[str, int]:
    return {
        f"later ({size(plan.bytes_later)})": len(plan.later),
        "given up": len(plan.given_up),
        "denied": plan.denied,
    }


def _listed(counts: Mapping[str, int]) -> str:
    """Counts that are not zero, as words."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def doubts(selection: Selection, warehouse: Warehouse) -> list[str]:
    """What of a selection will do nothing, and what of it is uncertain; a line each.

    Raises:
        UnknownName: a shared list that was not refreshed, or a licence like none that is known.
    """
    check_shared_lists(selection, warehouse.keys(catalog.SHARED_LISTS))
    notes = []
    missing = warehouse.query(selection.unknown_series, tables=selection.tables).to_pylist()
    if missing:
        uids = ", ".join(row["SeriesInstanceUID"] for row in missing[:_FEW])
        notes.append(
            f"{len(missing)} listed Series are not known here, or withdrawn: {uids}"
            + (", ..." if len(missing) > _FEW else "")
        )
    known = warehouse.query(_LICENSES)["LicenseName"].to_pylist()
    notes += [
        f"no known Series has the licence {name!r}" for name in unmatched_licenses(selection, known)
    ]
    unlicensed = warehouse.query(
        f"SELECT count(*) AS series FROM current_series WHERE {selection.unlicensed}",
        tables=selection.tables,
    )["series"][0].as_py()
    if unlicensed:
        notes.append(f"the archive tells no licence of {unlicensed} of these Series")
    return notes


_FEW = 3
_LICENSES = "SELECT DISTINCT LicenseName FROM current_series WHERE LicenseName NOTNULL"


def _right(name: str) -> Column:
    return Column(name, justify="right")


def not_complete(warehouse: Warehouse, planned: Iterable[Plan]) -> list[str]:
    """A line for each Series that is not on disk and proven: planned for now, or given up."""
    planned = list(planned)
    given_up = {w.series_instance_uid for each in planned for w in each.given_up}
    wanted = {w.series_instance_uid for each in planned for w in each.now} | given_up
    rows = warehouse.query(
        "SELECT Collection, SeriesInstanceUID, status, error FROM image_archives "
        "WHERE status <> 'complete' ORDER BY ALL"
    ).to_pylist()
    return [
        f"{r['Collection']}: {r['SeriesInstanceUID']} is {r['status']}: {r['error']}"
        + (_GIVEN_UP if r["SeriesInstanceUID"] in given_up else "")
        for r in rows
        if r["SeriesInstanceUID"] in wanted
    ]


_GIVEN_UP = "; given up until the archive lists it otherwise, or you use --retry"


# --- Proof ----------------------------------------------------------------------------------------


@contextmanager
def bar(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, and what moves it: done, of all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(plain(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def verified(found: Verified) -> str:
    """What a look at a Collection's zips found, on a line."""
    checked = f"{found.checked:,} zips of {size(found.checked_bytes)} checked"
    line = f"{plain(found.collection)}: {checked}, {len(found.damaged):,} damaged"
    if found.strays:
        shown = ", ".join(plain(name) for name in found.strays[:_FEW])
        line += f"; {len(found.strays):,} unknown to the manifest: {shown}; see --rebuild"
    return line


def rebuilt(made: Rebuilt) -> str:
    """What became of a Collection's manifest, on a line."""
    line = (
        f"{plain(made.collection)}: {made.made:,} rows made from zips, {made.kept:,} were right, "
        f"{len(made.refused):,} zips refused"
    )
    return line + (f"; the damaged manifest lies at {plain(made.set_aside)}" * bool(made.set_aside))


def audited(found: Audited) -> str:
    """What the archive's hashes say, on a line."""
    questions = f"{found.questions} question" + "s" * (found.questions != 1)
    line = (
        f"{plain(found.collection)}: {found.equal:,} Series equal to the archive's, "
        f"{len(found.differing):,} differ ({questions})"
    )
    line += f", {found.unasked:,} not asked about" if found.unasked else ""
    return line + (f", {found.not_compared:,} not compared" if found.not_compared else "")


def damages(collection: str, damaged: Iterable[Damage]) -> list[str]:
    """A line for each zip that is not what it should be."""
    return [f"{collection}: {each.series_instance_uid}: {each.problem}" for each in damaged]


def differing(found: Audited) -> list[str]:
    """A line for each Series whose hash is another one at the archive, and for what failed."""
    unknown = "the archive knows no such Series any more"
    other = "the archive's hash of it is another one: what lies there has changed"
    lines = [
        f"{found.collection}: {uid}: {unknown if uid in found.unknown else other}"
        for uid in found.differing
    ]
    return [*lines, f"{found.collection}: {found.failure}"] if found.failure else lines


# --- Datasets -------------------------------------------------------------------------------------


def versions(found: Iterable[tuple[Version, bool]]) -> Grid:
    """Versions of datasets, each with whether it is the latest of its own."""
    counts = [Column(name, justify="right") for name in ("kept", "dropped", "files", "bytes")]
    grid = _grid("dataset", "version", "built (UTC)", *counts, "latest")
    for version, is_latest in found:
        states = version.samples["state"].to_pylist()
        grid.add_row(
            plain(version.name),
            version.version,
            _minute(version.made_at),
            f"{states.count('kept'):,}",
            f"{states.count('dropped'):,}",
            f"{len(version.files):,}",
            size(version.bytes),
            "yes" if is_latest else "",
        )
    return grid


# --- The data dictionary ------------------------------------------------------------------------


def tables() -> Grid:
    """All tables, a line each."""
    grid = _grid(Column("table", no_wrap=True), "one row per", "key", "asked with")
    for table in catalog.TABLES:
        grid.add_row(table.name, table.about, ", ".join(table.key), table.endpoint or "made here")
    return grid


def columns(table: Table) -> Grid:
    """The columns of a table."""
    grid = _grid("column", "type", "DICOM tag", "what it is", title=f"One row per {table.about}")
    for column in table.columns:
        grid.add_row(column.name, str(column.kind.arrow), column.tag, plain(column.about))
    return grid


def table_list() -> str:
    """The tables as a list in Markdown."""
    head = "| table and view | one row per | key | asked with |\n|---|---|---|---|\n"
    rows = [
        f"| `{t.name}` | {t.about} | `{', '.join(t.key)}` | {t.endpoint or 'made here'} |\n"
        for t in catalog.TABLES
    ]
    return head + "".join(rows)


def dictionary() -> str:
    """The data dictionary as Markdown."""
    return "\n".join(line for table in catalog.TABLES for line in _dictionary_of(table))


def _dictionary_of(table: Table) -> list[str]:
    by = f", one partition per `{table.by}`" if table.by else ""
    asked = f" Asked with `{table.endpoint}`." if table.endpoint else " Made here."
    head = [
        f"### `{table.name}`",
        "",
        f"One row per {table.about}; key `{', '.join(table.key)}`{by}.{asked}",
        "",
        "| column | type | DICOM | what it is |",
        "|---|---|---|---|",
    ]
    rows = [
        f"| `{c.name}` | {c.kind.arrow}{'' if c.required else ', may be null'} "
        f"| {c.tag} | {c.about.replace('|', chr(92) + '|')} |"
        for c in table.columns
    ]
    return [*head, *rows, ""]
