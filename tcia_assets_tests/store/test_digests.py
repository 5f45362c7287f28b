"""Each partition has the digest of its file, whenever its writer is killed."""

from __future__ import annotations

import shutil

import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS
from tcia_assets.store import digests
from tcia_assets.store.files import sha256_of
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import collections, patients


def test_every_flipped_bit_of_a_partition_is_found(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1", "p2"]), "a")
    warehouse.write(COLLECTIONS, collections("a"))
    path = warehouse.path(PATIENTS, "a")
    body = path.read_bytes()
    assert warehouse.verify().problems == [] and warehouse.verify().partitions == 2
    for place in range(0, len(body), 7):
        damaged = bytearray(body)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        [problem] = warehouse.verify().problems
        assert problem.startswith(f"{path}: it was changed after it was written; ")
    path.write_bytes(body)
    assert warehouse.verify(["a"]).partitions == 1


def test_a_partition_of_an_earlier_version_has_no_digest(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    shutil.rmtree(warehouse.root / "warehouse" / ".digests")
    verified = warehouse.verify()
    assert (verified.without_digest, verified.problems) == (1, [])
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    assert warehouse.verify().without_digest == 0


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


def test_a_file_that_nobody_wrote_is_named(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    warehouse.ensure_views()
    foreign = warehouse.path(PATIENTS, "a").with_name("copy.parquet")
    shutil.copy(warehouse.path(PATIENTS, "a"), foreign)
    [problem] = warehouse.verify().problems
    assert problem.startswith(f"{foreign}: it was not written by tcia_assets")


def test_a_partition_that_is_gone_is_named(warehouse: Warehouse) -> None:
    for key in ("a", "b/c"):
        warehouse.write(PATIENTS, patients(key, ["p1"]), key)
    warehouse.write(COLLECTIONS, collections("a"))
    lost = [warehouse.path(PATIENTS, "b/c"), warehouse.path(COLLECTIONS)]
    shutil.rmtree(lost[0].parent)
    lost[1].unlink()
    problems = sorted(warehouse.verify().problems)
    assert problems == sorted(
        f"{path}: it is gone although it was written; restore it from a copy, or refresh its "
        "Collection"
        for path in lost
    )
    assert warehouse.verify(["a"]).problems == []
    warehouse.write(PATIENTS, patients("b/c", ["p1"]), "b/c")
    assert len(warehouse.verify().problems) == 1


def test_a_kill_during_the_first_write_of_a_partition_is_no_loss(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("publish_draft", "sync"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tcia_assets.store.files.{place}", killed)
            with pytest.raises(KeyboardInterrupt):
                warehouse.write(PATIENTS, patients(place, ["p1"]), place)
    assert warehouse.verify().problems == []
    warehouse.write(PATIENTS, patients("sync", ["p1"]), "sync")
    assert warehouse.verify().without_digest == 0
