"""Where zips are, for Collections with any name, and only one run works on a zip."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcia_assets.errors import Busy
from tcia_assets.images.journal import Journal, take_over_dead_journals
from tcia_assets.images.manifest import merge_rows
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.zip_files import (
    claim,
    collection_folder,
    collections_on_disk,
    draft_path,
    quarantine_path,
    remove_abandoned_drafts,
    tidy,
    work_folder,
    zip_path,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.children import CLAIM, child
from tcia_assets_tests.images.many import row


@pytest.mark.parametrize(
    ("collection", "folder"),
    [("LCTSC", "LCTSC"), ("RIDER Lung CT", "RIDER%20Lung%20CT"), ("../a/b", "..%2Fa%2Fb")],
)
def test_a_collection_is_one_folder_whatever_its_name(collection: str, folder: str) -> None:
    assert collection_folder(collection) == folder
    assert zip_path(collection, "1.2") == f"archives/{folder}/1.2.zip"
    assert quarantine_path(collection, "1.2") == f"quarantine/{folder}/1.2.zip"


def test_collections_on_disk_have_a_manifest_or_zips(warehouse: Warehouse) -> None:
    assert collections_on_disk(warehouse) == []
    merge_rows(warehouse, "LCTSC", [row("1.2", Collection="LCTSC")])
    work_folder("Empty", warehouse).mkdir(parents=True)
    path = warehouse.root / zip_path("RIDER Lung CT", "1.3")
    path.parent.mkdir()
    path.write_bytes(b"")

    assert collections_on_disk(warehouse) == ["LCTSC", "RIDER Lung CT"]


def test_a_zip_is_busy_until_the_process_that_claims_it_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "1.2.3.zip"
    with child(CLAIM, path) as process:
        draft_path(path).write_bytes(b"half of it")
        with pytest.raises(Busy, match=r"1\.2\.3\.zip"), claim(path):
            pass
        remove_abandoned_drafts(tmp_path)
        assert draft_path(path).exists(), "its process lives"
        process.kill()
        process.wait(10)
    with claim(path):
        pass

    remove_abandoned_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_looked_for_after_a_kill_and_once_a_day(tmp_path: Path) -> None:
    draft = draft_path(tmp_path / "1.2.3.zip")

    def is_removed_by_next_run() -> bool:
        draft.write_bytes(b"half of it")
        take_over_dead_journals(tmp_path, list[ManifestRow].clear)
        journal = Journal(tmp_path)
        tidy(tmp_path)
        journal.remove()
        journal.close()
        return not draft.exists()

    assert is_removed_by_next_run()
    assert not is_removed_by_next_run()
    Journal(tmp_path).close()  # as a kill would
    assert is_removed_by_next_run()
    assert not is_removed_by_next_run()
    yesterday = time.time() - 86_500
    os.utime(tmp_path / ".runs" / "tidied", (yesterday, yesterday))
    assert is_removed_by_next_run()


def test_only_one_of_many_threads_has_a_claim(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "1.2.3.zip", [0], [0]

    def work(_: int) -> int:
        try:
            with claim(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
        except Busy:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(400))) > 0
    assert most == [1]
    assert list(tmp_path.iterdir()) == []
