"""`tcia-assets demo`."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tcia_assets.errors import MissingExtra

# What the sandbox and the dataset need.
_NEEDS = ("numpy", "pydicom", "nibabel", "PIL", "starlette", "uvicorn")


@click.command()
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the mirror in this folder, and replace an earlier demo there.",
)
def demo(keep: Path | None) -> None:
    """Show everything, against a sandbox, in about two minutes.

    It starts a local sandbox of TCIA with real metadata and synthetic images, mirrors it, fetches
    images, builds a dataset, runs queries, lets Dagster's daemon follow a day of changes, mirrors
    one Collection from a second source, and writes the mirror as pages. TCIA is not contacted.

    Without --keep, all of it is removed at the end.

    \b
    Examples:
      tcia-assets demo
      tcia-assets demo --keep demo
    """
    for module in _NEEDS:
        if find_spec(module) is None:
            raise MissingExtra(module, "sandbox", "the demo")
    from tcia_assets.demo.story import run_demo  # noqa: PLC0415 - imports dagster

    # SIGTERM must end the processes that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if keep is None:
        with TemporaryDirectory(prefix="tcia-demo-") as folder:
            run_demo(Path(folder), _write_line)
            _write_line("To look around afterwards: tcia-assets demo --keep DIR")
        return
    run_demo(keep, _write_line)
    _write_line(_where_next(keep.absolute()))


def _write_line(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()  # before the output of the next command


def _where_next(folder: Path) -> str:
    return f"""Where to look next:
   {folder}/catalogue/index.html      the mirror as pages, for a browser
   {folder}/warehouse.duckdb          for any DuckDB client, read-only
   {folder}/archives                  the zips, byte for byte as served
   export TCIA_DATA_DIR={folder} TCIA_DATASETS_DIR={folder}/declarations
   tcia-assets status                 and every command; refresh and fetch contact TCIA"""
