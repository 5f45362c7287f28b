"""`tcia-assets dataset plan`: what a build would take and give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType
from rich.table import Table as Grid

from tcia_assets.cli.completion import complete_datasets
from tcia_assets.cli.declaration_file import find_declaration
from tcia_assets.cli.options import format_option
from tcia_assets.cli.terminal import make_grid, out, print_note, printable, right_aligned
from tcia_assets.pages.dataset_plan import plan_page
from tcia_assets.settings import Settings
from tcia_assets.store.data_folder import open_warehouse
from tcia_assets.store.files import publish_text
from tcia_assets.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from tcia_assets.datasets.plan import DatasetPlan

_MOST_NAMES = 30


@click.command("plan")
@click.argument("name", shell_complete=complete_datasets)
@click.option(
    "--datasets-dir",
    type=click.Path(path_type=Path),
    help="Folder of dataset declarations.  [default: TCIA_DATASETS_DIR]",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write it as a page to look at, in this one file.",
)
@format_option("table", "json")
def plan(name: str, datasets_dir: Path | None, page: Path | None, form: str) -> None:
    """Show what a build of the dataset NAME would take and give, before it reads a zip.

    Images and masks and how they are paired, the names of segments with the label of each, splits,
    leaks, licences, and about how much room and time it takes. Nothing is requested, and nothing
    written but the file of --page. Exit code 1 if a build would be refused for its leaks.

    \b
    Examples:
      tcia-assets dataset plan lung_ct
      tcia-assets dataset plan lung_ct --page plan.html
      tcia-assets dataset plan elsewhere/lung_ct.yaml --format json
    """
    from tcia_assets.datasets.cohort_query import query_cohort  # noqa: PLC0415 - needs an extra
    from tcia_assets.datasets.declaration import load_declaration  # noqa: PLC0415
    from tcia_assets.datasets.plan import plan_dataset  # noqa: PLC0415
    from tcia_assets.datasets.plan_notes import plan_notes  # noqa: PLC0415

    settings = Settings.from_env()
    file = find_declaration(name, datasets_dir or Path(settings.datasets_dir))
    declaration = load_declaration(file)
    warehouse = open_warehouse(settings)
    made = plan_dataset(declaration, query_cohort(declaration, warehouse), warehouse)
    notes = plan_notes(made)
    if form == "json":
        click.echo(json.dumps(made.content, indent=1))
    else:
        for part in _parts(made):
            out.print(part, soft_wrap=isinstance(part, str))
        for note in notes:
            print_note(note)
    if page:
        publish_text(page, plan_page(made, notes))
        print_note(f"open {page.absolute().as_uri()}")
    if made.leaks:
        click.get_current_context().exit(1)


def _parts(plan: DatasetPlan) -> Iterator[RenderableType]:
    """Yield the tables of a plan, each with a line above."""
    yield f"[bold]{printable(plan.title)}[/] ({printable(plan.name)})"
    yield _facts(plan)
    if plan.names:
        yield "\nSegments and ROIs of the paired masks, and the label of each:"
        yield _names(plan)
    yield "\nSplits:"
    yield _splits(plan)
    yield "\nLicences of images and masks:"
    yield _counts(plan.licenses, "licence", "Series")


def _facts(plan: DatasetPlan) -> Grid:
    masks = ", ".join(f"{count:,} by {how}" for how, count in plan.masks.items())
    joined = plan.class_join
    facts = {
        "images": f"{plan.images:,} Series of {counted(plan.patients, 'Patient')}",
        "samples": f"{counted(plan.objects, 'object')}: a sample each, or each frame with "
        "`choose: all`"
        if plan.objects
        else "",
        **{f"channel {each.name}": each.about for each in plan.channels},
        "masks": masks,
        "classes": ", ".join(f"{name or 'without'} {n:,}" for name, n in plan.classes.items()),
        "no image": f"{joined.unused:,} of the {counted(joined.keys, joined.key)} with a class "
        f"have none here, such as {joined.example!r}"
        if joined and joined.unused
        else "",
        "on disk": format_bytes(plan.bytes_on_disk),
        "to fetch": f"{plan.to_fetch:,} Series, {format_bytes(plan.bytes_to_fetch)}"
        if plan.to_fetch
        else "",
        "room": f"about {format_bytes(plan.built_bytes)}; {format_bytes(plan.free_bytes)} are free",
        "time": f"about {format_duration(plan.built_seconds)}, once all is on disk",
    }
    grid = make_grid("", "", show_header=False)
    for name, fact in facts.items():
        if fact:
            grid.add_row(name, printable(fact))
    return grid


def _names(plan: DatasetPlan) -> Grid:
    grid = make_grid("name", "label", right_aligned("images"), right_aligned("drawn"))
    for each in plan.names[:_MOST_NAMES]:
        label = printable(each.label) if each.label else "[yellow]none[/]"
        grid.add_row(printable(each.name), label, f"{each.images:,}", f"{each.drawn:,}")
    if (hidden := len(plan.names) - _MOST_NAMES) > 0:
        grid.add_row(f"and {hidden:,} more")
    return grid


def _splits(plan: DatasetPlan) -> Grid:
    values = [
        (column, value)
        for column in (plan.splits[0].strata if plan.splits else ())
        for value in sorted({v for each in plan.splits for v in each.strata[column]})
    ]
    head = [right_aligned(printable(value)) for _, value in values]
    grid = make_grid("split", right_aligned("Patients"), right_aligned("images"), *head)
    for each in plan.splits:
        cells = [f"{each.strata[column].get(value, 0):,}" for column, value in values]
        grid.add_row(each.split, f"{each.patients:,}", f"{each.images:,}", *cells)
    return grid


def _counts(counts: Mapping[str, int], name: str, unit: str) -> Grid:
    grid = make_grid(name, right_aligned(unit))
    for value, count in counts.items():
        grid.add_row(printable(value), f"{count:,}")
    return grid
