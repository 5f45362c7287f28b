"""The Cancer Imaging Archive as Dagster assets.

    build_definitions, TciaResource   the plugin, for a Dagster project
    failure_line                      a failed run as one line, for your own alarms
    Mirror                            the same work for a notebook or a script
    Warehouse, Selection              the tables, and which Series to fetch
    load_dataset                      the samples of a dataset that was built
    open_source                       the remote server, for requests of your own

Each is imported when first used: importing this package imports neither dagster nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tcia_assets.version import __version__

__all__ = [
    "Mirror",
    "Selection",
    "TciaResource",
    "Warehouse",
    "__version__",
    "build_definitions",
    "failure_line",
    "load_dataset",
    "open_source",
]

if TYPE_CHECKING:
    from tcia_assets.datasets.loading import load_dataset
    from tcia_assets.defs.alarms import failure_line
    from tcia_assets.defs.plugin import build_definitions
    from tcia_assets.defs.resource import TciaResource
    from tcia_assets.metadata.selection import Selection
    from tcia_assets.mirror import Mirror
    from tcia_assets.sources import open_source
    from tcia_assets.store.warehouse import Warehouse

_MODULES = {
    "Mirror": "tcia_assets.mirror",
    "Selection": "tcia_assets.metadata.selection",
    "TciaResource": "tcia_assets.defs.resource",
    "Warehouse": "tcia_assets.store.warehouse",
    "build_definitions": "tcia_assets.defs.plugin",
    "failure_line": "tcia_assets.defs.alarms",
    "load_dataset": "tcia_assets.datasets.loading",
    "open_source": "tcia_assets.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tcia_assets' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
