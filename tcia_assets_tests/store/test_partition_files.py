"""The files of a partition: which there are, and what each was made from."""

from __future__ import annotations

import shutil

from tcia_assets.catalog import IMAGES, PATIENTS
from tcia_assets.store.conform import align, conform, empty
from tcia_assets.store.files import sha256_of
from tcia_assets.store.parquet_files import DerivedRows, read_derived
from tcia_assets.store.partition_files import with_columns
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import drop_columns, objects_of, patients

KEY = "LCTSC"


def test_only_a_table_that_grows_by_parts_has_more_than_one_file(warehouse: Warehouse) -> None:
    for table, rows in ((PATIENTS, patients(KEY, ["p"])), (IMAGES, objects_of(KEY, "a", 1))):
        files = warehouse.files(table, KEY)
        assert files.numbers() == []
        files.write(0, conform(table, rows))
        for name in ("part-2.parquet", "part-03.parquet", "part-x.parquet", "part-4.parquet.tmp"):
            (files.folder / name).write_bytes(files.path().read_bytes())
    assert warehouse.files(PATIENTS, KEY).numbers() == [0]
    assert warehouse.files(IMAGES, KEY).numbers() == [0, 2]
    assert len(warehouse.verify().problems) == 3 + 2


def test_a_file_says_what_it_was_made_from(warehouse: Warehouse) -> None:
    files = warehouse.files(IMAGES, KEY)
    rows = conform(IMAGES, objects_of(KEY, "a", 1))
    chosen = with_columns(IMAGES, ("SeriesInstanceUID", "InstanceNumber"))
    nothing = DerivedRows("", empty(chosen), is_current=False)
    assert read_derived(IMAGES, chosen, files.path()) == nothing
    assert files.write(0, rows, "abc").changed
    found = DerivedRows("abc", align(chosen, rows), is_current=True)
    assert read_derived(IMAGES, chosen, files.path()) == found
    assert not files.write(0, rows, "abc").changed
    drop_columns(files, "InstanceNumber", "Rows")
    without = align(chosen, rows.drop_columns(["InstanceNumber"]))
    found = DerivedRows("abc", without, is_current=False)
    assert read_derived(IMAGES, chosen, files.path()) == found
    assert files.write(0, rows).changed
    assert read_derived(IMAGES, chosen, files.path()) == nothing
    files.path().write_bytes(files.path().read_bytes()[:-9])
    assert read_derived(IMAGES, chosen, files.path()) == nothing


def test_a_removed_file_is_no_loss(warehouse: Warehouse) -> None:
    files = warehouse.files(IMAGES, KEY)
    files.write(5, conform(IMAGES, objects_of(KEY, "a", 1)))
    assert warehouse.has(IMAGES, KEY) and warehouse.keys(IMAGES) == [KEY]
    files.remove(5)
    assert not warehouse.has(IMAGES, KEY) and warehouse.keys(IMAGES) == []
    assert warehouse.verify().problems == []


def test_the_digest_follows_each_of_the_files(warehouse: Warehouse) -> None:
    files = warehouse.files(IMAGES, KEY)
    seen = [files.digest()]
    files.write(0, conform(IMAGES, objects_of(KEY, "a", 1)))
    seen.append(files.digest())
    assert seen == ["", sha256_of(files.path())]
    files.write(3, conform(IMAGES, objects_of(KEY, "b", 1)))
    seen.append(files.digest())
    files.write(3, conform(IMAGES, objects_of(KEY, "b", 2)))
    seen.append(files.digest())
    shutil.rmtree(warehouse.root / "warehouse" / ".digests")  # as an earlier version left it
    assert files.digest() == seen[-1] and len(set(seen)) == 4
