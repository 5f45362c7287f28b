"""A Collection is the same from the archive and from the buckets of the Imaging Data Commons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL, idc_settings_for, settings_for
from tcia_assets_tests.datasets.derived_labels import mirror, small_catalogue

# What is of a zip and not of its objects.
OF_THE_ZIP = {"archive_sha256", "entry_name", "entry_index"}


@pytest.fixture(scope="module")
def small_ct() -> Iterator[Sandbox]:
    """Serve five Patients with ten CT images and contours each."""
    with Sandbox(small_catalogue()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def from_idc(small_ct: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return a mirror of the buckets."""
    root = tmp_path_factory.mktemp("from_idc")
    return mirror(idc_settings_for(small_ct, root))


@pytest.fixture(scope="module")
def from_nbia(small_ct: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return a mirror of NBIA."""
    return mirror(settings_for(small_ct, tmp_path_factory.mktemp("from_nbia")))


def rows(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    """The rows of a table but for what is of a zip, in an order of their own."""
    found = warehouse.read(table, keys=[SMALL]).to_pylist()
    kept = [{k: v for k, v in row.items() if k not in OF_THE_ZIP} for row in found]
    return sorted(kept, key=str)


@pytest.mark.parametrize("table", [IMAGES, REFERENCES], ids=lambda table: table.name)
def test_the_objects_of_a_collection_are_equal(
    from_nbia: Warehouse, from_idc: Warehouse, table: Table
) -> None:
    nbia, idc = rows(from_nbia, table), rows(from_idc, table)
    assert len(idc) >= 5 * 10 + 5
    assert nbia == idc


def test_the_manifest_says_who_sent_each_series_and_how_it_was_proven(from_idc: Warehouse) -> None:
    for row in rows(from_idc, IMAGE_ARCHIVES):
        assert row["status"] == "complete"
        assert row["source"].startswith("idc-v25@127.0.0.1")
        assert row["verified_by"] == "md5"
        assert row["crdc_series_uuid"]
