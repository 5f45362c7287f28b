"""`tcia-assets status`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Console, Group
from rich.table import Table as Grid

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.options import format_option
from tcia_assets.cli.query_result import write_result
from tcia_assets.cli.terminal import fits, format_minute, make_grid, out, print_note, printable
from tcia_assets.cli.workspace import EMPTY_WAREHOUSE, open_mirror
from tcia_assets.errors import shorten
from tcia_assets.images.series_counts import SeriesCounts
from tcia_assets.images.status import COUNTS, SUMMED, collection_status
from tcia_assets.images.zip_parts import count_proven
from tcia_assets.metadata.citations import doi_url
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import parse_selection
from tcia_assets.metadata.source_outage import find_outage
from tcia_assets.store.data_folder import missing_folder
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import counted, format_bytes

# Columns of the table after COUNTS: bytes and instants.
_MEASURES = ("on disk", "to come", "last change", "compared")
_LONGEST_DESCRIPTION = 2000
_Row = dict[str, Any]


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@format_option("table", "csv", "json")
@click.option(
    "--verbose", "-v", is_flag=True, help="Also show what the source says about each Collection."
)
def status(collections: tuple[str, ...], form: str, *, verbose: bool) -> None:
    """Show the status of COLLECTIONS, or of all.

    For each Collection: the number of Series that are known, selected by TCIA_IMAGE_SELECTION,
    complete on disk, incomplete, missing from the newest listing, and withdrawn; the number of zips
    that an interrupted run has left for the next `fetch` to read (unindexed); the bytes on disk and
    to come; the time of the newest change event, and of the last comparison of the whole
    Collection with the source. A Collection is partial if only single Series of it were fetched and
    it was never refreshed. If the source does not answer, it is shown since when. Sends no request.

    \b
    Examples:
      tcia-assets status
      tcia-assets status LCTSC "RIDER Lung CT"
      tcia-assets status LCTSC --verbose
      tcia-assets status --format json
    """
    mirror = open_mirror()
    chosen = mirror.refreshed_collections(collections or None)
    if form != "table":
        write_result(mirror.status(chosen), form, None, len(chosen))
        return
    print_status(mirror.warehouse, chosen, parse_selection(mirror.settings.image_selection))
    if chosen:
        _print_proofs(mirror.warehouse, chosen, mirror.settings.verify_days)
    if outage := find_outage(mirror.warehouse, mirror.settings, datetime.now(UTC)):
        head = "Frozen" if outage.is_gone else "No answer"
        out.print(f"[red]{head}:[/] {printable(str(outage))}", soft_wrap=True)
    if verbose:
        for name in chosen:
            _print_descriptions(name, mirror.warehouse)


def print_status(
    warehouse: Warehouse,
    collections: Sequence[str],
    selection: Selection | None,
    counts: SeriesCounts | None = None,
) -> None:
    """Print a table with one row a Collection, or a note if there is none.

    What a run has counted at its end is not counted again.
    """
    if not collections:
        print_note(EMPTY_WAREHOUSE + missing_folder(warehouse))
        return
    rows = collection_status(warehouse, collections, selection, counts=counts).to_pylist()
    out.print(_tables(rows, out))


def _print_proofs(warehouse: Warehouse, collections: Sequence[str], days: int) -> None:
    """Print how many zips were fetched or read again in so many days, and the oldest proof."""
    since = datetime.now(UTC) - timedelta(days=days)
    rows = count_proven(warehouse, collections, since)
    if not rows:
        return
    zips, proven = (sum(row[name] for row in rows) for name in ("zips", "zips_proven"))
    oldest = min(rows, key=lambda row: row["oldest_proof_at"])
    at, name = format_minute(oldest["oldest_proof_at"]), printable(oldest["Collection"])
    share = f"{100 * proven // zips} % of {counted(zips, 'zip')} in the last {days} days"
    cure = "" if proven == zips else "; the schedule tcia_verify_daily or `verify` reads them"
    colour = "dim" if proven == zips else "yellow"
    text = f"Fetched or read again: {share}, the oldest on {at} ({name}){cure}."
    out.print(f"[{colour}]{text}[/]")


def _print_descriptions(collection: str, warehouse: Warehouse) -> None:
    """Print each publication of a Collection: its address, licence and text."""
    rows = warehouse.read_or_empty(COLLECTION_DESCRIPTIONS, collection).to_pylist()
    for row in rows or [{}]:
        facts = [doi_url(row.get("doi") or "") or row.get("citation"), row.get("LicenseName")]
        head = "; ".join(printable(fact) for fact in facts if fact) or "no description"
        out.print(f"\n[bold]{printable(collection)}[/]: {head}", soft_wrap=True)
        if title := row.get("title"):
            out.print(printable(title), soft_wrap=True)
        text = shorten(row.get("description") or "", _LONGEST_DESCRIPTION)
        for line in text.splitlines():
            out.print(f"  {printable(line)}", soft_wrap=True)


def _tables(rows: Sequence[_Row], console: Console) -> Group:
    """One table if the console is wide enough; else two, counts and then bytes and instants.

    The counts of all tables but `unindexed`, which is seldom above zero, fit 80 columns.
    """
    names = [each["Collection"] for each in rows]
    lines = [_cells(each) for each in [*rows, _total(rows)]]
    grids = [_grid_of((*COUNTS, *_MEASURES), names, lines)]
    if not fits(grids[0], console):
        counts = [name for name in COUNTS if name != "unindexed"]
        grids = [_grid_of(columns, names, lines) for columns in (counts, _MEASURES)]
    spaced = [part for each in grids for part in (each, "")][:-1]
    return Group(*spaced, *_footnotes(rows))


def _footnotes(rows: Sequence[_Row]) -> list[str]:
    notes = "Counts are Series. Bytes on disk are of zips, bytes to come of DICOM. Times are UTC."
    if any(each["selected"] is None for each in rows):
        notes += "\nTCIA_IMAGE_SELECTION is not set, so no Series is selected."
    lines = [f"[dim]{notes}[/]"]
    if unindexed := [each for each in rows if each["unindexed"]]:
        zips = [f"{each['unindexed']:,} of {printable(each['Collection'])}" for each in unindexed]
        lines.append(
            "[yellow]Unindexed:[/] zips that not all tables have yet, as after an interrupted run "
            "or an upgrade; the next fetch completes them: " + ", ".join(zips)
        )
    if partial := [each["Collection"] for each in rows if each["is_partial"]]:
        names = " ".join(shlex.quote(name) for name in partial)
        lines.append(
            "[yellow]Partial:[/] only Series that were fetched one by one are known; for all: "
            + printable(f"tcia-assets refresh {names}")
        )
    if suspect := [printable(each["Collection"]) for each in rows if each["is_suspect"]]:
        lines.append(
            "[yellow]Suspect:[/] removed from the source's list, so not refreshed: "
            + ", ".join(suspect)
        )
    return lines


def _grid_of(
    columns: Sequence[str], names: Sequence[str], lines: Sequence[Mapping[str, str]]
) -> Grid:
    """Return a table with one line per Collection; the last of `lines` is the total."""
    grid = make_grid(show_footer=len(names) > 1)
    footer = counted(len(names), "Collection")
    grid.add_column("Collection", footer=footer, overflow="fold", min_width=len(footer))
    for name in columns:
        grid.add_column(name, footer=lines[-1][name], justify="right", no_wrap=True)
    for name, cells in zip(names, lines[:-1], strict=True):
        grid.add_row(printable(name), *(cells[column] for column in columns))
    return grid


def _total(rows: Sequence[_Row]) -> _Row:
    columns = {name: [each[name] for each in rows] for name in SUMMED}
    sums = {name: None if None in values else sum(values) for name, values in columns.items()}
    return sums | {"changed_at": None, "compared_at": None}


def _cells(each: _Row) -> dict[str, str]:
    counts = {name: "-" if each[name] is None else f"{each[name]:,}" for name in COUNTS}
    to_come = each["bytes_to_fetch"]
    # Where sizes are unknown, the sum of the others is a lower bound.
    bound = "> " if each["sizes_unknown"] else ""
    return counts | {
        "on disk": format_bytes(each["bytes_on_disk"]),
        "to come": "-" if to_come is None else f"{bound}{format_bytes(to_come)}",
        "last change": format_minute(each["changed_at"]),
        "compared": format_minute(each["compared_at"]),
    }
