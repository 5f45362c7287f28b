"""Remove the rows of zips that are not in the manifest any more, from the tables made of zips."""

from __future__ import annotations

from tcia_assets.catalog import DESCRIBED_ZIPS, IMAGE_ARCHIVES
from tcia_assets.images.run_limits import RereadBudget
from tcia_assets.store.warehouse import Warehouse

_WITHOUT_ZIP = f"""
    SELECT SeriesInstanceUID FROM (
{DESCRIBED_ZIPS}
    ) WHERE Collection = $collection AND SeriesInstanceUID NOT IN (
        SELECT SeriesInstanceUID FROM image_archives WHERE Collection = $collection
    ) LIMIT 1
"""


def remove_rows_without_zip(collection: str, warehouse: Warehouse) -> bool:
    """Bring `images`, `references` and `targets` up to date if they have such rows.

    A Collection without a manifest is left alone: all of its zips would seem to be gone.

    Returns:
        Whether there were any.

    Raises:
        MissingExtra: pydicom is not installed.
        Busy: Another run holds the lock of a table.
        StorageError: A table cannot be written.
    """
    from tcia_assets.images.headers.image_rows import index_images  # noqa: PLC0415 - needs an extra
    from tcia_assets.images.headers.references import index_references  # noqa: PLC0415 - as above

    if not warehouse.has(IMAGE_ARCHIVES, collection):
        return False
    if not warehouse.query(_WITHOUT_ZIP, {"collection": collection}).num_rows:
        return False
    index_images(collection, warehouse, reread=RereadBudget(0))
    index_references(collection, warehouse)
    return True
