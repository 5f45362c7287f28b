"""Paths of zips, relative to the data root."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from tcia_assets.catalog import IMAGE_ARCHIVES
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


def published_date(path: Path) -> date:
    """Return the day (UTC) on which a zip got its name; a hard link to it has the same."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
