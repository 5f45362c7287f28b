"""`tcia-assets ...`: the archive, the warehouse and the sandbox from a terminal.

What belongs here: arguments, what is printed, exit codes. What does not: any way of doing a thing
that the assets do not have: `refresh` and `fetch` materialize them (`runs.py`).

Exit codes: 0 all is well, 1 something failed or is not complete, 2 the call was wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from tcia_assets import catalog
from tcia_assets.cli import show
from tcia_assets.errors import TciaError, UnknownName, UsageError
from tcia_assets.metadata import history
from tcia_assets.metadata.selection import Selection, from_fields, parse, to_fields
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.version import __version__

if TYPE_CHECKING:
    from tcia_assets.defs.local_runs import Runs
    from tcia_assets.images import Shard

_FAILED, _MISUSED = 1, 2
out, err = Console(highlight=False), Console(stderr=True, highlight=False)


class _Group(click.Group):
    """Turns this package's errors into one line and an exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TciaError as error:
            err.print(f"[bold red]Error:[/] {show.plain(str(error))}", soft_wrap=True)
            sys.exit(_MISUSED if isinstance(error, UsageError) else _FAILED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tcia-assets")
def main() -> None:
    """The Cancer Imaging Archive as Dagster assets.

    Settings come from TCIA_* variables: TCIA_DIALECT, TCIA_BASE_URL, TCIA_DATA_DIR, ...

    \b
    A first look, without the real archive:
      tcia-assets sandbox                          (in another terminal; prints what to export)
      tcia-assets refresh --all
      tcia-assets query "SELECT Collection, count(*) FROM series GROUP BY ALL"
      tcia-assets fetch LCTSC
      tcia-assets status
      tcia-assets dataset build lung_ct
    """


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", default=8042, show_default=True, help="0 takes any that is free.")
@click.option("--full", is_flag=True, help="The whole catalogue; needs the extra `full`.")
def sandbox(host: str, port: int, *, full: bool) -> None:
    """Serve a local archive that speaks the real API.

    Its rows are real; its images are phantoms, made on demand. What it prints says where each
    dialect is; POST to /_sandbox/hold, /release, /revise, /withdraw, /move or /faults changes it.

    \b
    Examples:
      tcia-assets sandbox
      tcia-assets sandbox --port 9000 --full
    """
    from tcia_assets.sandbox.server import serve  # noqa: PLC0415 - starlette is an extra

    serve(host, port, full=full, say=click.echo)


@main.command()
@click.argument("collections", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All Collections that the archive lists.")
@click.option(
    "--shared-list", "lists", multiple=True, help="Also this shared list; may be repeated."
)
@click.option(
    "--max-size-requests",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Series to ask singly.",
)
@click.option("--verbose", is_flag=True, help="Show Dagster's log.")
def refresh(
    collections: tuple[str, ...],
    lists: tuple[str, ...],
    max_size_requests: int,
    *,
    everything: bool,
    verbose: bool,
) -> None:
    """Ask the archive for the metadata of COLLECTIONS and store it.

    \b
    Examples:
      tcia-assets refresh LCTSC "RIDER Lung CT"
      tcia-assets refresh --all
      tcia-assets refresh --shared-list TCIA_TCGA-PRAD_08-09-2016-v3
    """
    if not (collections or everything or lists):
        raise click.UsageError("name Collections, or use --all, or --shared-list NAME")
    runs = _runs(Settings.from_env(), verbose=verbose)
    known = runs.list_collections()
    chosen = known if everything else [show.one_of("Collection", c, known) for c in collections]
    failures = runs.refresh(chosen, max_size_requests) if chosen else []
    failures += runs.refresh_lists(lists) if lists else []
    _finish(failures)


def _runs(settings: Settings, *, verbose: bool) -> Runs:
    """The jobs, run in this process."""
    from tcia_assets.definitions import build_definitions  # noqa: PLC0415 - dagster takes a second
    from tcia_assets.defs.local_runs import Runs  # noqa: PLC0415 - dagster takes a second

    return Runs(build_definitions(datasets=""), settings, err, verbose=verbose)


def _shard(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    """`I/N`: part I (from 0) of N."""
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise click.BadParameter(f"{value!r} is not such as 0/4 or 3/4")
    return int(index), int(count)


_SIZE = re.compile(r"([0-9]+(?:[.][0-9]+)?) ?([kmgt]?)b?", re.IGNORECASE)


def _bytes(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """`500MB`, `1.5 TB` or a plain number."""
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    size = int(float(found[1]) * 1000 ** " KMGT".index((found[2] or " ").upper())) if found else 0
    if size < 1:
        raise click.BadParameter(f"{value!r} is no size such as 500MB, 1.5TB or 20000000000")
    return size


@main.command()
@click.argument("collections", nargs=-1)
@click.option("--selection", "file", help="YAML or JSON, inline or a file; see the README.")
@click.option("--modality", multiple=True, help="Only this Modality; may be repeated.")
@click.option("--body-part", multiple=True, help="Only this BodyPartExamined; may be repeated.")
@click.option("--where", default="", help="SQL over current_series.")
@click.option("--manifest", multiple=True, help="Only Series in this .tcia, CSV or TSV file.")
@click.option("--series", multiple=True, help="Only this SeriesInstanceUID; may be repeated.")
@click.option("--shared-list", multiple=True, help="Only Series on this list, once refreshed.")
@click.option("--deny-license", multiple=True, help="No Series under this licence, such as NC.")
@click.option(
    "--allow-license", multiple=True, help="Only Series under this licence; may be repeated."
)
@click.option("--max-series", type=click.IntRange(min=1), help="Series at most.")
@click.option("--max-bytes", metavar="SIZE", callback=_bytes, help="At most so much, as 20GB.")
@click.option("--max-minutes", type=click.IntRange(min=1), help="Begin no Series after these.")
@click.option(
    "--shard", metavar="I/N", callback=_shard, default="0/1", help="Part I of N, for N at once."
)
@click.option("--retry", is_flag=True, help="Also Series that were given up.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
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
    """Fetch the images of Series of COLLECTIONS, proven whole, as zips.

    Without a selection, all Series of the named Collections; without names, what the selection or
    TCIA_IMAGE_SELECTION says. What is here already is not fetched again.

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
        parse(file if file is not None else settings.image_selection),
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
    from tcia_assets import images  # noqa: PLC0415

    warehouse, part = _warehouse(settings), images.Shard(*shard)
    known = warehouse.keys(catalog.SERIES)
    for name in selection.collections:
        show.one_of("refreshed Collection", name, known)
    budget = images.RunBudget.of(selection)
    with warehouse.kept_open():
        for note in show.doubts(selection, warehouse):
            err.print(f"[yellow]Note:[/] {show.plain(note)}", soft_wrap=True)
        concerned = images.concerned(selection, warehouse)
        if not concerned:
            _refuse_empty(selection, warehouse)
        plans = [
            images.plan(name, selection, warehouse, shard=part, retry=retry, budget=budget)
            for name in concerned
        ]
    plans = [p for p in plans if p.is_about_something]
    if not plans:
        _finish_without_plan(part)
        return
    if dry_run:
        out.print(show.plans(plans))
    images.demand_space(plans, settings.root)
    if dry_run:
        return
    runs = _runs(settings, verbose=verbose)
    runs.list_known(known)
    failures = runs.fetch([p.collection for p in plans if p.now], selection, shard, retry=retry)
    with warehouse.kept_open():
        _show_status(warehouse, [p.collection for p in plans], selection)
        failures += show.not_complete(warehouse, plans)
    _finish(failures)


@main.command()
@click.argument("collections", nargs=-1)
@click.option("--deep", is_flag=True, help="Also inflate each zip and prove it anew.")
@click.option("--audit", is_flag=True, help="Also compare with the archive's own hashes (nbia-v4).")
@click.option("--rebuild", is_flag=True, help="Make what the manifest lacks from the zips.")
def verify(collections: tuple[str, ...], *, deep: bool, audit: bool, rebuild: bool) -> None:
    """Look again at the zips of COLLECTIONS, or of all: are they what was proven?

    What is damaged is failed from then on, and the next fetch has it again.

    \b
    Examples:
      tcia-assets verify
      tcia-assets verify LCTSC --deep
      tcia-assets verify --audit
      tcia-assets verify --rebuild          (the manifest was lost)
    """
    from tcia_assets import images  # noqa: PLC0415
    from tcia_assets.images.headers.image_rows import index_images  # noqa: PLC0415
    from tcia_assets.sources.nbia.client import ArchiveClient  # noqa: PLC0415

    settings = Settings.from_env()
    if audit:
        settings.speaks.endpoint("getMD5Hierarchy")  # said before hours of looking at zips
    warehouse = _warehouse(settings)
    there = images.collections_on_disk(warehouse)
    if not there:
        err.print(f"no images are at {settings.root}", soft_wrap=True)
    chosen = [show.one_of("Collection with images", c, there) for c in collections] or there
    problems: list[str] = []
    if rebuild:
        aside = images.set_aside(chosen, warehouse)
        for name in chosen:
            with show.bar(err, f"Rebuild {name}") as report:
                rebuilt = images.rebuild(name, warehouse, settings.source, report=report)
            rebuilt = replace(rebuilt, set_aside=aside.get(name, rebuilt.set_aside))
            out.print(show.rebuilt(rebuilt), soft_wrap=True)
            problems += show.damages(name, rebuilt.refused)
    for name in chosen:
        with show.bar(err, f"Verify {name}") as report:
            verified = images.verify(name, warehouse, deep=deep, report=report)
        out.print(show.verified(verified), soft_wrap=True)
        problems += show.damages(name, verified.damaged)
    if audit:
        with ArchiveClient(settings) as client:
            for name in chosen:
                index_images(name, warehouse)
                audited = images.audit(name, client, warehouse)
                out.print(show.audited(audited), soft_wrap=True)
                problems += show.differing(audited)
    _finish(problems)


@main.command()
@click.argument("statement")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="A file in place of the terminal.")
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Rows shown at most on the terminal.",
)
def query(statement: str, form: str, output: Path | None, rows: int) -> None:
    """Answer a SQL STATEMENT over the warehouse.

    \b
    Examples:
      tcia-assets query "SELECT * FROM current_series LIMIT 5"
      tcia-assets query "FROM patients" --format csv > patients.csv
      tcia-assets query "FROM series" --format parquet --output series.parquet
    """
    answer = _warehouse(Settings.from_env()).query(statement)
    show.answer(answer, form, output, out, rows)


@main.command()
@click.argument("collections", nargs=-1)
def status(collections: tuple[str, ...]) -> None:
    """Show how things stand in COLLECTIONS, or in all.

    By Collection: Series known, selected by TCIA_IMAGE_SELECTION, complete on disk, incomplete,
    missing from the newest list, withdrawn; bytes on disk and to come; when the last change was
    seen, and when all was last compared with the archive. Asks the archive nothing.

    \b
    Examples:
      tcia-assets status
      tcia-assets status LCTSC "RIDER Lung CT"
    """
    settings = Settings.from_env()
    warehouse = _warehouse(settings)
    known = warehouse.keys(catalog.SERIES)
    chosen = [show.one_of("refreshed Collection", c, known) for c in collections]
    _show_status(warehouse, chosen or known, parse(settings.image_selection))


def _show_status(warehouse: Warehouse, collections: list[str], selection: Selection | None) -> None:
    from tcia_assets import images  # noqa: PLC0415

    if not collections:
        err.print("[yellow]Note:[/] no Series is known yet; use tcia-assets refresh")
        return
    out.print(show.status(images.standing(warehouse, collections, selection), out))


def _moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime:
    """A day or a time, of UTC where it names no zone; a week ago where it is left open."""
    if value is None:
        return (datetime.now(UTC) - timedelta(days=7)).replace(second=0, microsecond=0)
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        example = "2026-11-01 or 2026-11-01T08:30+01:00"
        problem = f"{value!r} is no day or time such as {example}: {error}"
        raise click.BadParameter(problem) from None


@main.command()
@click.argument("collections", nargs=-1)
@click.option(
    "--since",
    "moment",
    metavar="DAY",
    callback=_moment,
    help="From this day or time on, of UTC where it names no zone.  [default: a week ago]",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([*history.OF_LIFE, *history.OF_IMAGES]),
    help="Only this; may be repeated.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Events shown at most on the terminal, the newest.",
)
def changes(
    collections: tuple[str, ...], moment: datetime, events: tuple[str, ...], form: str, rows: int
) -> None:
    """Show what happened to Series of COLLECTIONS, or of all, the newest last.

    When it was seen, what it was, in which Collection, to which Series; below it the columns that
    changed, old -> new. The whole is the table series_changes.

    \b
    Examples:
      tcia-assets changes --since 2026-11-01
      tcia-assets changes LCTSC --since 2026-11-01T08:30
      tcia-assets changes --event withdrawn --event moved
      tcia-assets changes --since 2026-11-01 --format csv > changes.csv
    """
    warehouse = _warehouse(Settings.from_env())
    known = warehouse.keys(catalog.SERIES)
    chosen = [show.one_of("refreshed Collection", c, known) for c in collections]
    found = history.since(moment, warehouse, collections=chosen, events=events)
    if not found.num_rows:
        said = f"nothing of that was seen since {moment:%Y-%m-%d %H:%M} UTC"
        if not known:
            said = "no Series is known yet; use tcia-assets refresh"
        err.print(f"[yellow]Note:[/] {said}")
    if form != "table":
        show.answer(found, form, None, out, rows)
        return
    hidden = max(0, found.num_rows - rows)
    if hidden:
        err.print(f"[dim]{hidden:,} earlier events are not shown (--rows)[/]")
    for line in show.changes(found.slice(hidden).to_pylist()):
        out.print(show.plain(line), soft_wrap=True)


@main.command()
@click.argument("table", required=False)
@click.option("--markdown", is_flag=True, help="The data dictionary as it stands in the docs.")
def tables(table: str | None, *, markdown: bool) -> None:
    """List the tables of the warehouse, or the columns of TABLE."""
    if markdown:
        click.echo(show.dictionary())
    elif table:
        out.print(show.columns(catalog.table(table)))
    else:
        out.print(show.tables())


def _selection(base: Selection | None, given: dict[str, Any]) -> Selection:
    """The selection that a file or setting holds, narrowed by what the call names."""
    chosen = _given(given)
    if base is None and not chosen:
        raise UsageError("name Collections, or give --selection or TCIA_IMAGE_SELECTION")
    fields = {} if base is None else to_fields(base)
    if fields.get("where") and chosen.get("where"):
        chosen["where"] = f"({fields['where']}\n) AND ({chosen['where']}\n)"
    return from_fields(fields | chosen)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is not left open; a limit of 0 is a limit."""
    return {name: value for name, value in fields.items() if value not in (None, [], "")}


def _refuse_empty(selection: Selection, warehouse: Warehouse) -> NoReturn:
    """Says why nothing is selected, with near names for a Modality that occurs nowhere."""
    rows = warehouse.query("SELECT DISTINCT Modality FROM current_series WHERE Modality NOTNULL")
    if not rows.num_rows:
        raise UsageError("no Series is selected: none is known yet; use tcia-assets refresh")
    there = rows["Modality"].to_pylist()
    folded = {name.strip().casefold() for name in there}
    for name in selection.modalities:
        if name.strip().casefold() not in folded:
            raise UnknownName("Modality of a known Series", name, there)
    criteria = [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in to_fields(selection).items()
        if not name.endswith("_per_run")
    ]
    raise UsageError(f"no Series is selected: none has {'; '.join(criteria)}")


def _finish_without_plan(part: Shard) -> None:
    """Series are selected, but none of them is to be had here: for a shard, that may well be."""
    if part.count > 1:
        err.print(f"[yellow]Note:[/] no Series that can be had is in shard {part}; nothing to do")
        return
    _finish(["none of the selected Series is on the archive's newest list; they may be back later"])


def _warehouse(settings: Settings) -> Warehouse:
    """The warehouse at TCIA_DATA_DIR, which need not exist yet but can be no file."""
    for place in (settings.root, *settings.root.parents):
        if place.exists():
            if not place.is_dir():
                raise UsageError(f"TCIA_DATA_DIR is {settings.data_dir!r}; {place} is no folder")
            break
    return Warehouse(settings.root)


def _finish(failures: list[str]) -> None:
    for failure in failures:
        err.print(f"[red]failed:[/] {show.plain(failure)}", soft_wrap=True)
    if failures:
        sys.exit(_FAILED)


# Last, for it uses what is above.
from tcia_assets.cli.datasets import dataset  # noqa: E402

main.add_command(dataset)
