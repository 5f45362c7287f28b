"""Real files that come with pydicom, and with pydicom-data where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pydicom.data


def _folders() -> list[Path]:
    bundled = Path(pydicom.data.__file__).parent / "test_files"
    spec = find_spec("data_store")
    return [bundled, *([Path(spec.origin).parent / "data"] if spec and spec.origin else [])]


REAL = {path.name: path for folder in _folders() for path in sorted(folder.glob("*.dcm"))}
"""Single files by name."""

SERIES = _folders()[0] / "dicomdirtests"
"""Folders of real Series, of small images."""
