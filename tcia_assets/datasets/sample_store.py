"""The finished samples on disk, so that no build makes a sample twice.

The folder of a sample appears whole or not at all. Its files are made in `sample_files.py`.

    <store>/<key>/<sample>.image.nii.gz, <sample>.label.nii.gz, ..., samples.json
    <store>/<key>/<sample>.image.png, ...

A key is that of a Series, which has several samples where each of its volumes or frames is one.

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

Row = dict[str, Any]

IMAGE, LABEL = "image", "label"
NIFTI, PNG = ".nii.gz", ".png"
# In the record of a sample whose image is no NIfTI file.
ENDING = "ending"
_RECORD = "samples.json"
_DRAFT_PREFIX = ".making-"


def channel_kind(name: str) -> str:
    """Return the kind of the file of a channel that is not the sample's `IMAGE`."""
    return f"{IMAGE}_{name}"


def sample_path(folder: Path, kind: str, sample: str, ending: str = NIFTI) -> Path:
    """Return the path of the `IMAGE`, the `LABEL` or a channel of a sample, by its name."""
    return folder / f"{sample}.{kind}{ending}"


def ending_of(path: str) -> str:
    """Return the end of the name of a sample's file.

    >>> ending_of("images/1.2.3.png"), ending_of("images/1.2.3.nii.gz")
    ('.png', '.nii.gz')
    """
    return PNG if path.endswith(PNG) else NIFTI


def read_samples(store: Path, key: str) -> list[Row] | None:
    """Return the rows of a Series; None if the store lacks it, or a file has the wrong size."""
    folder = store / key
    try:
        rows: list[Row] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        is_whole = all(
            sample_path(folder, kind, row["sample"], ending).stat().st_size == size
            for row in rows
            for kind, ending, size in _sizes(row)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return rows if rows and is_whole else None


def _sizes(row: Row) -> Iterator[tuple[str, str, int]]:
    """Yield kind, ending and size of each file of a sample."""
    for kind, ending in ((IMAGE, row.get(ENDING, NIFTI)), (LABEL, NIFTI)):
        if row.get(f"{kind}_bytes") is not None:
            yield kind, ending, row[f"{kind}_bytes"]
    for channel in row.get("channels") or ():
        if not channel["is_reference"]:
            yield channel_kind(channel["name"]), NIFTI, channel["image_bytes"]


@contextmanager
def sample_draft(store: Path) -> Iterator[Path]:
    """Give an empty folder for the files of a Series, and remove what is left of it."""
    store.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT_PREFIX, dir=store))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def store_samples(store: Path, key: str, draft: Path, rows: list[Row]) -> None:
    """Publish a draft, with the rows of its samples, under that key."""
    (draft / _RECORD).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    # A folder that is there was refused by `read_samples`.
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
