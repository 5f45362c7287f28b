"""The files of a version: finished samples linked and checked, formats and card written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.datasets import sample_store, version_publishing, versions
from tcia_assets.datasets.cohort import Cohort
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import FORMATS, Declaration
from tcia_assets.datasets.sample_table import FOLDERS, SamplesResult
from tcia_assets.datasets.samples import image_files, sample_name
from tcia_assets.datasets.versions import INDEX, Version, VersionFile
from tcia_assets.errors import DatasetRefused
from tcia_assets.store.files import link_or_copy

Writer = Callable[[Path, pa.Table, DatasetInfo], object]

STORE, _DRAFT = ".samples", ".draft"


def write_version(
    declaration: Declaration,
    cohort: Cohort,
    info: DatasetInfo,
    result: SamplesResult,
    folder: Path,
    writers: list[Writer],
) -> Version:
    """Write the files of a version into a draft, and publish it.

    Args:
        declaration: Of the dataset.
        cohort: Of the dataset.
        info: What is true of the dataset as a whole.
        result: Its samples, which are finished.
        folder: The dataset's.
        writers: From `format_writers`.

    Raises:
        DatasetRefused: A file of a sample has changed; that sample is removed.
        OSError: A file cannot be written.
    """
    store = folder / STORE
    with _draft(folder) as draft:
        _link_samples(result, store, draft)
        linked = versions.list_files(draft)
        _check_hashes(declaration.name, result, linked, store)
        pq.write_table(result.samples, draft / INDEX, compression="zstd")
        for write in writers:
            write(draft, result.samples, info)
        content: dict[str, Any] = {
            "name": declaration.name,
            "settings": declaration.settings,
            "made_with": info.made_with,
            "cohort": {**cohort.content, "sha256": cohort.sha256},
        }
        return version_publishing.publish(
            draft, folder, content, versions.list_files(draft, hashed=linked)
        )


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Give an empty folder, and remove it at the end, whatever happens: a full disk needs it."""
    draft = folder / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _link_samples(result: SamplesResult, store: Path, draft: Path) -> None:
    for row in result.kept.to_pylist():
        made = store / result.keys[row["SeriesInstanceUID"]]
        for kind, path, _ in _files_of(row):
            ending = sample_store.ending_of(path)
            stored = sample_store.sample_path(made, kind, sample_name(row), ending)
            link_or_copy(stored, draft / path)


def _files_of(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, path and SHA-256 of each file of a sample."""
    for kind in FOLDERS:
        if row[kind]:
            yield kind, row[kind], row[f"{kind}_sha256"]
    for name, image in image_files(row).items():
        if image["image"] != row["image"]:
            yield sample_store.channel_kind(name), image["image"], image["image_sha256"]


def _check_hashes(name: str, result: SamplesResult, files: list[VersionFile], store: Path) -> None:
    """Raise DatasetRefused if a file of a sample has changed, and remove that sample."""
    hashes = {file.path: file.sha256 for file in files}
    changed = [
        row["SeriesInstanceUID"]
        for row in result.kept.to_pylist()
        if any(hashes[path] != sha256 for _, path, sha256 in _files_of(row))
    ]
    for uid in changed:
        sample_store.remove_sample(store, result.keys[uid])
    if changed:
        problem = "files have changed since they were made"
        raise DatasetRefused(name, problem, changed, "build again, which makes them again")


def format_writers(declaration: Declaration) -> list[Writer]:
    """Return the writers of the declared formats and of the card, always in the same order.

    Raises:
        MissingExtra: One of them needs a library that is not installed.
    """
    from tcia_assets.datasets import card, formats  # noqa: PLC0415 - pictures need an extra

    declared = [name for name in FORMATS if name in declaration.formats]
    return [*(partial(formats.write, name) for name in declared), card.write_card]
