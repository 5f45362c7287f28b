from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, SERIES
from tcia_assets.pages.build import build_catalogue
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]

HOSTILE = (
    '</script><script>alert(1)</script> <img src=x onerror="alert(2)"> \u2028 {{ 7 * 7 }} \u202e&'
)
"""A text that tries what a page must not do."""

_NOW = datetime(2026, 11, 27, 8, 30, tzinfo=UTC)


def series_row(number: int = 1, collection: str = "Lungs", **values: Any) -> dict[str, Any]:
    """A row of `series`."""
    return {
        "SeriesInstanceUID": f"1.2.3.{number}",
        "StudyInstanceUID": f"1.2.4.{number}",
        "PatientID": f"P{number}",
        "Collection": collection,
        "Modality": "CT",
        "ImageCount": 10,
        "FileSize": 5_000_000,
        "LicenseName": "Creative Commons Attribution 4.0 International License",
        "first_seen_at": _NOW,
        "changed_at": _NOW,
        "missing_snapshots": 0,
    } | values


def write_series(warehouse: Warehouse, *rows: dict[str, Any]) -> None:
    """Write partitions of `series` as a refresh leaves them."""
    for key in {row["Collection"] for row in rows}:
        own = [row for row in rows if row["Collection"] == key]
        table = pa.Table.from_pylist(own, schema=SERIES.schema)
        warehouse.write(SERIES, conform(SERIES, table), key)


def describe(warehouse: Warehouse, collection: str, **values: Any) -> None:
    """Write a description of a Collection."""
    row = {"Collection": collection, "doi": "10.7937/lungs", "title": "Lungs of many"} | values
    table = pa.Table.from_pylist([row], schema=COLLECTION_DESCRIPTIONS.schema)
    warehouse.write(COLLECTION_DESCRIPTIONS, conform(COLLECTION_DESCRIPTIONS, table), collection)


@pytest.fixture
def mirror(contours_root: Path, tmp_path: Path) -> Warehouse:
    """The small Collection, with its contours on disk."""
    shutil.copytree(contours_root, tmp_path / "data")
    return Warehouse(tmp_path / "data")


@pytest.fixture
def empty_mirror(tmp_path: Path) -> Warehouse:
    """A data folder without anything."""
    return Warehouse(tmp_path / "data")


@pytest.fixture
def fetched_mirror(fetched_root: Path, tmp_path: Path) -> Warehouse:
    """The small Collection with all its Series on disk, images and contours."""
    shutil.copytree(fetched_root, tmp_path / "data")
    return Warehouse(tmp_path / "data")


@pytest.fixture(scope="session")
def _pictured_root(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictured")
    shutil.copytree(fetched_root, root, dirs_exist_ok=True)
    build_catalogue(Warehouse(root), volumes=0)
    return root


@pytest.fixture
def pictured_mirror(_pictured_root: Path, tmp_path: Path) -> Warehouse:
    """That mirror with its catalogue, which has a picture of each image Series."""
    shutil.copytree(_pictured_root, tmp_path / "data")
    return Warehouse(tmp_path / "data")


@pytest.fixture(scope="session")
def fetched_catalogue(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue of that mirror with one volume; for tests that only read it."""
    made = build_catalogue(Warehouse(fetched_root), tmp_path_factory.mktemp("catalogue"), volumes=1)
    return made.folder
