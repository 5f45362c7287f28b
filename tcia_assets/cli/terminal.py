"""Text for a terminal: consoles, escaping, sizes and times, tables and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.table import Table as Grid

from tcia_assets.errors import escape_unprintable
from tcia_assets.progress import Listener

FAILED, MISUSED = 1, 2
# What a shell reports of a process that the signal of Ctrl-C ended.
INTERRUPTED = 130
# Without emoji: rich would replace a text such as ":x:".
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

# Wider than any terminal, so that rich measures a table without folding it.
_UNBOUNDED = 1_000_000
_ESTIMATE_S = 600.0


def printable(text: str) -> str:
    """Escape a text for the console: it stays one line, and rich's markup has no effect."""
    return escape(escape_unprintable(text))


def format_minute(at: datetime | None) -> str:
    """Return an instant in UTC, to the minute; "" for None."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def print_note(text: str) -> None:
    """Print a note to standard error; the text is escaped."""
    err.print(f"[yellow]Note:[/] {printable(text)}", soft_wrap=True)


def exit_with(failures: Iterable[str]) -> None:
    """Print each failure, and exit with code 1 if there are any.

    Further lines of a failure are indented, so that none looks like another failure.
    """
    failures = list(failures)
    for failure in failures:
        first, *more = failure.split("\n")
        err.print(f"[red]failed:[/] {printable(first)}", soft_wrap=True)
        for line in more:
            err.print(f"  {printable(line)}", soft_wrap=True)
    if failures:
        sys.exit(FAILED)


def make_grid(*columns: str | Column, **options: Any) -> Grid:
    """Return an empty table without borders, to save width."""
    return Grid(
        *columns,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
        **options,
    )


def right_aligned(name: str) -> Column:
    """Return a column for numbers."""
    return Column(name, justify="right")


def fits(grid: Grid, console: Console, *, folding: float = 1.0) -> bool:
    """Return whether the console is wide enough to show the table without folding a cell.

    With a `folding` above 1, the table may be that many times wider than the console.
    """
    unbounded = console.options.update(width=_UNBOUNDED)
    return Measurement.get(console, unbounded, grid).maximum <= console.width * folding


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error; yields a function that takes `done` and `total`."""
    # Where nobody looks, rich would write an empty line.
    hidden = not err.is_terminal
    with Progress(*_bar_columns(), console=err, transient=True, disable=hidden) as progress:
        task = progress.add_task(printable(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def bytes_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """As `progress_bar`, of bytes: their rate gives the time that is left, whatever each file has.

    Of half a terabyte whose files have between a kilobyte and two gigabytes, their number tells
    little.
    """
    hidden = not err.is_terminal
    with Progress(*_byte_columns(), console=err, transient=True, disable=hidden) as progress:
        task = progress.add_task(printable(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def run_progress_bar(title: str) -> Iterator[Listener]:
    """Show the progress of a run on standard error; the bar stays, and is full after success."""
    columns = (*_bar_columns(), TextColumn("{task.fields[note]}"))
    # A sample may take minutes: of steps that are longer than the period, no end is estimated.
    with Progress(*columns, console=err, speed_estimate_period=_ESTIMATE_S) as progress:
        task = progress.add_task(title, total=1, note="")
        yield lambda done, total, note: progress.update(
            task, completed=done, total=total, note=note
        )
        progress.update(task, completed=progress.tasks[0].total)


def _byte_columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )


def _bar_columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
