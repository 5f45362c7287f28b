"""Add a version of a dataset to those on disk, and remove one: whole, or not at all.

A version is published by renaming a finished draft, which `version_draft.py` writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcia_assets.datasets.versions import (
    LATEST,
    LOCK,
    Version,
    VersionFile,
    lock_content,
    read,
    verify,
)
from tcia_assets.errors import DataError, UsageError
from tcia_assets.store.files import publish_draft, sync
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.warehouse import Warehouse

_REMOVED, _NEXT_LATEST = ".removed", ".latest"


@contextmanager
def hold_dataset(name: str, warehouse: Warehouse, wait: float = 600.0) -> Iterator[None]:
    """Hold the lock on a dataset, in order to add or remove a version.

    Raises:
        Busy: It is still held elsewhere after `wait` seconds.
    """
    path = warehouse.root / ".locks" / "datasets" / f"{name}.lock"
    with hold_lock(path, f"the dataset {name!r}", wait=wait):
        yield


def publish(
    draft: Path, folder: Path, content: Mapping[str, Any], files: list[VersionFile]
) -> Version:
    """Turn a finished draft into a version, whole or not at all, and make it the latest.

    If the same version is there and undamaged, it stays, byte for byte. Earlier versions stay.

    Args:
        draft: A folder with all files but the lock file.
        folder: The dataset's.
        content: What the lock file holds beside version, hash and files.
        files: The files of the draft.
    """
    remove_leftovers(folder)
    content = lock_content(content, files)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (draft / LOCK).write_text(text, encoding="utf-8", newline="\n")
    target = folder / content["version"]
    if not _is_undamaged(target):
        remove(target)
        publish_draft(draft, target)
    _point_latest_to(folder, target.name)
    return read(target)


def _is_undamaged(folder: Path) -> bool:
    try:
        return not verify(read(folder)).problems
    except (UsageError, DataError):
        return False


def remove(folder: Path) -> None:
    """Remove a version, if it is there; a reader finds it whole or not at all.

    Args:
        folder: The folder of the version.
    """
    if folder.exists():
        removed = folder.with_name(_REMOVED)
        folder.rename(removed)
        shutil.rmtree(removed)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed build, or a killed removal of a version, left in a dataset's folder."""
    shutil.rmtree(folder / _REMOVED, ignore_errors=True)
    (folder / _NEXT_LATEST).unlink(missing_ok=True)


def _point_latest_to(folder: Path, version: str) -> None:
    link = folder / _NEXT_LATEST
    link.symlink_to(version)
    link.replace(folder / LATEST)
    sync(folder)
