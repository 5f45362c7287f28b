"""A partition that is damaged, gone or not ours is named."""

from __future__ import annotations

import shutil

import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import collections, patients


def test_every_flipped_bit_of_a_partition_is_found(warehouse: Warehouse) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1", "p2"]), "a")
    warehouse.write(COLLECTIONS, collections("a"))
    path = warehouse.path(PATIENTS, "a")
    body = path.read_bytes()
    assert warehouse.verify().problems == [] and warehouse.verify().partitions == 2
    for place in range(0, len(body), 29):
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


@pytest.mark.parametrize("name", ["copy.parquet", "_copy.parquet", "_schema.parquet"])
def test_a_file_that_nobody_wrote_is_named(warehouse: Warehouse, name: str) -> None:
    warehouse.write(PATIENTS, patients("a", ["p1"]), "a")
    warehouse.ensure_views()
    foreign = warehouse.path(PATIENTS, "a").with_name(name)
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
