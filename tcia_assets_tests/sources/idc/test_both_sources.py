"""A Collection is the same from the archive and from the buckets of the Imaging Data Commons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES, SERIES
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.headers import image_rows, references
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, idc_settings_for

# What is of a zip and not of its objects.
OF_THE_ZIP = {"archive_sha256", "entry_name", "entry_index"}


@pytest.fixture(scope="module")
def from_idc(
    served: Sandbox, idc_index: Path, tmp_path_factory: pytest.TempPathFactory
) -> Warehouse:
    """The small Collection from the buckets, fetched, with its tables of headers."""
    root = tmp_path_factory.mktemp("from_idc")
    warehouse = Warehouse(root)
    served.reset()
    with open_source(idc_settings_for(served, root, idc_index), pacing=IMPATIENT) as source:
        refresh(SERIES, SMALL, source, warehouse, datetime.now(UTC), ProbeBudget(0))
        fetch_images(SMALL, FetchSession(Selection(collections=(SMALL,))), source, warehouse)
    image_rows.index_images(SMALL, warehouse)
    references.index_references(SMALL, warehouse)
    return warehouse


def rows(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    """The rows of a table but for what is of a zip, in an order of their own."""
    found = warehouse.read(table, keys=[SMALL]).to_pylist()
    kept = [{k: v for k, v in row.items() if k not in OF_THE_ZIP} for row in found]
    return sorted(kept, key=str)


@pytest.mark.parametrize("table", [IMAGES, REFERENCES], ids=lambda table: table.name)
def test_the_objects_of_a_collection_are_equal(
    fetched_root: Path, from_idc: Warehouse, table: Table
) -> None:
    nbia, idc = rows(Warehouse(fetched_root), table), rows(from_idc, table)
    assert len(idc) >= 90
    assert nbia == idc


def test_the_manifest_says_who_sent_each_series_and_how_it_was_proven(from_idc: Warehouse) -> None:
    for row in rows(from_idc, IMAGE_ARCHIVES):
        assert row["status"] == "complete"
        assert row["source"].startswith("idc-v25@127.0.0.1")
        assert row["verified_by"] == "md5"
        assert row["crdc_series_uuid"]
