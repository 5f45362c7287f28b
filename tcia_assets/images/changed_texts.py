"""Put the files beside the zips again that somebody has changed or removed in a bucket.

A fetch compares them with what this machine put last, for which nothing is requested.
"""

from __future__ import annotations

from tcia_assets.images import checksums
from tcia_assets.images.fetch import finish_interrupted
from tcia_assets.images.zip_files import collection_folder
from tcia_assets.metadata import attribution
from tcia_assets.store.warehouse import Warehouse

TEXTS = tuple(sorted((checksums.FILE_NAME, *attribution.FILE_NAMES)))
"""The names of the files beside the zips of a Collection."""


def restore_texts(collection: str, warehouse: Warehouse) -> list[str]:
    """Put `SHA256SUMS`, licences and citations of a Collection again that somebody has changed.

    Only where this machine has put them: one that fetches shards knows a part.

    Returns:
        The names of their files.

    Raises:
        DataError: The journal of a killed run, or the manifest, is damaged.
        StorageError: The store fails, or a file cannot be written.
    """
    folder = collection_folder(collection)
    changed = warehouse.archives.forget_changed_texts([f"{folder}/{name}" for name in TEXTS])
    if changed:
        finish_interrupted(collection, warehouse)
    return [name.rpartition("/")[2] for name in changed]
