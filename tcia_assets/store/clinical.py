"""Clinical tables on disk: Parquet files with columns of their own, which no catalogue declares.

<root>/warehouse/clinical/<name>/part-0.parquet             a table; its view is clinical_<name>
<root>/warehouse/.digests/clinical/<name>/part-0.sha256     its digest, as of a partition
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import UsageError
from tcia_assets.store import digests
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
    return digests.publish_recorded(
        _folder(root) / name / PART,
        clinical_digest(root, name),
        lambda draft: pq.write_table(rows, draft, compression="zstd"),
    )


def remove_clinical(root: Path, name: str) -> None:
    """Remove a table, if it is there."""
    if _NAME.fullmatch(name):
        digests.remove(clinical_digest(root, name))
        (_folder(root) / name / PART).unlink(missing_ok=True)


def clinical_digest(root: Path, name: str) -> Path:
    """Return the path of the file with the digests of a table."""
    return _digests(root) / name / "part-0.sha256"


def clinical_files(root: Path) -> dict[str, Path]:
    """Return the file of each table that is there, or that has a digest, by its name; sorted."""
    found = [*_folder(root).glob(f"*/{PART}"), *_digests(root).glob("*/*.sha256")]
    names = sorted({path.parent.name for path in found if _NAME.fullmatch(path.parent.name)})
    return {name: _folder(root) / name / PART for name in names}


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


def _digests(root: Path) -> Path:
    return root / "warehouse" / ".digests" / "clinical"
