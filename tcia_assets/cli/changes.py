"""`tcia-assets changes`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import click

from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.options import format_option, parse_moment
from tcia_assets.cli.query_result import write_result
from tcia_assets.cli.terminal import err, format_minute, out, print_note, printable
from tcia_assets.cli.workspace import EMPTY_WAREHOUSE, open_mirror
from tcia_assets.errors import escape_unprintable, shorten
from tcia_assets.metadata import history
from tcia_assets.metadata.events import IMAGE_EVENTS, LIFE_EVENTS
from tcia_assets.store.data_folder import missing_folder

_LONGEST_VALUE = 80


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@click.option(
    "--since",
    "moment",
    metavar="DAY",
    callback=parse_moment,
    help="Start at this date or time, in UTC unless it names a zone.  [default: a week ago]",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([*LIFE_EVENTS, *IMAGE_EVENTS]),
    help="Show only this event; may be repeated.",
)
@format_option("table", "csv", "json")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Maximum number of events shown on the terminal; the newest are shown.",
)
def changes(
    collections: tuple[str, ...], moment: datetime, events: tuple[str, ...], form: str, rows: int
) -> None:
    """Show change events of Series of COLLECTIONS, or of all, the newest last.

    Each line has the time, the event, the Collection and the Series; below it stand the columns
    that changed, old -> new. The table series_changes has all of it.

    \b
    Examples:
      tcia-assets changes --since 2026-11-01
      tcia-assets changes LCTSC --since 2026-11-01T08:30
      tcia-assets changes --event withdrawn --event moved
      tcia-assets changes --since 2026-11-01 --format csv > changes.csv
    """
    mirror = open_mirror()
    if missing := missing_folder(mirror.warehouse):
        print_note(EMPTY_WAREHOUSE + missing)  # and the folder is not made
        return
    chosen = mirror.refreshed_collections(collections)
    found = history.events_since(moment, mirror.warehouse, collections=chosen, events=events)
    if not found.num_rows:
        note = f"no such change event since {moment:%Y-%m-%d %H:%M} UTC"
        if not mirror.refreshed_collections():
            note = EMPTY_WAREHOUSE
        print_note(note)
    if form != "table":
        write_result(found, form, None, rows)
        return
    hidden = max(0, found.num_rows - rows)
    if hidden:
        err.print(f"[dim]{hidden:,} earlier events are not shown (--rows)[/]")
    for line in _lines(found.slice(hidden).to_pylist()):
        # A line break in a description would look like another event.
        out.print(printable(escape_unprintable(line)), soft_wrap=True)


def _lines(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Rows of `series_changes` as lines of text."""
    for row in events:
        at = format_minute(row["seen_at"])
        yield f"{at}  {row['event']:<10}  {row['Collection']}  {row['SeriesInstanceUID']}"
        yield from (f"    {detail}" for detail in _details(row))


def _details(row: dict[str, Any]) -> Iterator[str]:
    before, after = (json.loads(row[name] or "{}") for name in ("before", "after"))
    if row["event"] == "moved":
        yield f"to {after['moved_to']}"
    for name in row["changed_columns"] or ():
        yield f"{name}: {_value(before.get(name))} -> {_value(after.get(name))}"


def _value(value: Any) -> str:
    return "nothing" if value is None else shorten(str(value), _LONGEST_VALUE)
