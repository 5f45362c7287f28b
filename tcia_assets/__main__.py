"""The process of `tcia-assets`, also as `python -m tcia_assets` where that is not on the path.

What belongs here: what may be done only in a process that is the command's alone, before anything
large is imported. What does not: the command (`cli`).
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import ClassVar

_M_ARENA_MAX = -8  # of mallopt(3)


# Arrow, DuckDB and pydicom import these, where they are, only to see whether a value is one of
# their kinds: half a second and 45 MB. No value is but in commands that make volumes of pixels.
_FRAMES, _ARRAYS = "pandas", "numpy"
_WITH_ARRAYS = {"dataset", "sandbox"}
# Mako, which Alembic has for templates of migrations, colours its error pages with Pygments, lexers
# and all: 5 MB. No page is made, and without it they would be black.
_COLOURS = "mako.ext.pygmentplugin"


class _Sparing(PathFinder):
    """Finds what there is, but none of these modules: as if they were not installed."""

    names: ClassVar[set[str]] = {_COLOURS}

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        return None if fullname in cls.names else super().find_spec(fullname, path, target)


def _share_heaps() -> None:
    """What one thread has freed serves the next, whichever that is; on Linux with glibc.

    Else eight heaps a core, and one of Arrow's own, keep what they had: a fifth of a fetch.
    """
    # Arrow looks for it when it is imported.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


def run() -> None:
    """Runs the command of this process, to its exit code."""
    if not os.environ.get("DAGSTER_HOME"):  # which may name storage of others, who need them
        _Sparing.names.add(_FRAMES)
        if _WITH_ARRAYS.isdisjoint(sys.argv):
            _Sparing.names.add(_ARRAYS)
    sys.meta_path[sys.meta_path.index(PathFinder)] = _Sparing
    _share_heaps()
    gc.disable()  # nothing that is imported is garbage
    from tcia_assets.cli import main  # noqa: PLC0415 - not before

    gc.enable()
    main()


if __name__ == "__main__":
    run()
