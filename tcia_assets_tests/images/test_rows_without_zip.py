"""Rows of zips that are not in the manifest any more are removed from the tables made of zips."""

from __future__ import annotations

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, REFERENCES, TARGETS
from tcia_assets.images.manifest import remove_series
from tcia_assets.images.rows_without_zip import remove_rows_without_zip
from tcia_assets.spec import Table
from tcia_assets_tests.images.place import COLLECTION, Place


def series_of(place: Place, table: Table) -> set[str]:
    """Return the Series that a table has rows of."""
    return set(place.warehouse.read(table, [COLLECTION])["SeriesInstanceUID"].to_pylist())


def test_only_the_rows_of_zips_that_are_gone_are_removed(fetched: Place) -> None:
    gone, *stay = fetched.uids
    assert gone in series_of(fetched, REFERENCES)
    assert not remove_rows_without_zip(COLLECTION, fetched.warehouse)
    remove_series(fetched.warehouse, COLLECTION, [gone])
    assert remove_rows_without_zip(COLLECTION, fetched.warehouse)

    assert sorted(series_of(fetched, IMAGES)) == stay
    assert all(gone not in series_of(fetched, table) for table in (REFERENCES, TARGETS))


def test_a_collection_without_a_manifest_keeps_its_rows(fetched: Place) -> None:
    before = fetched.warehouse.read(IMAGES, [COLLECTION])
    fetched.warehouse.path(IMAGE_ARCHIVES, COLLECTION).unlink()

    assert not remove_rows_without_zip(COLLECTION, fetched.warehouse)
    assert fetched.warehouse.read(IMAGES, [COLLECTION]).equals(before)
