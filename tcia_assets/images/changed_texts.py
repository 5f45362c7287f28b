"""Write the files beside the zips of a Collection again that were changed or removed.

A fetch compares those in a bucket with what this machine put last, for which nothing is requested.
"""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images import checksums
from tcia_assets.images.fetch import finish_interrupted
from tcia_assets.images.journal import has_living_journal
from tcia_assets.images.zip_files import collection_folder, work_folder
from tcia_assets.metadata import attribution
from tcia_assets.store.archives import Archives
from tcia_assets.store.warehouse import Warehouse

TEXTS = tuple(sorted((checksums.FILE_NAME, *attribution.FILE_NAMES)))
"""The names of the files beside the zips of a Collection."""


def restore_texts(collection: str, warehouse: Warehouse) -> list[str]:
    """Write `SHA256SUMS`, licences and citations of a Collection again where they differ.

    In a bucket, only where this machine has put them: one that fetches shards knows a part. In a
    folder, not while a run fetches, which writes them at its end. Without a manifest they stay:
    they may be the last record of its zips.

    Returns:
        The names of the files that differed from what this machine wrote or would write now.

    Raises:
        DataError: The journal of a killed run, or the manifest, is damaged.
        StorageError: The store fails, or a file cannot be written.
        Busy: Another run has been writing them for ten minutes.
    """
    if not warehouse.has(IMAGE_ARCHIVES, collection):
        return []
    if not warehouse.archives.is_shared:
        return _restore_in_folder(collection, warehouse)
    folder = collection_folder(collection)
    changed = warehouse.archives.forget_changed_texts([f"{folder}/{name}" for name in TEXTS])
    if changed:
        finish_interrupted(collection, warehouse)
    return [name.rpartition("/")[2] for name in changed]


def _restore_in_folder(collection: str, warehouse: Warehouse) -> list[str]:
    if has_living_journal(work_folder(collection, warehouse)):
        return []
    # Compared first: nothing is written into a folder that is sound, and may be read-only.
    texts = attribution.collection_texts(collection, warehouse)
    texts[checksums.FILE_NAME] = checksums.checksums_text(collection, warehouse)
    folder = collection_folder(collection)
    changed = [
        name
        for name in TEXTS
        if _content(warehouse.archives, f"{folder}/{name}") != texts[name].encode()
    ]
    if changed:
        attribution.write_collection(collection, warehouse)
        checksums.write_checksums(collection, warehouse)
    return changed


def _content(archives: Archives, name: str) -> bytes:
    """Return the bytes of a text; none if it is gone or cannot be read."""
    try:
        with archives.open(name) as file:
            return file.read()
    except OSError:
        return b""
