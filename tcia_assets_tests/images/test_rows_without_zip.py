"""Rows of zips that are not in the manifest any more are removed from the tables made of zips."""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES, TARGETS
from tcia_assets.images.manifest import remove_series
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets_tests.images.place import COLLECTION, Place


def test_only_the_rows_of_zips_that_are_gone_are_removed(fetched: Place) -> None:
    gone, *stay = fetched.uids
    assert not remove_rows_without_zip(COLLECTION, fetched.warehouse)
    remove_series(fetched.warehouse, COLLECTION, [gone])
    assert remove_rows_without_zip(COLLECTION, fetched.warehouse)

    rows = fetched.warehouse.read(IMAGES, [COLLECTION])["SeriesInstanceUID"]
    assert sorted(set(rows.to_pylist())) == stay
    assert all(fetched.warehouse.has(table, COLLECTION) for table in (REFERENCES, TARGETS))


def test_a_collection_without_a_manifest_keeps_its_rows(fetched: Place) -> None:
    before = fetched.warehouse.read(IMAGES, [COLLECTION])
    fetched.warehouse.path(IMAGE_ARCHIVES, COLLECTION).unlink()

    assert not remove_rows_without_zip(COLLECTION, fetched.warehouse)
    assert fetched.warehouse.read(IMAGES, [COLLECTION]).equals(before)
