"""Where the whole store of zips is not there, no zip is marked as lost."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import ZIP_READS
from tcia_assets.errors import StorageError
from tcia_assets.images.store_loss import require_store
from tcia_assets.images.verify import verify_zips
from tcia_assets.images.zip_parts import Subset
from tcia_assets_tests.images.many import SERIES
from tcia_assets_tests.images.place import COLLECTION, Place
from tcia_assets_tests.page_server import PAGE_HEADERS, page_server


def unmount(place: Place) -> None:
    """Leave an empty folder where the zips were, as a disk that is not mounted does."""
    archives = place.data_dir / "archives"
    archives.rename(archives.with_name("unmounted"))
    archives.mkdir()


@pytest.mark.parametrize("chosen", [{}, {"quick": True}, {"subset": Subset(1, 2)}])
def test_zips_on_a_disk_that_is_not_mounted_are_not_lost(
    fetched: Place, chosen: dict[str, object]
) -> None:
    before = fetched.rows
    unmount(fetched)
    fetched.folder.mkdir()
    (fetched.folder / "SHA256SUMS").write_text("written where the disk should be")
    with pytest.raises(StorageError, match=f"archives has 0 of {SERIES} zips, .* mount the disk"):
        verify_zips(COLLECTION, fetched.warehouse, **chosen)

    assert fetched.rows == before
    assert not fetched.warehouse.has(ZIP_READS, COLLECTION)


def test_a_zip_that_was_fetched_without_the_disk_does_not_stand_for_the_others(
    fetched: Place,
) -> None:
    unmount(fetched)
    fetched.folder.mkdir()
    here = fetched.zip(fetched.uids[-1])
    (fetched.data_dir / "unmounted" / here.relative_to(fetched.data_dir / "archives")).rename(here)
    with pytest.raises(StorageError, match=f"has 1 of {SERIES} zips"):
        verify_zips(COLLECTION, fetched.warehouse)
    found = verify_zips(COLLECTION, fetched.warehouse, accept_loss=True)
    assert len(found.damaged) == SERIES - 1


def test_an_accepted_loss_is_not_refused_again(fetched: Place) -> None:
    unmount(fetched)
    verify_zips(COLLECTION, fetched.warehouse, accept_loss=True)
    assert len(verify_zips(COLLECTION, fetched.warehouse).damaged) == SERIES
    fetched.fetch(fetched.uids[0])
    assert len(verify_zips(COLLECTION, fetched.warehouse).damaged) == SERIES - 1


def test_a_disk_may_go_while_its_zips_are_read(fetched: Place) -> None:
    # All others may have been read by then.
    fetched.zip(fetched.uids[-1]).unlink()
    before = fetched.rows
    with pytest.raises(StorageError, match=f"has 0 of {SERIES} zips"):
        verify_zips(
            COLLECTION,
            fetched.warehouse,
            report=lambda *_: unmount(fetched) if fetched.folder.exists() else None,
        )
    assert fetched.rows == before


def test_the_zips_of_a_folder_are_not_lost_because_the_bucket_is_a_new_one(
    fetched: Place, bucket: str
) -> None:
    fetched.archives_url = bucket
    with pytest.raises(StorageError, match=f"^{bucket} has 0 of {SERIES} zips, "):
        verify_zips(COLLECTION, fetched.warehouse)


@pytest.mark.parametrize("chosen", [{}, {"quick": True}])
def test_zips_are_not_damaged_because_the_endpoint_is_no_store(
    fetched: Place, bucket: str, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, object]
) -> None:
    fetched.archives_url = bucket
    before = fetched.rows
    with page_server(200, PAGE_HEADERS) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StorageError, match="check AWS_ENDPOINT_URL"):
            verify_zips(COLLECTION, fetched.warehouse, **chosen)
    assert fetched.rows == before


def test_few_zips_may_all_be_lost(place: Place) -> None:
    place.fetch()
    unmount(place)
    assert len(verify_zips(COLLECTION, place.warehouse).damaged) == len(place.uids) < 10


def test_the_zips_of_one_collection_may_all_be_lost(fetched: Place) -> None:
    rest, gone = fetched.uids[:2], fetched.uids[2:]
    for uid in gone:
        fetched.zip(uid).unlink()
    require_store(fetched.warehouse)  # 2 of 12 are there
    found = verify_zips(COLLECTION, fetched.warehouse)

    assert sorted(each.series_instance_uid for each in found.damaged) == gone
    assert {fetched.rows[uid]["status"] for uid in rest} == {"complete"}
