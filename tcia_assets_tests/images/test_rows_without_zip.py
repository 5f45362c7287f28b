"""Rows of zips that are not in the manifest any more are removed from the tables made of zips."""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES, TARGETS
from tcia_assets.images.headers.image_rows import index_images
from tcia_assets.images.manifest import remove_series
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets_tests.images.place import COLLECTION, Place


def test_only_the_rows_of_zips_that_are_gone_are_removed(mirror: Place) -> None:
    gone, *stay = mirror.uids
    mirror.fetch()
    index_images(COLLECTION, mirror.warehouse)
    assert not remove_rows_without_zip(COLLECTION, mirror.warehouse)
    remove_series(mirror.warehouse, COLLECTION, [gone])
    assert remove_rows_without_zip(COLLECTION, mirror.warehouse)

    rows = mirror.warehouse.read(IMAGES, [COLLECTION])["SeriesInstanceUID"]
    assert sorted(set(rows.to_pylist())) == stay
    assert all(mirror.warehouse.has(table, COLLECTION) for table in (REFERENCES, TARGETS))


def test_a_collection_without_a_manifest_keeps_its_rows(mirror: Place) -> None:
    mirror.fetch()
    index_images(COLLECTION, mirror.warehouse)
    before = mirror.warehouse.read(IMAGES, [COLLECTION])
    mirror.warehouse.path(IMAGE_ARCHIVES, COLLECTION).unlink()

    assert not remove_rows_without_zip(COLLECTION, mirror.warehouse)
    assert mirror.warehouse.read(IMAGES, [COLLECTION]).equals(before)
