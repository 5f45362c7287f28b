"""A zip on disk is used in place of a download if it is current."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest

from tcia_assets import catalog
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest import read_rows
from tcia_assets.images.zip_files import zip_path
from tcia_assets.metadata.selection import Selection
from tcia_assets_tests.disks import small_disk
from tcia_assets_tests.images.moves import GOAL, refresh_all
from tcia_assets_tests.images.place import COLLECTION, Place, images_in


def lose_manifest(place: Place) -> None:
    place.warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION).unlink()


def test_a_zip_without_a_row_is_kept_if_the_source_has_the_same_hash(
    place: Place,
) -> None:
    place.fetch()
    asked = place.asked()
    lose_manifest(place)
    place.fetch()
    assert place.asked() == asked
    place.demand_complete()


def test_a_zip_without_a_row_is_fetched_again_if_another_version_is_as_large(place: Place) -> None:
    """Killed between a zip's name and its row; by the next run, the Series has been revised."""
    place.fetch()
    lose_manifest(place)
    place.revise(*place.uids)
    place.refresh()
    place.fetch()
    place.demand_complete()


def test_the_zip_of_a_moved_series_is_not_used_if_the_series_was_revised(place: Place) -> None:
    moved, *_ = place.uids
    place.fetch()
    place.revise(moved)
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    with place.source() as source:
        got = fetch_images(
            GOAL, FetchSession(Selection(collections=(GOAL,))), source, place.warehouse
        )

    assert got.recorded == {"complete": 1}
    there = images_in(place.data_dir / zip_path(GOAL, moved))
    assert sorted(there.values()) == place.true_md5s(moved)


def test_a_zip_is_copied_where_it_cannot_be_linked(place: Place) -> None:
    """The folder of the other Collection is another disk."""
    moved, *_ = place.uids
    place.fetch()
    content = place.zip(moved).read_bytes()
    place.sandbox.archive.move([moved], to=GOAL)
    refresh_all(place)
    asked = place.asked()
    with small_disk(place.folder.parent / quote(GOAL)) as disk:
        with pytest.raises(OSError, match="cross-device"):
            os.link(place.zip(moved), disk / "link")
        with place.source() as source:
            got = fetch_images(
                GOAL, FetchSession(Selection(collections=(GOAL,))), source, place.warehouse
            )

        [row] = read_rows(place.warehouse, GOAL)
        assert (row.status, row.verified_by) == ("complete", "md5")
        assert got.fetched == {moved}
        assert (place.data_dir / str(row.path)).read_bytes() == content
        assert list(images_in(place.data_dir / str(row.path)))
        assert sorted(path.name for path in disk.glob(".*.draft")) == []
        assert place.asked() == asked
        assert not place.zip(moved).exists()
