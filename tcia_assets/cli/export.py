"""`tcia-assets export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.options import selection_options
from tcia_assets.cli.terminal import exit_with, out, print_note, printable, progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.images.export import ExportResult
from tcia_assets.images.export_paths import DEFAULT_TEMPLATE
from tcia_assets.units import are, counted, format_bytes


@click.command()
@click.argument("collections", nargs=-1, shell_complete=complete_collections)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option(
    "--template",
    default=DEFAULT_TEMPLATE,
    help=f"Folder of each Series, from columns of series.  [default: {DEFAULT_TEMPLATE}]",
)
@click.option("--flat", is_flag=True, help="Write all files into the folder itself.")
@selection_options
def export(
    collections: tuple[str, ...], *, to: Path, template: str, flat: bool, **criteria: Any
) -> None:
    """Write the DICOM files of Series of COLLECTIONS into folders, for viewers and converters.

    Without names and criteria, of all Series on disk. Only what is on disk is exported, nothing is
    fetched, and the zips stay. What was exported before is not written again; an interrupted
    export goes on. Licences, citations and a table of the Series are written beside them.

    \b
    Examples:
      tcia-assets export --to dicom
      tcia-assets export LCTSC --modality CT --to ct --template "{PatientID}/{SeriesInstanceUID}"
      tcia-assets export --series 1.3.6.1.4.1.14519.5.2.1.1 --flat --to one
    """
    with progress_bar("Export") as report:
        result = open_mirror().export(
            to, collections, template=template, flat=flat, report=report, **criteria
        )
    out.print(printable(_summary(result, to)), soft_wrap=True)
    if result.not_on_disk:
        count = result.not_on_disk
        print_note(
            f"{count:,} selected Series {are(count)} not complete on disk: run `tcia-assets fetch` "
            "first"
        )
    exit_with(result.failures)


def _summary(result: ExportResult, to: Path) -> str:
    line = (
        f"{result.exported:,} Series exported to {to}: {counted(result.files, 'file')} of "
        f"{format_bytes(result.bytes)}"
    )
    return line + (f"; {result.kept:,} were there already" if result.kept else "")
