"""The files of series zips: their paths, and the claim with which one run works on them.

Paths given as text are relative to the data root.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import Busy
from tcia_assets.store.files import link_or_copy, make_folder, publish_draft
from tcia_assets.store.locks import open_locked
from tcia_assets.store.warehouse import Warehouse


def collection_dir(collection: str) -> str:
    """Return the folder with the zips of a Collection.

    >>> collection_dir("RIDER Lung CT")
    'archives/RIDER%20Lung%20CT'
    """
    return f"archives/{quote(collection, safe='')}"


def zip_path(collection: str, series_instance_uid: str) -> str:
    """Return the path of the zip of a Series."""
    return f"{collection_dir(collection)}/{series_instance_uid}.zip"


def quarantine_path(collection: str, series_instance_uid: str) -> str:
    """Return the path of a refused zip; a `.json` beside it has the reason."""
    return f"quarantine/{quote(collection, safe='')}/{series_instance_uid}.zip"


def collections_on_disk(warehouse: Warehouse) -> list[str]:
    """Return, sorted, the Collections with a manifest, or with zips whose manifest is lost."""
    folders = (warehouse.root / "archives").glob("*/")
    with_zips = {unquote(f.name) for f in folders if any(f.glob("*.zip"))}
    return sorted(with_zips | set(warehouse.keys(IMAGE_ARCHIVES)))


def published_at(path: Path) -> datetime:
    """Return the time (UTC) at which a zip got its name; a hard link to it has the same."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def open_zip(path: Path, archive_bytes: int) -> zipfile.ZipFile:
    """Open a zip that the manifest lists with this size.

    Raises:
        ValueError: It has another size.
    """
    size = path.stat().st_size
    if size != archive_bytes:
        raise ValueError(f"it has {size} bytes, but image_archives has {archive_bytes}")
    return zipfile.ZipFile(path)


# --- Claims --------------------------------------------------------------------------------------


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold the claim on a zip; the system releases it when the process ends, however it ends.

    Args:
        path: The final path of the zip; its folder is created.

    Raises:
        Busy: Another run holds the claim.
        StorageError: The folder cannot be made, or is that of another Collection.
    """
    claim_file = path.with_name(f".{path.name}.claim")
    make_folder(claim_file.parent)
    try:
        descriptor = open_locked(claim_file, wait=False)
    except BlockingIOError:
        raise Busy(f"{claim_file.name}: another run is working on it") from None
    try:
        yield
    finally:
        # Removed before the lock is released, so that a waiting run sees that its file is gone.
        claim_file.unlink(missing_ok=True)
        os.close(descriptor)


def draft_path(path: Path) -> Path:
    """Return the path under which a zip is written before it gets its final path."""
    return path.with_name(f".{path.name}.draft")


def second_draft_path(path: Path) -> Path:
    """Return the path of another download of a zip, while the first one is at `draft_path`."""
    return path.with_name(f".{path.name}.second")


def publish_copy(source: Path, path: Path) -> None:
    """Give a zip the bytes of another file, whole or not at all."""
    draft = draft_path(path)
    draft.unlink(missing_ok=True)
    try:
        link_or_copy(source, draft)
        publish_draft(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def single_images_dir(path: Path) -> Iterator[Path]:
    """Make an empty folder for images that are downloaded one by one; it is removed at the end."""
    folder = _single_images_path(path)
    # A run that was killed after this one started may have left it.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _single_images_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.singles")


def remove_abandoned_drafts(folder: Path) -> None:
    """Remove what killed runs left in a Collection's folder: drafts, single images and claims."""
    for leftover in folder.glob(".*.zip.*"):
        path = leftover.with_name(leftover.stem.removeprefix("."))
        try:
            with claim(path):
                draft_path(path).unlink(missing_ok=True)
                second_draft_path(path).unlink(missing_ok=True)
                shutil.rmtree(_single_images_path(path), ignore_errors=True)
        except Busy:
            continue  # a living run holds the claim
