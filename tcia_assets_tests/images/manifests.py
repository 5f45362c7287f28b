"""The manifest of a Collection in tests, and the journals beside its zips."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.images.journal import journals_in
from tcia_assets.images.manifest import ManifestWriter, read_manifest
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.place import COLLECTION, FOLDER


def folder(warehouse: Warehouse) -> Path:
    return warehouse.root / "archives" / FOLDER


def journals(warehouse: Warehouse) -> list[Path]:
    return journals_in(folder(warehouse))


def uids(warehouse: Warehouse) -> list[str]:
    found: list[str] = read_manifest(warehouse, COLLECTION)["SeriesInstanceUID"].to_pylist()
    return found


def opened_and_closed(warehouse: Warehouse) -> None:
    ManifestWriter(warehouse, COLLECTION).close()
