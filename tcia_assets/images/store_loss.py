"""Refuse to mark zips as lost where it is the whole store that is not there.

A disk that is not mounted, or a wrong bucket, looks like the loss of every zip: all of them would
be marked, and fetched again to the wrong place.
"""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.errors import StorageError
from tcia_assets.images.manifest import read_complete
from tcia_assets.images.zip_files import name_at, stored_zips
from tcia_assets.store.warehouse import Warehouse

# Fewer are soon fetched again.
_FEW = 10
# A store that has no larger share of the zips is not the store that had them.
_SHARE = 0.1
_COMPLETE = "SELECT count(path) AS zips FROM image_archives WHERE status = 'complete'"


def require_store(warehouse: Warehouse) -> None:
    """Check that the store has more than a tenth of the zips that all manifests have as complete.

    Rows that were marked as lost before do not count: their loss was accepted. Collections are
    listed until so many zips are found.

    Raises:
        StorageError: It has not, and they are more than ten.
    """
    known, found = warehouse.query(_COMPLETE)["zips"][0].as_py(), 0
    if known <= _FEW:
        return
    for collection in warehouse.keys(IMAGE_ARCHIVES):
        paths = read_complete(warehouse, collection, ["path"])["path"].drop_null()
        stored = {zip_.name for zip_ in stored_zips(collection, warehouse)}
        found += len(stored.intersection(map(name_at, paths.to_pylist())))
        if found > _SHARE * known:
            return
    raise StorageError(
        f"{warehouse.archives.address('')} has {found:,} of {known:,} zips, so none was marked as "
        "lost: mount the disk, or correct TCIA_ARCHIVES_URL; if they are lost indeed, run "
        "`tcia-assets verify --accept-loss`"
    )
