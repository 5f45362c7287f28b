"""`SHA256SUMS` beside the zips of a Collection: their hashes, as other programs read them.

cd archives/LCTSC && sha256sum --check --quiet SHA256SUMS
rclone checksum sha256 SHA256SUMS remote:bucket/archives/LCTSC --one-way
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images import manifest
from tcia_assets.images.manifest_row import UID
from tcia_assets.images.zip_files import collection_folder
from tcia_assets.store.warehouse import Warehouse

FILE_NAME = "SHA256SUMS"


def write_checksums(collection: str, warehouse: Warehouse) -> bool:
    """Bring the file up to date with the manifest; without zips it is removed.

    It holds a lock of its own, so that a run with older knowledge does not overwrite a newer file.

    Returns:
        Whether the file changed. One with the same content is left in place.

    Raises:
        StorageError: The file cannot be written, and is as it was.
        Busy: Another run has been writing it for ten minutes.
    """
    name = f"{collection_folder(collection)}/{FILE_NAME}"
    with warehouse.lock(IMAGE_ARCHIVES, collection, part="checksums"):
        rows = manifest.read_manifest(warehouse, collection, [UID, "path", "sha256"])
        return warehouse.archives.put_text(name, _checksums(rows))


def _checksums(rows: pa.Table) -> str:
    """Return a line for each zip on disk, sorted by UID: its SHA-256, two blanks, its name."""
    is_stored = pc.and_(pc.is_valid(rows["path"]), pc.is_valid(rows["sha256"]))
    rows = rows.select([UID, "sha256"]).filter(is_stored).sort_by(UID)
    names = pc.binary_join_element_wise(rows[UID], ".zip\n", "")
    lines = pc.binary_join_element_wise(rows["sha256"], names, "  ").combine_chunks()
    # In Arrow: 200,000 texts of Python would take 60 MB more.
    return str(pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")[0])
