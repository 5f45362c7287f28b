"""Each partition has the digest of its file, whenever its writer is killed."""

from __future__ import annotations

import time
from multiprocessing.context import ForkServerContext

import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS
from tcia_assets.store import digests
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.child_processes import running, write_new_for_ever
from tcia_assets_tests.store.tables import collections, patients


def test_a_kill_before_the_partition_is_published_leaves_a_digest_for_the_old_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    path, digest_file = (
        warehouse.path(PATIENTS, "a"),
        digests.digest_path(warehouse.root, PATIENTS, "a"),
    )
    for name in ("q", "r", "s"):
        other = Warehouse(warehouse.root.with_name(name))
        draft = other.write(PATIENTS, patients("a", [name]), "a").path
        digests.record(digest_file, path, draft)  # and then it is killed
        assert warehouse.verify().problems == []
        assert digests.read(digest_file) == (sha256_of(path), sha256_of(draft))
    warehouse.write(PATIENTS, patients("a", ["t"]), "a")
    assert warehouse.verify().problems == []


def test_writing_the_same_again_writes_no_digest(warehouse: Warehouse) -> None:
    for _ in range(2):
        warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
        before = digests.digest_path(warehouse.root, PATIENTS, "a").stat()
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    assert digests.digest_path(warehouse.root, PATIENTS, "a").stat().st_ino == before.st_ino


def test_a_kill_during_the_first_write_of_a_partition_is_no_loss(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.write(COLLECTIONS, collections("a"))  # the marker of the layout comes before

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("files.publish_draft", "files.sync", "digests.storage_errors"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tcia_assets.store.{place}", killed)
            with pytest.raises(KeyboardInterrupt):
                warehouse.write(PATIENTS, patients(place, ["p1"]), place)
    assert warehouse.keys(PATIENTS) == ["digests.storage_errors"]  # the last is right after it
    assert (warehouse.verify().problems, warehouse.verify().without_digest) == ([], 0)
    for rows in (["p1"], ["p2"]):
        warehouse.write(PATIENTS, patients(place, rows), place)
        assert (warehouse.verify().problems, warehouse.verify().without_digest) == ([], 0)
    digest_file = digests.digest_path(warehouse.root, PATIENTS, place)
    assert [path.name for path in digest_file.parent.iterdir()] == [digest_file.name]


def test_each_new_file_has_a_digest_whenever_its_writer_is_killed(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    for number in range(4):
        started = processes.Event()
        arguments = (warehouse.root, f"writer {number}", started)
        with running(processes.Process(target=write_new_for_ever, args=arguments)):
            assert started.wait(30)
            time.sleep(0.05 * (number + 1))
    found = warehouse.verify()
    assert found.partitions > 4
    assert (found.problems, found.without_digest) == ([], 0)


def test_a_file_that_changed_after_it_was_written_is_found_until_it_is_gone(
    warehouse: Warehouse,
) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p1"]), "a").path
    digest_file = digests.digest_path(warehouse.root, PATIENTS, "a")
    assert not digests.is_changed(digest_file, path)
    for content in (path.read_bytes() + b"\0", b""):
        path.write_bytes(content)
        assert digests.is_changed(digest_file, path)
    path.unlink()
    assert not digests.is_changed(digest_file, path)
