"""`tcia-assets catalogue`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from tcia_assets.cli.terminal import out, print_note, printable, progress_bar
from tcia_assets.cli.workspace import open_mirror
from tcia_assets.pages.build import Catalogue
from tcia_assets.units import counted, format_bytes


@click.command()
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder to write to.  [default: catalogue in the data folder]",
)
@click.option(
    "--volumes",
    type=click.IntRange(min=0),
    help="Series of a Collection whose volume can be opened, first those with masks; each takes "
    "about 2 MB.  [default: as the last time, at first 8]",
)
def catalogue(*, to: Path | None, volumes: int | None) -> None:
    """Write the mirror as pages to look at in a browser.

    They show all Collections to search and filter, with licences, citations and lists of Series to
    download, and the images on disk, which need the extra `datasets`. Nothing is requested from a
    network, neither now nor by a page: open them from the disk, or put the folder on a web server.
    Only pages of what has changed are written again. A folder that has other files is refused.

    \b
    Examples:
      tcia-assets catalogue
      tcia-assets catalogue --to public --volumes 40
    """
    with progress_bar("Catalogue") as report:
        made = open_mirror().catalogue(to, volumes=volumes, report=report)
    out.print(printable(_summary(made)), soft_wrap=True)
    for note in _notes(made):
        print_note(note)
    out.print(printable(f"Open {made.index.as_uri()}"), soft_wrap=True)


def _notes(made: Catalogue) -> Iterator[str]:
    if made.unpictured:
        yield f"pictures of {made.unpictured:,} Series could not be made; their pages say why"
    if made.bad_zips:
        yield (
            f"{counted(made.bad_zips, 'zip')} missing or damaged: run `tcia-assets verify`, and "
            "fetch again"
        )


def _summary(made: Catalogue) -> str:
    written = f"{counted(made.written, 'file')} written, {format_bytes(made.bytes_written)}"
    removed = f", {made.removed:,} removed" if made.removed else ""
    return f"{counted(made.pages, 'page')} in {made.folder}: {written}{removed}"
