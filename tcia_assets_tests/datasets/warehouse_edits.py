"""Edits of a warehouse, as if the source had changed metadata or sent different zips."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.images.headers import image_rows, references
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL


def set_column(warehouse: Warehouse, column: str, value: object, *uids: str) -> None:
    """Set a column of these Series, as a refresh would after a change at the source."""
    _set_column(warehouse, SERIES, column, value, *uids)


def _set_column(warehouse: Warehouse, table: Table, column: str, value: object, *uids: str) -> None:
    rows = warehouse.read(table, [SMALL])
    values = [
        value if uid in uids else old
        for uid, old in zip(
            rows["SeriesInstanceUID"].to_pylist(), rows[column].to_pylist(), strict=True
        )
    ]
    index = rows.schema.get_field_index(column)
    rows = rows.set_column(index, rows.schema.field(index), pa.array(values, rows[column].type))
    warehouse.write(table, conform(table, rows), SMALL)


def zip_of(warehouse: Warehouse, uid: str) -> Path:
    """Return the path of a Series' zip."""
    return warehouse.root / "archives" / SMALL / f"{uid}.zip"


def replace_zip(warehouse: Warehouse, uid: str, content: bytes) -> None:
    """Replace the zip of a Series, as if this one had been fetched and accepted."""
    zip_of(warehouse, uid).write_bytes(content)
    _set_column(warehouse, IMAGE_ARCHIVES, "sha256", hashlib.sha256(content).hexdigest(), uid)


def zip_without(path: Path, is_left_out: Callable[[int], bool]) -> bytes:
    """Return the bytes of a zip without some of its images, selected by position."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        images = [entry for entry in old.infolist() if entry.filename.endswith(".dcm")]
        for place, entry in enumerate(sorted(images, key=lambda entry: entry.filename)):
            if not is_left_out(place):
                new.writestr(entry, old.read(entry))
    return made.getvalue()


def refetch(warehouse: Warehouse, *uids: str) -> None:
    """Replace the zips of Series by other zips with the same objects, as a new download would."""
    for uid in uids:
        made, path = io.BytesIO(), zip_of(warehouse, uid)
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
            for entry in old.infolist():
                stamped = zipfile.ZipInfo(entry.filename, (2031, 2, 3, 4, 5, 6))
                new.writestr(stamped, old.read(entry))
        replace_zip(warehouse, uid, made.getvalue())
        size = len(made.getvalue())
        _set_column(warehouse, IMAGE_ARCHIVES, "archive_bytes", size, uid)
    image_rows.index_images(SMALL, warehouse)
    references.index_references(SMALL, warehouse)
