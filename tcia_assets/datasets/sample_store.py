"""The finished samples on disk, so that no build makes a sample twice.

The folder of a sample appears whole or not at all. Its files are made in `sample_files.py`.

    <store>/<key>/image.nii.gz, label.nii.gz, sample.json

The key is a hash over all that decides what is in the files: see `SampleJob.key`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcia_assets.store.files import publish_draft

IMAGE, LABEL = "image", "label"
_RECORD = "sample.json"
_DRAFT_PREFIX = ".making-"


def sample_path(folder: Path, kind: str) -> Path:
    """Return the path of the `IMAGE` or the `LABEL` of a sample."""
    return folder / f"{kind}.nii.gz"


def read_sample(store: Path, key: str) -> dict[str, Any] | None:
    """Return the row of a sample; None if the store lacks it, or a file has the wrong size."""
    folder = store / key
    try:
        row: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        is_whole = all(
            sample_path(folder, kind).stat().st_size == row[f"{kind}_bytes"]
            for kind in (IMAGE, LABEL)
            if row.get(f"{kind}_bytes") is not None
        )
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return row if is_whole else None


@contextmanager
def sample_draft(store: Path) -> Iterator[Path]:
    """Give an empty folder for the files of a sample, and remove what is left of it."""
    store.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT_PREFIX, dir=store))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def store_sample(store: Path, key: str, draft: Path, row: dict[str, Any]) -> None:
    """Publish a draft, with its row, as the sample of that key."""
    (draft / _RECORD).write_text(json.dumps(row, indent=1), encoding="utf-8")
    # A folder that is there was refused by `read_sample`.
    remove_sample(store, key)
    publish_draft(draft, store / key)


def remove_sample(store: Path, key: str) -> None:
    """Remove a sample, if the store has it."""
    shutil.rmtree(store / key, ignore_errors=True)


def keep_samples(store: Path, keys: Iterable[str]) -> None:
    """Remove all samples but these, and drafts left by killed builds."""
    kept = set(keys)
    for folder in store.iterdir() if store.is_dir() else ():
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def remove_drafts(store: Path) -> None:
    """Remove drafts left by killed builds."""
    for folder in store.glob(f"{_DRAFT_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
