"""`indexed_zips` says what `images` has of each zip, whatever happened to either of them."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import HEADER_VERSION, IMAGES, INDEXED_ZIPS, REFERENCES, TARGETS
from tcia_assets.defs import checks
from tcia_assets.images.headers import image_rows, references
from tcia_assets.images.headers.indexed_zips import IndexedImages
from tcia_assets.store.conform import conform, replace_column
from tcia_assets.store.parquet_files import ROWS_PER_BATCH
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    MASK_SERIES,
    SECOND,
    ZipWarehouse,
    forget_columns,
    index_all,
    mask_object,
    objects,
    table_rows,
)
from tcia_assets_tests.processes import forkserver
from tcia_assets_tests.store.child_processes import running
from tcia_assets_tests.store.tables import drop_columns, objects_of


def described(zips: ZipWarehouse) -> dict[str, dict[str, Any]]:
    rows = zips.warehouse.read(INDEXED_ZIPS, [COLLECTION]).to_pylist()
    return {row["SeriesInstanceUID"]: row for row in rows}


def synchronize(zips: ZipWarehouse) -> None:
    with zips.warehouse.lock(IMAGES, COLLECTION):
        IndexedImages(COLLECTION, zips.warehouse)


@pytest.fixture
def three(zips: ZipWarehouse) -> ZipWarehouse:
    zips.add(objects(count=3) | {"bad.dcm": b"no DICOM"})
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    zips.add(objects(SECOND), SECOND)
    zips.path(SECOND).write_bytes(b"no zip")
    zips.index()
    return zips


def test_each_zip_has_a_row_with_what_images_has_of_it(three: ZipWarehouse) -> None:
    found = described(three)
    assert set(found) == {FIRST, SECOND, MASK_SERIES}
    names = ("row_count", "object_count", "referring_count", "unidentified_count", "error_count")
    counts = {uid: tuple(row[name] for name in names) for uid, row in found.items()}
    # An object that cannot be read may be one that refers to images.
    assert counts == {FIRST: (4, 4, 1, 1, 1), SECOND: (1, 0, 0, 1, 1), MASK_SERIES: (1, 1, 1, 0, 0)}
    assert found[FIRST]["archive_sha256"] == three.manifest[FIRST]["sha256"]
    assert found[FIRST]["header_version"] == HEADER_VERSION
    assert found[SECOND]["header_version"] is None


def uid_number(uid: str) -> int:
    """Compute the number as docs/data-dictionary.md has it."""
    return int.from_bytes(hashlib.md5(uid.encode()).digest()[8:], "little") // 2


@pytest.mark.duckdb
def test_the_number_of_a_uid_is_the_same_in_each_version_of_duckdb(three: ZipWarehouse) -> None:
    uids: dict[str, list[int]] = {}
    for row in three.rows():
        if row["SOPInstanceUID"]:
            uids.setdefault(row["SeriesInstanceUID"], []).append(uid_number(row["SOPInstanceUID"]))
    found = {uid: row["uid_numbers"] for uid, row in described(three).items()}
    assert found == {uid: sorted(numbers) for uid, numbers in uids.items()} | {SECOND: None}
    assert [len(numbers or ()) for numbers in found.values()] == [3, 0, 1]


def test_a_file_of_many_batches_is_described_as_a_whole(warehouse: Warehouse) -> None:
    count = ROWS_PER_BATCH // 2
    rows = conform(IMAGES, objects_of(COLLECTION, ["1.2", "1.3", "1.4"], count))
    warehouse.files(IMAGES, COLLECTION).write(0, rows)
    with warehouse.lock(IMAGES, COLLECTION):
        IndexedImages(COLLECTION, warehouse)
    found = warehouse.read(INDEXED_ZIPS, [COLLECTION])
    assert found["row_count"].to_pylist() == [count] * 3
    numbers = [uid_number(f"1.3.{number}.0") for number in range(count)]
    assert found["uid_numbers"][1].as_py() == sorted(numbers)


def test_it_is_made_again_if_it_is_missing_or_of_a_different_file(three: ZipWarehouse) -> None:
    whole, index = described(three), three.warehouse.files(INDEXED_ZIPS, COLLECTION)
    shutil.rmtree(index.folder)
    synchronize(three)
    assert described(three) == whole
    body = index.path().read_bytes()
    # A run that is killed between the two files leaves a new one of `images` and an old index.
    SeriesParts(three.warehouse.files(IMAGES, COLLECTION)).replace(
        IMAGES.schema.empty_table(), gone=[FIRST]
    )
    assert described(three) == whole
    synchronize(three)
    assert set(described(three)) == {SECOND, MASK_SERIES}
    index.path().write_bytes(body)
    synchronize(three)
    assert set(described(three)) == {SECOND, MASK_SERIES}
    three.index()
    assert described(three) == whole


def test_a_current_index_is_not_made_again(three: ZipWarehouse) -> None:
    path = three.warehouse.files(INDEXED_ZIPS, COLLECTION).path()
    before = path.stat()
    synchronize(three)
    three.index()
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert three.warehouse.verify().problems == []


def test_a_current_index_is_read_without_a_look_at_the_images(three: ZipWarehouse) -> None:
    files = three.warehouse.files(IMAGES, COLLECTION)
    with three.warehouse.lock(IMAGES, COLLECTION):
        before = IndexedImages(COLLECTION, three.warehouse)
        files.path().write_bytes(b"damaged")
        again = IndexedImages(COLLECTION, three.warehouse)
    assert list(again.summaries) == list(before.summaries)
    assert again.row_counts == before.row_counts == {0: 6}


def test_rows_of_a_file_that_somebody_copied_are_stored_once(three: ZipWarehouse) -> None:
    before, files = three.rows(), three.warehouse.files(IMAGES, COLLECTION)
    shutil.copy(files.path(), files.path(3))
    three.index()
    assert three.rows() == before


def test_only_objects_that_were_read_can_lack_columns(three: ZipWarehouse) -> None:
    done = three.index()
    assert (done.objects, done.unreadable, done.outdated) == (6, 2, 0)


def test_a_removed_file_of_images_is_read_again_from_the_zips(three: ZipWarehouse) -> None:
    before = described(three)
    three.warehouse.path(IMAGES, COLLECTION).unlink()
    assert three.index().objects == 6
    assert described(three) == before


def test_rows_of_an_earlier_version_are_described_without_reading_zips(
    three: ZipWarehouse,
) -> None:
    forget_columns(three.warehouse)
    for table in (".digests", "indexed_zips"):
        shutil.rmtree(three.warehouse.root / "warehouse" / table)
    before = described_versions(three)
    synchronize(three)
    assert before == {}
    assert described_versions(three) == {FIRST: None, SECOND: None, MASK_SERIES: None}
    assert three.warehouse.verify().without_digest == 1  # the manifest's


def described_versions(zips: ZipWarehouse) -> dict[str, str | None]:
    if not zips.warehouse.has(INDEXED_ZIPS, COLLECTION):
        return {}
    return {uid: row["header_version"] for uid, row in described(zips).items()}


def test_a_uid_in_two_collections_is_counted_and_fails_the_check(warehouse: Warehouse) -> None:
    check = next(c for c in checks.checks_of(IMAGES) if c.name == "keys_unique")
    for collection, series in (("A", "1.2"), ("B", "1.3")):
        rows = objects_of(collection, [series], 3)
        uids = rows["SOPInstanceUID"].to_pylist()
        uids[0] = "1.1.1"
        at = rows.schema.get_field_index("SOPInstanceUID")
        rows = rows.set_column(at, rows.schema.field(at), [uids])
        assert warehouse.query(check.sql).num_rows == 0
        with warehouse.lock(IMAGES, collection):
            IndexedImages(collection, warehouse).replace(rows)
    shared = warehouse.query("SELECT Collection, shared_count FROM indexed_zips ORDER BY ALL")
    assert shared["shared_count"].to_pylist() == [0, 1]
    assert warehouse.query(check.sql).to_pylist() == [{"SOPInstanceUID": "1.1.1", "rows": 2}]
    with warehouse.lock(IMAGES, "A"):
        IndexedImages("A", warehouse).replace(IMAGES.schema.empty_table(), gone=["1.2"])
    assert warehouse.query(check.sql).num_rows == 0


def test_an_index_that_lacks_a_column_keeps_what_was_counted(warehouse: Warehouse) -> None:
    for collection, series in (("A", "1.2"), ("B", "1.3")):
        rows = replace_column(
            objects_of(collection, [series], 2), "SOPInstanceUID", pa.array(["1.1", f"{series}.9"])
        )
        with warehouse.lock(IMAGES, collection):
            IndexedImages(collection, warehouse).replace(rows)
    before = warehouse.read(INDEXED_ZIPS, ["B"])
    assert before["shared_count"].to_pylist() == [1]
    index = warehouse.files(INDEXED_ZIPS, "B")
    for lacking in ("shared_count", "uid_numbers"):  # counted anew, and kept
        drop_columns(index, lacking)
        with warehouse.lock(IMAGES, "B"):
            IndexedImages("B", warehouse)
        assert warehouse.read(INDEXED_ZIPS, ["B"]) == before
    drop_columns(index, "uid_numbers")
    shutil.rmtree(warehouse.files(IMAGES, "A").folder)  # counted again, it would be 0
    with warehouse.lock(IMAGES, "B"):
        IndexedImages("B", warehouse)
    assert warehouse.read(INDEXED_ZIPS, ["B"]) == before
    drop_columns(index, "shared_count")
    with warehouse.lock(IMAGES, "B"):
        IndexedImages("B", warehouse)
    assert warehouse.read(INDEXED_ZIPS, ["B"])["shared_count"].to_pylist() == [0]


def index_from(root: Path, started: Any) -> None:
    warehouse = Warehouse(root)
    started.set()
    image_rows.index_images(COLLECTION, warehouse, rows_per_part=7)
    references.index_references(COLLECTION, warehouse, rows_per_part=7)


@pytest.mark.slow
def test_runs_killed_at_any_moment_lose_nothing_and_double_nothing(zips: ZipWarehouse) -> None:
    """Between the kills zips are added, changed and removed; some objects are in two of them."""
    chance, processes = random.Random(4), forkserver()
    for moment in range(40):
        for _ in range(4):
            uid = f"{FIRST}.{chance.randrange(12)}"
            if chance.random() < 0.3 and zips.manifest.pop(uid, None):
                zips.write_manifest()
                continue
            is_mask = chance.random() < 0.3
            members = {"seg.dcm": mask_object("SEG")} if is_mask else objects(uid)
            zips.add(members if is_mask or chance.random() < 0.9 else objects(FIRST), uid)
        started = processes.Event()
        child = processes.Process(target=index_from, args=(zips.warehouse.root, started))
        with running(child):
            assert started.wait(60)
            child.join(chance.random() * 0.4)
        rows = zips.rows()
        names = [(row["SeriesInstanceUID"], row["entry_name"]) for row in rows]
        assert len(names) == len(set(names))
        assert zips.warehouse.verify().problems == []
        if moment % 8 == 7:
            assert_as_if_never_killed(zips)


def assert_as_if_never_killed(zips: ZipWarehouse) -> None:
    index_all(zips)
    found = {
        table: table_rows(zips, table) for table in (INDEXED_ZIPS, IMAGES, REFERENCES, TARGETS)
    }
    for table in found:
        for folder in ("", ".digests"):
            shutil.rmtree(zips.warehouse.root / "warehouse" / folder / table.name)
    index_all(zips)
    for table, rows in found.items():
        assert sorted(map(repr, rows)) == sorted(map(repr, table_rows(zips, table))), table.name
