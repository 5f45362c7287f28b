"""What a command works on: the warehouse at TCIA_DATA_DIR, and names that must exist in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tcia_assets import catalog
from tcia_assets.cli.terminal import run_progress_bar
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse

if TYPE_CHECKING:
    from pathlib import Path

    from tcia_assets.defs.local_runs import LocalRuns


def open_warehouse(settings: Settings) -> Warehouse:
    """Return the warehouse at TCIA_DATA_DIR, which need not exist yet.

    Raises:
        UsageError: a file lies where the folder should be.
    """
    for place in (settings.root, *settings.root.parents):
        if place.exists():
            if not place.is_dir():
                raise UsageError(f"TCIA_DATA_DIR is {settings.data_dir!r}; {place} is no folder")
            break
    return Warehouse(settings.root)


def open_runs(settings: Settings, *, verbose: bool, datasets: str | Path = "") -> LocalRuns:
    """Return what runs the plugin's jobs in this process; `datasets` is the declarations' folder.

    Imports Dagster, which takes a second.
    """
    from tcia_assets.definitions import build_definitions  # noqa: PLC0415 - see above
    from tcia_assets.defs.local_runs import LocalRuns  # noqa: PLC0415 - see above

    definitions = build_definitions(datasets=datasets)
    return LocalRuns(definitions, settings, show_progress=run_progress_bar, verbose=verbose)


def require_known(what: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names as a list if all are known.

    Raises:
        UnknownName: one is not; the error lists similar names.
    """
    for name in names:
        if name not in known:
            raise UnknownName(what, name, known)
    return list(names)


def require_refreshed(collections: Sequence[str], warehouse: Warehouse) -> list[str]:
    """Return these Collections if the warehouse has their Series; UnknownName otherwise."""
    return require_known("refreshed Collection", collections, warehouse.keys(catalog.SERIES))
