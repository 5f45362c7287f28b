"""The Cancer Imaging Archive as Dagster assets.

`build_definitions` and `TciaResource` are the plugin; `load_dataset` reads what it has built. Each
is loaded when it is first asked for: importing this package imports neither dagster nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcia_assets.version import __version__

__all__ = ["TciaResource", "__version__", "build_definitions", "load_dataset"]

if TYPE_CHECKING:
    from tcia_assets.datasets.loading import load_dataset
    from tcia_assets.definitions import build_definitions
    from tcia_assets.defs.resource import TciaResource


def __getattr__(name: str) -> Any:
    if name == "build_definitions":
        from tcia_assets.definitions import build_definitions  # noqa: PLC0415 - see above

        return build_definitions
    if name == "TciaResource":
        from tcia_assets.defs.resource import TciaResource  # noqa: PLC0415 - see above

        return TciaResource
    if name == "load_dataset":
        from tcia_assets.datasets.loading import load_dataset  # noqa: PLC0415 - see above

        return load_dataset
    raise AttributeError(f"module 'tcia_assets' has no attribute {name!r}")
