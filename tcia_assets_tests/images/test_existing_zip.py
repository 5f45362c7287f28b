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
    fetched_three: Place,
) -> None:
    lose_manifest(fetched_three)
    fetched_three.fetch()
    assert fetched_three.asked() == []
    fetched_three.demand_complete()


def test_a_zip_without_a_row_is_fetched_again_if_another_version_is_as_large(
    fetched_three: Place,
) -> None:
    """Killed between a zip's name and its row; by the next run, the Series has been revised."""
    lose_manifest(fetched_three)
    fetched_three.revise(*fetched_three.uids)
    fetched_three.refresh()
    fetched_three.fetch()
    fetched_three.demand_complete()


def test_the_zip_of_a_moved_series_is_not_used_if_the_series_was_revised(
    fetched_three: Place,
) -> None:
    moved, *_ = fetched_three.uids
    fetched_three.revise(moved)
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched_three)
    with fetched_three.source() as source:
        got = fetch_images(
            GOAL, FetchSession(Selection(collections=(GOAL,))), source, fetched_three.warehouse
        )

    assert got.recorded == {"complete": 1}
    there = images_in(fetched_three.data_dir / zip_path(GOAL, moved))
    assert sorted(there.values()) == fetched_three.true_md5s(moved)


def test_a_zip_is_copied_where_it_cannot_be_linked(fetched_three: Place) -> None:
    """The folder of the other Collection is another disk."""
    moved, *_ = fetched_three.uids
    content = fetched_three.zip(moved).read_bytes()
    fetched_three.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched_three)
    with small_disk(fetched_three.folder.parent / quote(GOAL)) as disk:
        with pytest.raises(OSError, match="cross-device"):
            os.link(fetched_three.zip(moved), disk / "link")
        with fetched_three.source() as source:
            got = fetch_images(
                GOAL, FetchSession(Selection(collections=(GOAL,))), source, fetched_three.warehouse
            )

        [row] = read_rows(fetched_three.warehouse, GOAL)
        assert (row.status, row.verified_by) == ("complete", "md5")
        assert got.fetched == {moved}
        assert (fetched_three.data_dir / str(row.path)).read_bytes() == content
        assert list(images_in(fetched_three.data_dir / str(row.path)))
        assert sorted(path.name for path in disk.glob(".*.draft")) == []
        assert fetched_three.asked() == []
        assert not fetched_three.zip(moved).exists()
