"""What a fetch would do, as a table, and notes about a selection that may be a mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Column
from rich.table import Table as Grid

from tcia_assets import catalog
from tcia_assets.cli.terminal import make_grid, printable, right_aligned
from tcia_assets.images.disk_space import format_bytes
from tcia_assets.images.plan import FetchPlan
from tcia_assets.metadata.licenses import unmatched_licenses
from tcia_assets.metadata.selection import Selection, check_shared_lists
from tcia_assets.store.warehouse import Warehouse

_MOST_NAMED = 3
_LICENSES = "SELECT DISTINCT LicenseName FROM current_series WHERE LicenseName NOTNULL"


def plan_table(plans: Sequence[FetchPlan]) -> Grid:
    """Return a table with one row a Collection: Series, bytes, reasons, and what is left out."""
    grid = make_grid(
        Column("Collection", overflow="fold", min_width=10),
        right_aligned("here"),
        right_aligned("to fetch"),
        right_aligned("bytes"),
        Column("why", overflow="fold"),
        Column("left", overflow="fold"),
    )
    for each in plans:
        grid.add_row(
            printable(each.collection),
            f"{each.complete:,}",
            f"{len(each.now):,}",
            format_bytes(each.bytes_now) + ("+" if each.sizes_unknown else ""),
            _nonzero(each.reasons),
            _nonzero(_left(each)),
        )
    if len(plans) > 1:
        total = sum(len(each.now) for each in plans)
        here = sum(each.complete for each in plans)
        bytes_now = format_bytes(sum(each.bytes_now for each in plans))
        grid.add_section()
        grid.add_row("in all", f"{here:,}", f"{total:,}", bytes_now)
    return grid


def _left(plan: FetchPlan) -> dict[str, int]:
    return {
        f"later ({format_bytes(plan.bytes_later)})": len(plan.later),
        "given up": len(plan.given_up),
        "denied": plan.denied,
    }


def _nonzero(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def selection_notes(selection: Selection, warehouse: Warehouse) -> list[str]:
    """Return a line for each part of a selection that has no effect or is uncertain.

    Raises:
        UnknownName: a shared list that was not refreshed, or a licence like none that is known.
    """
    check_shared_lists(selection, warehouse.keys(catalog.SHARED_LISTS))
    notes = []
    missing = warehouse.query(selection.unknown_series, tables=selection.tables).to_pylist()
    if missing:
        uids = ", ".join(row["SeriesInstanceUID"] for row in missing[:_MOST_NAMED])
        more = ", ..." if len(missing) > _MOST_NAMED else ""
        notes.append(f"{len(missing)} listed Series are not known here, or withdrawn: {uids}{more}")
    known = warehouse.query(_LICENSES)["LicenseName"].to_pylist()
    notes += [
        f"no known Series has the licence {name!r}"
        for name in unmatched_licenses(selection.licenses, known)
    ]
    unlicensed = warehouse.query(
        f"SELECT count(*) AS series FROM current_series WHERE {selection.unlicensed}",
        tables=selection.tables,
    )["series"][0].as_py()
    if unlicensed:
        notes.append(f"the archive tells no licence of {unlicensed} of these Series")
    return notes
