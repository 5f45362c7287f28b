"""What a fetch would do, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Column
from rich.table import Table as Grid

from tcia_assets.cli.terminal import make_grid, printable, right_aligned
from tcia_assets.images.disk_space import format_bytes
from tcia_assets.images.plan import FetchPlan


def plan_table(plans: Sequence[FetchPlan]) -> Grid:
    """Return a table with one row a Collection: Series, bytes, reasons, and what is left out."""
    grid = make_grid(
        Column("Collection", overflow="fold", min_width=10),
        right_aligned("on disk"),
        right_aligned("to fetch"),
        right_aligned("bytes"),
        Column("reasons", overflow="fold"),
        Column("left out", overflow="fold"),
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
        grid.add_row("total", f"{here:,}", f"{total:,}", bytes_now)
    return grid


def _left(plan: FetchPlan) -> dict[str, int]:
    return {
        f"later ({format_bytes(plan.bytes_later)})": len(plan.later),
        "given up": len(plan.given_up),
        "denied": plan.denied,
    }


def _nonzero(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
