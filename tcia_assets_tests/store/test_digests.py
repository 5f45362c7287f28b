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
