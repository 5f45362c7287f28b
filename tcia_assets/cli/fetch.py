"""`tcia-assets fetch`."""

from __future__ import annotations

import click

from tcia_assets.cli.fetch_plan import plan_table
from tcia_assets.cli.options import parse_shard, parse_size
from tcia_assets.cli.status import print_status
from tcia_assets.cli.terminal import exit_with, out
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.errors import RunFailed
from tcia_assets.images.disk_space import check_disk_space


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
    mirror = open_mirror(verbose=verbose)
    licenses = {"deny": list(deny_license), "allow": list(allow_license)}
    request = mirror.plan_fetch(
        collections,
        selection=file,
        shard=shard,
        retry=retry,
        modalities=list(modality),
        body_parts=list(body_part),
        where=where,
        manifests=list(manifest),
        series=list(series),
        shared_lists=list(shared_list),
        licenses={name: names for name, names in licenses.items() if names} or None,
        max_series_per_run=max_series,
        max_bytes_per_run=max_bytes,
        max_minutes_per_run=max_minutes,
    )
    if not request.plans:
        return
    if dry_run:
        out.print(plan_table(request.plans))
        check_disk_space(request.plans, mirror.settings.root)
        return
    failures: tuple[str, ...] = ()
    try:
        mirror.run_fetch(request)
    except RunFailed as error:
        failures = error.failures
    planned = [each.collection for each in request.plans]
    print_status(mirror.warehouse, planned, request.run.selection)
    exit_with(failures)
