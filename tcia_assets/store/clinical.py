"""Clinical tables on disk: Parquet files with columns of their own, which no catalogue declares.

<root>/warehouse/clinical/<name>/part-0.parquet      a table; its view is clinical_<name>
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import UsageError
from tcia_assets.store.files import publish
from tcia_assets.store.partitions import PART

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,99}", re.ASCII)
_PREFIX = "clinical_"


def write_clinical(root: Path, name: str, rows: pa.Table) -> bool:
    """Write a table; returns whether its bytes are new.

    Raises:
        UsageError: No file or view can have the name.
        StorageError: It cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a clinical table cannot be called {name!r}")
    return publish(_folder(root) / name / PART, partial(pq.write_table, rows, compression="zstd"))


def remove_clinical(root: Path, name: str) -> None:
    """Remove a table, if it is there."""
    if _NAME.fullmatch(name):
        (_folder(root) / name / PART).unlink(missing_ok=True)


def clinical_views(root: Path) -> dict[str, Path]:
    """Return the file of each table by the name of its view, sorted."""
    files = sorted(_folder(root).glob(f"*/{PART}"))
    return {_PREFIX + path.parent.name: path for path in files if _NAME.fullmatch(path.parent.name)}


def is_readable(path: Path) -> bool:
    """Return whether a file is there and begins and ends as Parquet does."""
    try:
        pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def _folder(root: Path) -> Path:
    return root / "warehouse" / "clinical"
