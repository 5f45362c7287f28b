"""Zips in a folder: each verb, and what a reader finds meanwhile."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from os import link, utime
from pathlib import Path

import pytest

from tcia_assets.errors import StorageError
from tcia_assets.store.archives import RUNS
from tcia_assets.store.archives.folder import FolderArchives

CONTENT = b"PK" + bytes(1000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "RIDER%20Lung%20CT/1.2.zip"


@pytest.fixture
def archives(tmp_path: Path) -> FolderArchives:
    return FolderArchives(tmp_path / "archives")


def put(archives: FolderArchives, name: str = NAME, content: bytes = CONTENT) -> None:
    folder = archives.work_folder(name.partition("/")[0])
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / ".draft"
    draft.write_bytes(content)
    archives.put(draft, name, hashlib.sha256(content).hexdigest())
    assert not draft.exists()


def test_a_file_is_there_once_it_is_put_and_gone_once_it_is_deleted(
    archives: FolderArchives,
) -> None:
    with pytest.raises(FileNotFoundError):
        archives.head(NAME)
    assert archives.list("RIDER%20Lung%20CT") == [] and archives.folders() == []
    put(archives)

    assert archives.head(NAME).size_bytes == len(CONTENT)
    assert archives.sha256(NAME) == SHA256
    assert archives.list("RIDER%20Lung%20CT") == [archives.head(NAME)]
    assert archives.folders() == ["RIDER%20Lung%20CT"]
    with archives.open(NAME) as file:
        file.seek(1)
        assert file.read(2) == CONTENT[1:3]
    with archives.local(NAME, SHA256) as path:
        assert path == archives.root / NAME, "no copy is made"
    archives.delete(NAME)
    archives.delete(NAME)
    with pytest.raises(FileNotFoundError):
        archives.sha256(NAME)


def test_drafts_and_claims_are_in_no_list(archives: FolderArchives) -> None:
    put(archives)
    (archives.root / "RIDER%20Lung%20CT" / ".1.3.zip.draft").write_bytes(b"half")

    assert [file.name for file in archives.list("RIDER%20Lung%20CT")] == [NAME]


def test_a_file_that_is_replaced_keeps_its_bytes_for_those_who_read_it(
    archives: FolderArchives,
) -> None:
    put(archives)
    with archives.open(NAME) as file:
        put(archives, content=b"newer")
        assert file.read() == CONTENT
    assert archives.head(NAME).size_bytes == 5


def test_a_hard_link_has_the_time_of_its_file(archives: FolderArchives) -> None:
    put(archives)
    at = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
    utime(archives.root / NAME, (at.timestamp(), at.timestamp()))
    link(archives.root / NAME, archives.root / "other.zip")

    assert archives.head(NAME).published_at == archives.head("other.zip").published_at == at


def test_an_equal_text_changes_nothing_and_an_empty_one_removes_the_file(
    archives: FolderArchives,
) -> None:
    assert archives.put_text("LCTSC/LICENSES.md", "CC BY")
    assert not archives.put_text("LCTSC/LICENSES.md", "CC BY")
    assert archives.put_text("LCTSC/LICENSES.md", "CC0")
    assert archives.put_text("LCTSC/LICENSES.md", "")
    assert not archives.put_text("LCTSC/LICENSES.md", "")
    (archives.root / "LCTSC" / "CITATION.cff").mkdir()
    with pytest.raises(StorageError, match=r"CITATION\.cff cannot be removed"):
        archives.put_text("LCTSC/CITATION.cff", "")


def test_a_text_is_drafted_where_no_zips_are_listed(tmp_path: Path) -> None:
    archives, runs = FolderArchives(tmp_path), tmp_path / "LCTSC" / RUNS
    runs.mkdir(parents=True)
    dead = runs / ".LICENSES.md.0123456789abcdef.draft"
    dead.write_text("half of it")

    assert archives.put_text("LCTSC/LICENSES.md", "CC BY")
    assert not archives.put_text("LCTSC/LICENSES.md", "CC BY")
    assert not dead.exists()
    assert {path.name for path in tmp_path.rglob("*")} == {"LCTSC", "LICENSES.md", RUNS}
