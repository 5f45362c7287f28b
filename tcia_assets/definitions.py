"""The plugin: `build_definitions` for your code location, `defs` for this repository's own."""

from tcia_assets.defs.plugin import build_definitions

__all__ = ["build_definitions", "defs"]

defs = build_definitions()
