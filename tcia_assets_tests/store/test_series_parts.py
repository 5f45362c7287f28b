"""A partition that grows by parts costs what is new, and shows each Series once at every moment."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import IMAGES
from tcia_assets.errors import DataError, UsageError
from tcia_assets.store.conform import conform
from tcia_assets.store.partition_files import PartitionFiles
from tcia_assets.store.series_parts import SeriesParts, part_to_fill
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.examples import examples
from tcia_assets_tests.store import child_processes as children
from tcia_assets_tests.store.tables import damage, drop_columns, objects_of

KEY, LIMIT = "NLST", 4


def parts_of(warehouse: Warehouse, limit: int = LIMIT) -> SeriesParts:
    return SeriesParts(warehouse.files(IMAGES, KEY), limit)


def put(warehouse: Warehouse, *series: str, count: int = 2, version: int = 0) -> SeriesParts:
    parts = parts_of(warehouse)
    parts.replace(objects_of(KEY, series, count, version))
    return parts


def counts(warehouse: Warehouse) -> dict[str, int]:
    found = warehouse.query("SELECT SeriesInstanceUID AS uid, count(*) AS n FROM images GROUP BY 1")
    assert warehouse.row_count(IMAGES, KEY) == sum(found["n"].to_pylist())
    return dict(zip(found["uid"].to_pylist(), found["n"].to_pylist(), strict=True))


def test_new_series_fill_the_smallest_file_and_then_a_new_one(warehouse: Warehouse) -> None:
    for uid in "abcde":
        put(warehouse, uid)
    files = warehouse.files(IMAGES, KEY)
    assert files.numbers() == [0, 1, 2]
    assert [files.read(n).num_rows for n in files.numbers()] == [4, 4, 2]
    assert counts(warehouse) == dict.fromkeys("abcde", 2)
    put(warehouse, "c", count=1)
    put(warehouse, "f", "g", count=1)
    assert [files.read(n).num_rows for n in files.numbers()] == [4, 3, 4]
    assert warehouse.read(IMAGES, [KEY]).num_rows == 11
    assert warehouse.keys(IMAGES) == [KEY]


def test_no_large_file_is_written_again_for_a_few_rows(tmp_path: Path) -> None:
    files = PartitionFiles(tmp_path, replace(IMAGES, rows_written_again=3), KEY)
    stored = []
    for uid, count in {"a": 4, "b": 2, "c": 2, "d": 5, "e": 1}.items():
        parts = SeriesParts(files, 10)
        parts.replace(objects_of(KEY, [uid], count))
        stored.append([*parts.row_counts.values()])
    assert stored == [[4], [4, 2], [4, 4], [9, 4], [9, 4, 1]]


@pytest.mark.parametrize("count", [7, 300])
def test_a_partition_has_few_files_more_than_are_half_full(count: int) -> None:
    limit, again, sizes, written = 1000, 20, dict[int, int](), 0
    for _ in range(60_000 // count):
        number = part_to_fill(sizes, count, limit, again)
        sizes[number] = sizes.get(number, 0) + count
        written += sizes[number]
        small = [size for size in sizes.values() if size <= limit // 2]
        assert len(small) <= 40
    assert max(sizes.values()) <= limit
    assert written * count / sum(sizes.values()) < limit / 3 + count, "rows written at a time"


def test_a_series_that_changed_is_replaced_in_its_file_alone(warehouse: Warehouse) -> None:
    for uid in "abcd":
        put(warehouse, uid)
    files = warehouse.files(IMAGES, KEY)
    before = files.path(1).read_bytes()
    assert put(warehouse, "a", count=3, version=1).written().changed
    assert files.path(1).read_bytes() == before
    assert counts(warehouse) == {"a": 3, "b": 2, "c": 2, "d": 2}
    assert not put(warehouse, "a", count=3, version=1).written().changed


def test_rows_of_a_series_that_is_gone_are_removed(warehouse: Warehouse) -> None:
    for uid in "abcd":
        put(warehouse, uid)
    parts_of(warehouse).replace(IMAGES.schema.empty_table(), gone=["c", "d", "not there"])
    assert counts(warehouse) == {"a": 2, "b": 2}
    assert warehouse.files(IMAGES, KEY).numbers() == [0, 1]
    put(warehouse, "e")
    assert warehouse.files(IMAGES, KEY).numbers() == [0, 1]


def test_a_partition_of_one_file_of_any_size_is_the_first(warehouse: Warehouse) -> None:
    warehouse.write(IMAGES, conform(IMAGES, objects_of(KEY, "abcdef", 2)), KEY)
    first = warehouse.path(IMAGES, KEY).read_bytes()
    put(warehouse, "g")
    assert warehouse.path(IMAGES, KEY).read_bytes() == first
    assert counts(warehouse) == dict.fromkeys("abcdefg", 2)


def test_a_large_file_of_an_earlier_version_is_changed_as_any(warehouse: Warehouse) -> None:
    names = [f"{number:03}" for number in range(60)]
    warehouse.write(IMAGES, conform(IMAGES, objects_of(KEY, names, 2)), KEY)
    parts = parts_of(warehouse)
    parts.replace(objects_of(KEY, ["007", "new"], 3, 1), gone=["040"])
    expected = dict.fromkeys(names, 2) | {"007": 3, "new": 3}
    del expected["040"]
    assert counts(warehouse) == expected
    assert warehouse.files(IMAGES, KEY).numbers() == [0, 1]
    assert parts_of(warehouse).locate(["007", "new"]) == {"007": [0], "new": [1]}
    parts.replace(objects_of(KEY, ["007"], 3, 1))
    assert counts(warehouse) == expected
    assert warehouse.verify().problems == []
    warehouse.rewrite(IMAGES, KEY)
    assert counts(warehouse) == expected


def test_a_partition_of_several_files_is_not_replaced_by_one(warehouse: Warehouse) -> None:
    for uid in "abc":
        put(warehouse, uid)
    with pytest.raises(UsageError, match="images of 'NLST' has 1 more files"):
        warehouse.write(IMAGES, conform(IMAGES, objects_of(KEY, "x", 2)), KEY)
    assert counts(warehouse) == dict.fromkeys("abc", 2)


def test_a_copied_file_counts_until_its_series_are_stored_again(warehouse: Warehouse) -> None:
    put(warehouse, "a", "b")
    files = warehouse.files(IMAGES, KEY)
    files.path(3).write_bytes(files.path(0).read_bytes())
    assert counts(warehouse) == {"a": 4, "b": 4}
    assert warehouse.verify().without_digest == 1
    assert parts_of(warehouse).locate("abc") == {"a": [0, 3], "b": [0, 3]}
    put(warehouse, "a", "b")
    assert counts(warehouse) == {"a": 2, "b": 2}


def test_each_file_has_a_digest(warehouse: Warehouse) -> None:
    for uid in "abc":
        put(warehouse, uid)
    verified = warehouse.verify()
    assert (verified.partitions, verified.without_digest, verified.problems) == (2, 0, [])
    files = warehouse.files(IMAGES, KEY)
    body = bytearray(files.path(1).read_bytes())
    body[20] ^= 1
    files.path(1).write_bytes(body)
    assert warehouse.verify().problems[0].startswith(f"{files.path(1)}: it was changed")
    files.path(1).unlink()
    assert warehouse.verify().problems[0].startswith(f"{files.path(1)}: it is gone")


def test_files_of_earlier_columns_are_rewritten_one_by_one(warehouse: Warehouse) -> None:
    for uid in "abc":
        put(warehouse, uid)
    drop_columns(warehouse.files(IMAGES, KEY), "KVP", number=1)
    assert warehouse.outdated() == [(IMAGES, KEY)]
    warehouse.rewrite(IMAGES, KEY)
    assert warehouse.outdated() == []
    assert counts(warehouse) == dict.fromkeys("abc", 2)


@settings(
    max_examples=examples(4),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 10**6))
def test_any_history_leaves_what_was_stored_last(seed: int, tmp_path: Path) -> None:
    # One folder, whose views are made once; an empty one for each example.
    shutil.rmtree(tmp_path / "parts", ignore_errors=True)
    warehouse, chance = Warehouse(tmp_path / "parts"), random.Random(seed)
    expected: dict[str, int] = {}
    for version in range(6):
        names = chance.sample("abcdefghij", chance.randint(0, 4))
        count = chance.randint(1, 5)
        gone = chance.sample("abcdefghij", chance.randint(0, 2))
        rows = objects_of(KEY, names, count, version)
        parts_of(warehouse).replace(rows, gone=set(gone) - set(names))
        expected = {uid: n for uid, n in expected.items() if uid not in gone}
        expected |= dict.fromkeys(names, count)
        assert counts(warehouse) == expected
        files = warehouse.files(IMAGES, KEY)
        where = [
            uid
            for n in files.numbers()
            for uid in set(files.read(n)["SeriesInstanceUID"].to_pylist())
        ]
        assert all(n == 1 for n in Counter(where).values())


def test_readers_find_each_series_once_while_files_are_replaced(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    """Each Series has as many rows as its version says; A to D are there from the start."""
    for uid in "ABCD":
        put(warehouse, uid)
    started, pattern = processes.Event(), f"{warehouse.root}/warehouse/images/*/part-*.parquet"
    writer = processes.Process(
        target=children.replace_series_for_ever, args=(warehouse.root, KEY, LIMIT, started)
    )
    with children.running(writer):
        assert started.wait(30)
        for place in range(10):
            source = "images" if place % 2 else f"read_parquet('{pattern}')"
            assert_each_once(warehouse, source)


def assert_each_once(warehouse: Warehouse, source: str) -> None:
    counted = f"""
        SELECT SeriesInstanceUID AS uid, count(*) AS n, min(InstanceNumber) AS least,
            max(InstanceNumber) AS most FROM {source} GROUP BY 1
    """
    rows = warehouse.query(counted).to_pylist()
    assert {"A", "B", "C", "D"} <= {row["uid"] for row in rows}
    assert [row for row in rows if not row["n"] == row["least"] == row["most"]] == []


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_each_series_once(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    for uid in "ABCD":
        put(warehouse, uid)
    for moment in range(40):
        started = processes.Event()
        writer = processes.Process(
            target=children.replace_series_for_ever, args=(warehouse.root, KEY, LIMIT, started)
        )
        with children.running(writer):
            assert started.wait(30)
            writer.join(moment * 0.004)
        assert_each_once(warehouse, "images")
        assert warehouse.verify().problems == []


@pytest.mark.parametrize("limit", [LIMIT, 1], ids=["in memory", "in batches"])
def test_a_write_does_not_give_damage_a_valid_digest(warehouse: Warehouse, limit: int) -> None:
    put(warehouse, "a", "b", "c", count=2 if limit == LIMIT else 3)
    path = warehouse.files(IMAGES, KEY).path()
    damage(path)
    before = path.read_bytes()
    parts = parts_of(warehouse, limit)

    for rows, gone in [(objects_of(KEY, "a", 1), ""), (IMAGES.schema.empty_table(), "b")]:
        with pytest.raises(DataError, match="it was changed after it was written; delete it and"):
            parts.replace(rows, gone)

    assert path.read_bytes() == before
    assert len(warehouse.verify([KEY]).problems) == 1
