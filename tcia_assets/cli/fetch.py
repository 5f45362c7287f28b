"""`tcia-assets fetch`, and the table of its plan that a dry run prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import click
from rich.table import Column
from rich.table import Table as Grid

from tcia_assets import catalog
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.options import parse_shard, parse_size, selection_options
from tcia_assets.cli.status import print_status
from tcia_assets.cli.terminal import exit_with, make_grid, out, printable, right_aligned
from tcia_assets.cli.workspace import import_dagster, open_mirror
from tcia_assets.errors import RunFailed, UsageError
from tcia_assets.images.disk_space import check_disk_space
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.plan import FetchPlan
from tcia_assets.metadata.series_lists import is_uid
from tcia_assets.mirror import Mirror
from tcia_assets.units import format_bytes

_limit = partial(click.option, type=click.IntRange(min=1))


@click.command()
@click.argument(
    "names",
    metavar="[COLLECTIONS | SERIES]...",
    nargs=-1,
    shell_complete=complete_collections,
)
@selection_options
@_limit("--max-series", "max_series_per_run", help="Maximum number of Series.")
@click.option(
    "--max-bytes",
    "max_bytes_per_run",
    metavar="SIZE",
    callback=parse_size,
    help="Maximum size, such as 20GB.",
)
@_limit("--max-minutes", "max_minutes_per_run", help="Start no new Series after this time.")
@click.option(
    "--shard",
    metavar="I/N",
    callback=parse_shard,
    default="0/1",
    help="Fetch part I of N, to share the work among N machines; I starts at 0.",
)
@click.option(
    "--ignore-quiet-hours", is_flag=True, help="Also fetch in the quiet hours of the selection."
)
@click.option("--retry", is_flag=True, help="Also try Series that were given up.")
@click.option("--dry-run", is_flag=True, help="Only print what would be fetched.")
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def fetch(
    names: tuple[str, ...],
    *,
    selection: str | None,
    series: tuple[str, ...],
    shard: tuple[int, int],
    retry: bool,
    ignore_quiet_hours: bool,
    dry_run: bool,
    verbose: bool,
    **criteria: Any,  # each of the other options has the name of a field of a Selection
) -> None:
    """Download and verify the images of Series, one zip a Series.

    Without other options, all Series of the named COLLECTIONS; or single SERIES, by their
    SeriesInstanceUIDs; without names, what --selection or TCIA_IMAGE_SELECTION selects. What is on
    disk already is not fetched again.

    Collections must have been refreshed. Of Series in --manifest, --series or SERIES that are not
    known yet, the metadata is requested first, also in a dry run. `status` shows their Collections
    as partial until they are refreshed.

    \b
    Examples:
      tcia-assets fetch LCTSC --dry-run
      tcia-assets fetch "RIDER Lung CT" --modality CT --where "ImageCount < 300"
      tcia-assets fetch --selection selection.yaml
      tcia-assets fetch --manifest manifest.tcia --deny-license NC
      tcia-assets fetch 1.3.6.1.4.1.14519.5.2.1.7014.4598.1 1.3.6.1.4.1.14519.5.2.1.7014.4598.2
      tcia-assets fetch LCTSC --allow-license "CC BY" --max-bytes 20GB
    """
    mirror = open_mirror(verbose=verbose)
    known = mirror.warehouse.keys(catalog.SERIES)
    uids = [name for name in names if "." in name and is_uid(name) and name not in known]
    if uids and len(uids) < len(names):
        raise UsageError("name either Collections or Series; --series narrows Collections")
    if not dry_run:
        import_dagster()
    session = mirror.plan_fetch(
        () if uids else names,
        selection=selection,
        series=(*series, *uids),
        shard=shard,
        retry=retry,
        ignore_quiet_hours=ignore_quiet_hours,
        **criteria,
    )
    if dry_run and session.plans:
        out.print(_plan_table(session.plans))
        check_disk_space(session.plans, mirror.warehouse, mirror.settings)
    if dry_run or not session.plans:
        exit_with(session.not_stored)
        return
    failures: tuple[str, ...] = ()
    try:
        mirror.run_fetch(session)
    except RunFailed as error:
        failures = error.failures
    except KeyboardInterrupt:
        _print_status(mirror, session)
        raise
    _print_status(mirror, session)
    exit_with(failures)


def _print_status(mirror: Mirror, session: FetchSession) -> None:
    collections = [each.collection for each in session.plans]
    print_status(mirror.warehouse, collections, session.selection, session.counts)


def _plan_table(plans: Sequence[FetchPlan]) -> Grid:
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
