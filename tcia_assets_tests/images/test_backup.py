"""Copies of a data folder, as `docs/backup.md` describes them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tcia_assets.catalog import IMAGES, REFERENCES, TARGETS
from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.images.headers.references import index_references
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.unindexed import count_unindexed
from tcia_assets_tests.images.many import SERIES
from tcia_assets_tests.images.place import COLLECTION, Place


def copy_after(rows: int, data_dir: Path, copy: Path) -> Callable[[ManifestRow], None]:
    """Return what copies the data folder once so many rows are recorded; other zips are coming."""
    left = [rows]

    def on_row(_row: ManifestRow) -> None:
        left[0] -= 1
        if not left[0]:
            # It warns of drafts that vanish while it copies.
            subprocess.run(["cp", "-r", data_dir, copy], check=False)

    return on_row


def test_a_copy_taken_during_a_fetch_is_completed_by_the_next(
    mirror: Place, tmp_path: Path
) -> None:
    data_dir = mirror.data_dir / "original"
    shutil.copytree(mirror.data_dir / "warehouse", data_dir / "warehouse")
    original, copy = Place(mirror.sandbox, data_dir), Place(mirror.sandbox, tmp_path / "copy")
    with original.source() as source:
        original.fetch_by(source, on_row=copy_after(4, data_dir, copy.data_dir))
    original.demand_complete()
    assert 0 < len(list(copy.data_dir.rglob("*.zip"))) <= SERIES
    copy.fetch()

    copy.demand_complete()


def test_tables_that_a_backup_lacks_are_made_from_the_zips(fetched: Place) -> None:
    tables = (IMAGES, REFERENCES, TARGETS)
    index_references(COLLECTION, fetched.warehouse)
    before = {table: fetched.warehouse.read(table, [COLLECTION]) for table in tables}
    for table in tables:
        shutil.rmtree(fetched.data_dir / "warehouse" / table.name)
    assert count_unindexed(fetched.warehouse) == {COLLECTION: SERIES}
    index_images(COLLECTION, fetched.warehouse)
    index_references(COLLECTION, fetched.warehouse)

    assert {table: fetched.warehouse.read(table, [COLLECTION]) for table in tables} == before
