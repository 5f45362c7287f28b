"""The database of an index release: each Series is read once, and a query sees all of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.sources.idc.index_database import (
    ALL,
    LOADED,
    MANY_SERIES,
    ONE_SERIES,
    IndexDatabase,
)
from tcia_assets_tests.sources.idc.index_files import RELEASE, collection, series, write_index

NAMES = ("C-0", "C-1", "C-2")


def opened(tmp_path: Path) -> IndexDatabase:
    given = [series(n, collection_id=f"c_{n % 3}") for n in range(9)]
    collections = [collection(name) for name in NAMES]
    folder = write_index(tmp_path / "index", given, collections=collections)
    return IndexDatabase(folder, tmp_path, is_whole=False, place=folder, release=RELEASE)


def count(database: IndexDatabase, relation: str) -> int:
    found: int = database.query(f"SELECT count(*) AS n FROM {relation}")["n"][0].as_py()
    return found


def test_a_collection_is_loaded_alone_and_once(tmp_path: Path) -> None:
    database = opened(tmp_path)
    for _ in range(2):
        database.load_collection("C-1")
    assert (count(database, LOADED), count(database, ALL), database.is_loaded) == (3, 9, False)
    database.close()


def test_all_series_are_loaded_once_reading_the_files_has_cost_as_much(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.load_collection("C-0")
    while not database.is_loaded:
        before = count(database, LOADED)
        database.load_all_if_due(ONE_SERIES)
    # What had been loaded alone is there once.
    assert (before, count(database, LOADED), count(database, ALL)) == (3, 9, 9)
    # The files are not read any more: a database over them would not find their Series.
    (tmp_path / "index" / "idc_index.parquet").unlink()
    database.load_collection("C-2")
    assert count(database, ALL) == 9
    database.close()


def test_all_series_are_loaded_after_a_load_that_failed(tmp_path: Path) -> None:
    database = opened(tmp_path)
    path = tmp_path / "index" / "idc_index.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(1000) + content[1060:])  # in its pages, not its footer
    for _ in range(2):
        database.load_all_if_due(MANY_SERIES)  # not due yet
    for _ in range(2):
        with pytest.raises(UsageError, match=r"release 25\.0\.5 .* cannot be used"):
            database.load_all_if_due(MANY_SERIES)
    path.write_bytes(content)
    database.load_all_if_due(MANY_SERIES)
    assert database.is_loaded and count(database, ALL) == 9
    database.close()


def test_queries_that_belong_together_are_of_one_database(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.load_collection("C-1")
    with database.reading() as query:
        before = query(f"SELECT SeriesInstanceUID FROM {LOADED}", None)
        while not database.is_loaded:
            database.load_all_if_due(MANY_SERIES)
        assert query(f"SELECT SeriesInstanceUID FROM {LOADED}", None) == before
    assert (len(before), count(database, LOADED)) == (3, 9)
    database.close()


def test_a_query_that_runs_while_all_series_are_loaded_ends(tmp_path: Path) -> None:
    database = opened(tmp_path)
    is_over = threading.Event()

    def ask() -> set[int]:
        found = set()
        while not is_over.is_set():
            found.add(count(database, ALL))
        return found

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(3):
                database.load_all_if_due(MANY_SERIES)
        finally:
            is_over.set()
        assert [each.result() for each in asked] == [{9}, {9}]
    assert database.is_loaded
    database.close()
