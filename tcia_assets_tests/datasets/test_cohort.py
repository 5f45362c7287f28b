"""A cohort is identified by the objects of its Series, and a zip by its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.cohort import LockedZip, hash_cohort
from tcia_assets.errors import CohortMoved
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.files import sha256_of


def hash_of(content_md5: str | None, archive_sha256: str) -> str:
    row = {"SeriesInstanceUID": "1.2", "content_md5": content_md5, "archive_sha256": archive_sha256}
    return hash_cohort({"series": [row], "pairs": []})


def test_the_zip_counts_only_where_its_objects_are_not_known() -> None:
    assert hash_of("a", "one") == hash_of("a", "other") != hash_of("b", "one")
    assert hash_of(None, "one") != hash_of(None, "other")


def test_a_zip_that_is_gone_or_changed_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a" / "1.2.zip"
    path.parent.mkdir()
    path.write_bytes(b"zip")
    locked = LockedZip(FolderArchives(tmp_path), "a/1.2.zip", sha256_of(path), "md5")
    with locked.open() as found:
        assert found.read_bytes() == b"zip"
    path.write_bytes(b"new")
    with pytest.raises(CohortMoved, match="has changed since it was fetched"), locked.open():
        pass
    path.unlink()
    with pytest.raises(CohortMoved, match="is missing"), locked.open():
        pass
