"""`tcia-assets fetch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import click

from tcia_assets import catalog
from tcia_assets.cli.fetch_plan import plan_table, selection_notes
from tcia_assets.cli.options import parse_shard, parse_size
from tcia_assets.cli.status import print_status
from tcia_assets.cli.terminal import exit_with, out, print_note
from tcia_assets.cli.workspace import open_runs, open_warehouse, require_refreshed
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.images.disk_space import check_disk_space
from tcia_assets.images.fetch_run import FetchRun
from tcia_assets.images.plan import FetchPlan
from tcia_assets.images.shard import Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.selection_parser import (
    parse_selection,
    selection_from_fields,
    selection_to_fields,
)
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse

_GIVEN_UP = "; given up until the archive lists it otherwise, or you use --retry"


@click.command()
@click.argument("collections", nargs=-1)
@click.option("--selection", "file", help="YAML or JSON, inline or a file; see the README.")
@click.option("--modality", multiple=True, help="Only this Modality; may be repeated.")
@click.option("--body-part", multiple=True, help="Only this BodyPartExamined; may be repeated.")
@click.option("--where", default="", help="A SQL condition over current_series.")
@click.option("--manifest", multiple=True, help="Only Series in this .tcia, CSV or TSV file.")
@click.option("--series", multiple=True, help="Only this SeriesInstanceUID; may be repeated.")
@click.option("--shared-list", multiple=True, help="Only Series on this shared list.")
@click.option("--deny-license", multiple=True, help="No Series under this licence, such as NC.")
@click.option(
    "--allow-license", multiple=True, help="Only Series under this licence; may be repeated."
)
@click.option("--max-series", type=click.IntRange(min=1), help="Maximum number of Series.")
@click.option(
    "--max-bytes", metavar="SIZE", callback=parse_size, help="Maximum size, such as 20GB."
)
@click.option(
    "--max-minutes", type=click.IntRange(min=1), help="Start no new Series after this time."
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=parse_shard,
    default="0/1",
    help="Fetch part I of N, to share the work among N machines; I starts at 0.",
)
@click.option("--retry", is_flag=True, help="Also try Series that were given up.")
@click.option("--dry-run", is_flag=True, help="Only print what would be fetched.")
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def fetch(
    collections: tuple[str, ...],
    *,
    file: str | None,
    modality: tuple[str, ...],
    body_part: tuple[str, ...],
    where: str,
    manifest: tuple[str, ...],
    series: tuple[str, ...],
    shared_list: tuple[str, ...],
    deny_license: tuple[str, ...],
    allow_license: tuple[str, ...],
    max_series: int | None,
    max_bytes: int | None,
    max_minutes: int | None,
    shard: tuple[int, int],
    retry: bool,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Download and verify the images of Series of COLLECTIONS, one zip a Series.

    Without other options, all Series of the named Collections; without names, what --selection or
    TCIA_IMAGE_SELECTION selects. What is on disk already is not fetched again.

    \b
    Examples:
      tcia-assets fetch LCTSC --dry-run
      tcia-assets fetch "RIDER Lung CT" --modality CT --where "ImageCount < 300"
      tcia-assets fetch --selection selection.yaml
      tcia-assets fetch --manifest manifest.tcia --deny-license NC
      tcia-assets fetch LCTSC --allow-license "CC BY" --max-bytes 20GB
    """
    settings = Settings.from_env()
    selection = _selection(
        parse_selection(file if file is not None else settings.image_selection),
        {
            "collections": list(collections),
            "modalities": list(modality),
            "body_parts": list(body_part),
            "where": where,
            "manifests": list(manifest),
            "series": list(series),
            "shared_lists": list(shared_list),
            "licenses": _given({"deny": list(deny_license), "allow": list(allow_license)}) or None,
            "max_series_per_run": max_series,
            "max_bytes_per_run": max_bytes,
            "max_minutes_per_run": max_minutes,
        },
    )
    warehouse, part = open_warehouse(settings), Shard(*shard)
    require_refreshed(selection.collections, warehouse)
    run = FetchRun.for_selection(selection)
    plans = _plan(run, selection, warehouse, part, retry=retry)
    if not plans:
        _exit_without_plan(part)
        return
    if dry_run:
        out.print(plan_table(plans))
    check_disk_space(plans, settings.root)
    if dry_run:
        return
    runs = open_runs(settings, verbose=verbose)
    runs.add_collections(warehouse.keys(catalog.SERIES))
    failures = runs.fetch(run, selection, shard, retry=retry)
    with warehouse.shared_connection():
        print_status(warehouse, [p.collection for p in plans], selection)
        failures += _not_complete(warehouse, run.plans.values())
    exit_with(failures)


def _plan(
    run: FetchRun, selection: Selection, warehouse: Warehouse, part: Shard, *, retry: bool
) -> list[FetchPlan]:
    """Plan each selected Collection, and print what is doubtful about the selection."""
    with warehouse.shared_connection():
        for note in selection_notes(selection, warehouse):
            print_note(note)
        plans = run.plan_all(selection, warehouse, shard=part, retry=retry)
        if not plans:
            _refuse_empty(selection, warehouse)
    return [each for each in plans if each.has_selected_series]


def _selection(base: Selection | None, given: dict[str, Any]) -> Selection:
    """The selection of a file or setting, narrowed by the options of the call."""
    chosen = _given(given)
    if base is None and not chosen:
        raise UsageError("name Collections, or give --selection or TCIA_IMAGE_SELECTION")
    fields = {} if base is None else selection_to_fields(base)
    if fields.get("where") and chosen.get("where"):
        chosen["where"] = f"({fields['where']}\n) AND ({chosen['where']}\n)"
    return selection_from_fields(fields | chosen)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value; 0 is a value."""
    return {name: value for name, value in fields.items() if value not in (None, [], "")}


def _refuse_empty(selection: Selection, warehouse: Warehouse) -> NoReturn:
    """Raise an error that says why nothing is selected, with similar names for a Modality."""
    rows = warehouse.query("SELECT DISTINCT Modality FROM current_series WHERE Modality NOTNULL")
    if not rows.num_rows:
        raise UsageError("no Series is selected: none is known yet; use tcia-assets refresh")
    modalities = rows["Modality"].to_pylist()
    folded = {name.strip().casefold() for name in modalities}
    for name in selection.modalities:
        if name.strip().casefold() not in folded:
            raise UnknownName("Modality of a known Series", name, modalities)
    criteria = [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in selection_to_fields(selection).items()
        if not name.endswith("_per_run")
    ]
    raise UsageError(f"no Series is selected: none has {'; '.join(criteria)}")


def _exit_without_plan(part: Shard) -> None:
    """Series are selected, but none can be fetched: for one shard of several this is no failure."""
    if part.count > 1:
        print_note(f"no Series that can be had is in shard {part}; nothing to do")
        return
    exit_with(
        ["none of the selected Series is on the archive's newest list; they may be back later"]
    )


def _not_complete(warehouse: Warehouse, plans: Iterable[FetchPlan]) -> list[str]:
    """A line for each Series of the plans, given up or not, that is not complete on disk."""
    plans = list(plans)
    given_up = {w.series_instance_uid for each in plans for w in each.given_up}
    wanted = {w.series_instance_uid for each in plans for w in each.now} | given_up
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
