"""`tcia-assets status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console, Group
from rich.table import Table as Grid

from tcia_assets.cli.terminal import (
    fits,
    format_minute,
    make_grid,
    out,
    print_note,
    printable,
)
from tcia_assets.cli.workspace import EMPTY_WAREHOUSE, open_mirror
from tcia_assets.images.disk_space import format_bytes
from tcia_assets.images.status import CollectionStatus, collection_status
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import parse_selection
from tcia_assets.store.warehouse import Warehouse

# Columns of the table: numbers of Series, then bytes and instants.
_COUNTS = ("series", "selected", "complete", "incomplete", "missing", "withdrawn")
_MEASURES = ("on disk", "to come", "last change", "compared")
_SUMMED = (*_COUNTS, "bytes_on_disk", "bytes_to_fetch", "sizes_unknown")


@click.command()
@click.argument("collections", nargs=-1)
def status(collections: tuple[str, ...]) -> None:
    """Show the status of COLLECTIONS, or of all.

    For each Collection: the number of Series that are known, selected by TCIA_IMAGE_SELECTION,
    complete on disk, incomplete, missing from the newest listing, and withdrawn; the bytes on disk
    and to come; the time of the newest change event, and of the last comparison of the whole
    Collection with the source. Sends no request.

    \b
    Examples:
      tcia-assets status
      tcia-assets status LCTSC "RIDER Lung CT"
    """
    mirror = open_mirror()
    chosen = mirror.refreshed_collections(collections or None)
    print_status(mirror.warehouse, chosen, parse_selection(mirror.settings.image_selection))


def print_status(
    warehouse: Warehouse, collections: Sequence[str], selection: Selection | None
) -> None:
    """Print a table with one row a Collection, or a note if there is none."""
    if not collections:
        print_note(EMPTY_WAREHOUSE)
        return
    out.print(_tables(collection_status(warehouse, collections, selection), out))


def _tables(rows: Sequence[CollectionStatus], console: Console) -> Group:
    """One table if the console is wide enough; else two, counts and then bytes and instants."""
    names = [each.collection for each in rows]
    with_total = [*rows, _total(rows)]
    counts, measures = (
        [_counts(each) for each in with_total],
        [_measures(each) for each in with_total],
    )
    both = [a + b for a, b in zip(counts, measures, strict=True)]
    grids = [_grid_of((*_COUNTS, *_MEASURES), names, both)]
    if not fits(grids[0], console):
        grids = [_grid_of(_COUNTS, names, counts), _grid_of(_MEASURES, names, measures)]
    spaced = [part for each in grids for part in (each, "")][:-1]
    return Group(*spaced, *_footnotes(rows))


def _footnotes(rows: Sequence[CollectionStatus]) -> list[str]:
    notes = "Counts are Series. Bytes on disk are of zips, bytes to come of DICOM. Times are UTC."
    if any(each.selected is None for each in rows):
        notes += "\nTCIA_IMAGE_SELECTION is not set, so no Series is selected."
    lines = [f"[dim]{notes}[/]"]
    if suspect := [printable(each.collection) for each in rows if each.is_suspect]:
        lines.append(
            "[yellow]Suspect:[/] removed from the source's list, so not refreshed: "
            + ", ".join(suspect)
        )
    return lines


def _grid_of(columns: Sequence[str], names: Sequence[str], lines: Sequence[Sequence[str]]) -> Grid:
    """Return a table with one line per Collection; the last of `lines` is the total."""
    grid = make_grid(show_footer=len(names) > 1)
    footer = f"{len(names)} Collections"
    grid.add_column("Collection", footer=footer, overflow="fold", min_width=len(footer))
    for name, total in zip(columns, lines[-1], strict=True):
        grid.add_column(name, footer=total, justify="right", no_wrap=True)
    for name, cells in zip(names, lines[:-1], strict=True):
        grid.add_row(printable(name), *cells)
    return grid


def _total(rows: Sequence[CollectionStatus]) -> CollectionStatus:
    columns: dict[str, list[Any]] = {
        name: [getattr(each, name) for each in rows] for name in _SUMMED
    }
    sums: dict[str, Any] = {n: None if None in v else sum(v) for n, v in columns.items()}
    return CollectionStatus("", **sums)


def _counts(each: CollectionStatus) -> list[str]:
    counts = [getattr(each, name) for name in _COUNTS]
    return ["-" if count is None else f"{count:,}" for count in counts]


def _measures(each: CollectionStatus) -> list[str]:
    # Where sizes are unknown, the sum of the others is a lower bound.
    bound = "> " if each.sizes_unknown else ""
    return [
        format_bytes(each.bytes_on_disk),
        "-" if each.bytes_to_fetch is None else f"{bound}{format_bytes(each.bytes_to_fetch)}",
        format_minute(each.changed_at),
        format_minute(each.compared_at),
    ]
