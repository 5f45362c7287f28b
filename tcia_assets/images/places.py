"""Where things lie, and who may work on one of them; paths are relative to the data root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import Busy
from tcia_assets.store.files import link_or_copy
from tcia_assets.store.locks import open_locked
from tcia_assets.store.warehouse import Warehouse


def folder(collection: str) -> str:
    """Where the zips of a Collection lie."""
    return f"archives/{quote(collection, safe='')}"


def zip_path(collection: str, series_instance_uid: str) -> str:
    """Where a Series' zip lies."""
    return f"{folder(collection)}/{series_instance_uid}.zip"


def collections_on_disk(warehouse: Warehouse) -> list[str]:
    """Collections that have a manifest, or zips although their manifest is lost."""
    folders = (warehouse.root / "archives").glob("*/")
    with_zips = {unquote(f.name) for f in folders if any(f.glob("*.zip"))}
    return sorted(with_zips | set(warehouse.keys(IMAGE_ARCHIVES)))


def quarantine_path(collection: str, series_instance_uid: str) -> str:
    """Where the best zip of a Series that the last run refused lies; a `.json` beside says why."""
    return f"quarantine/{quote(collection, safe='')}/{series_instance_uid}.zip"


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Nobody else works on the zip at `path` meanwhile.

    The system ends a claim with its process, however that ends.

    Raises:
        Busy: somebody else does.
    """
    claim = path.with_name(f".{path.name}.claim")
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = open_locked(claim, wait=False)
    except BlockingIOError:
        raise Busy(f"{claim.name}: another run is working on it") from None
    try:
        yield
    finally:
        # Before the lock goes: who waits for this file must find that it is another one by then.
        claim.unlink(missing_ok=True)
        os.close(held)


def draft_of(path: Path) -> Path:
    """What becomes the zip at `path`; only for whoever holds its claim."""
    return path.with_name(f".{path.name}.draft")


@contextmanager
def drafted_from(source: Path, path: Path) -> Iterator[Path]:
    """A draft of `path` that has the bytes of `source`; only for whoever holds its claim."""
    draft = draft_of(path)
    draft.unlink(missing_ok=True)
    try:
        link_or_copy(source, draft)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def singles_of(path: Path) -> Iterator[Path]:
    """A folder for the images that the zip at `path` lacks; only for whoever holds its claim."""
    place = _singles(path)
    # A run that was killed after this one began may have left it.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def _singles(path: Path) -> Path:
    return path.with_name(f".{path.name}.singles")


def remove_drafts(collection: Path) -> None:
    """Removes what killed runs left in a Collection's folder: drafts, single images, claims."""
    for left in collection.glob(".*.zip.*"):
        path = left.with_name(left.stem.removeprefix("."))
        try:
            with claimed(path):
                draft_of(path).unlink(missing_ok=True)
                shutil.rmtree(_singles(path), ignore_errors=True)
        except Busy:
            continue  # its run lives


def published_on(path: Path) -> date:
    """The day when a zip got its name; a link to it has the same."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
