"""The Cancer Imaging Archive as Dagster assets.

`build_definitions` and `TciaResource` are the plugin. They are loaded when they are first asked
for: importing this package never imports dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcia_assets.version import __version__

__all__ = ["TciaResource", "__version__", "build_definitions"]

if TYPE_CHECKING:
    from tcia_assets.definitions import build_definitions
    from tcia_assets.defs.resource import TciaResource


def __getattr__(name: str) -> Any:
    if name == "build_definitions":
        from tcia_assets.definitions import build_definitions  # noqa: PLC0415 - see above

        return build_definitions
    if name == "TciaResource":
        from tcia_assets.defs.resource import TciaResource  # noqa: PLC0415 - see above

        return TciaResource
    raise AttributeError(f"module 'tcia_assets' has no attribute {name!r}")
