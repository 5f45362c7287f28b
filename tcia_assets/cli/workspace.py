"""The mirror that a command works on."""

from __future__ import annotations

from importlib import import_module

from tcia_assets.cli.terminal import print_note, progress_bar, run_progress_bar
from tcia_assets.mirror import Mirror

EMPTY_WAREHOUSE = "the warehouse is empty: run `tcia-assets refresh` first"


def open_mirror(*, verbose: bool = False) -> Mirror:
    """Return the mirror that the TCIA_* variables describe, which prints notes and progress."""
    return Mirror(note=print_note, show_progress=run_progress_bar, verbose=verbose)


def import_dagster() -> None:
    """Import what runs need, which takes seconds, while a line on the terminal says so."""
    with progress_bar("Start Dagster"):
        import_module("tcia_assets.defs.plugin")
        import_module("tcia_assets.defs.local_runs")
