"""The manifest keeps every row, and no run loses the rows of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tcia_assets import catalog
from tcia_assets.images.manifest import (
    ManifestWriter,
    merge_rows,
    read_manifest,
    read_rows,
    replace_unchanged,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.manifests import journals, opened_and_closed, uids
from tcia_assets_tests.images.many import NOW, row
from tcia_assets_tests.images.moves import events
from tcia_assets_tests.images.place import COLLECTION, Place

LONG_AGO = NOW - timedelta(days=1)


def line(uid: str, at: datetime = NOW) -> bytes:
    import json

    return (
        json.dumps(row(uid, fetched_at=at).to_record(), default=datetime.isoformat).encode() + b"\n"
    )


def test_without_a_manifest_there_are_no_rows(warehouse: Warehouse) -> None:
    assert read_manifest(warehouse, COLLECTION).num_rows == 0


def test_a_row_is_in_the_journal_at_once_and_in_the_partition_at_the_end(
    warehouse: Warehouse,
) -> None:
    kept = ManifestWriter(warehouse, COLLECTION)
    kept.add(row("1.2"))
    [journal] = journals(warehouse)

    assert journal.read_bytes() == line("1.2")
    assert uids(warehouse) == []
    kept.close()
    assert uids(warehouse) == ["1.2"]
    assert journals(warehouse) == []


def test_rows_reach_the_partition_during_a_long_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_assets.images.manifest._MIN_MERGE_PAUSE_S", 0.0)
    kept = ManifestWriter(warehouse, COLLECTION)
    kept.add(row("1.2"))

    assert uids(warehouse) == ["1.2"]
    kept.close()


def test_a_run_without_rows_leaves_an_empty_partition(warehouse: Warehouse) -> None:
    opened_and_closed(warehouse)

    assert warehouse.has(catalog.IMAGE_ARCHIVES, COLLECTION)
    assert uids(warehouse) == []


@pytest.mark.parametrize(
    ("first", "then", "stays"), [(LONG_AGO, NOW, "then"), (NOW, LONG_AGO, "first")]
)
def test_the_newer_row_of_a_series_stays(
    warehouse: Warehouse, first: datetime, then: datetime, stays: str
) -> None:
    merge_rows(warehouse, COLLECTION, [row("1.2", fetched_at=first, error="first")])
    merge_rows(warehouse, COLLECTION, [row("1.2", fetched_at=then, error="then")])

    assert read_manifest(warehouse, COLLECTION)["error"].to_pylist() == [stays]


def test_the_rows_of_a_living_run_replace_newer_ones_as_a_clock_may_be_set_back(
    warehouse: Warehouse,
) -> None:
    merge_rows(warehouse, COLLECTION, [row("1.2"), row("1.3")])
    kept = ManifestWriter(warehouse, COLLECTION)
    kept.add(row("1.2", fetched_at=LONG_AGO, error="then"))
    kept.close()

    assert read_manifest(warehouse, COLLECTION)["error"].to_pylist() == [
        "then",
        row("1.3").error,
    ]


def test_only_an_unchanged_row_is_replaced(warehouse: Warehouse) -> None:
    old, new = row("1.2", fetched_at=LONG_AGO), row("1.2")
    merge_rows(warehouse, COLLECTION, [new])

    assert (
        replace_unchanged(warehouse, COLLECTION, [(old, replace(old, error="x")), (None, old)])
        == []
    )
    assert replace_unchanged(warehouse, COLLECTION, [(row("1.3"), row("1.3"))]) == []
    assert read_rows(warehouse, COLLECTION) == [new]
    assert replace_unchanged(warehouse, COLLECTION, [(new, old)]) == [old]
    assert read_rows(warehouse, COLLECTION) == [old]


def test_merging_twice_changes_nothing(warehouse: Warehouse) -> None:
    rows = [row("1.2"), row("1.3", "unavailable")]
    merge_rows(warehouse, COLLECTION, rows)
    path = warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION)
    before, changed_at = path.read_bytes(), path.stat().st_mtime_ns
    merge_rows(warehouse, COLLECTION, reversed(rows))

    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, changed_at)


def test_concurrent_merges_lose_nothing(warehouse: Warehouse) -> None:
    def work(part: int) -> None:
        for number in range(10):
            merge_rows(warehouse, COLLECTION, [row(f"1.{part}.{number}")])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))

    assert uids(warehouse) == [f"1.{part}.{number}" for part in range(3) for number in range(10)]


def test_concurrent_runs_have_a_journal_each_and_lose_nothing(warehouse: Warehouse) -> None:
    one, other = ManifestWriter(warehouse, COLLECTION), ManifestWriter(warehouse, COLLECTION)
    one.add(row("1.2"))
    other.add(row("1.3"))
    assert len(journals(warehouse)) == 2
    opened_and_closed(warehouse)
    assert uids(warehouse) == [], "what living runs have they fold themselves"
    one.close()
    other.close()

    assert uids(warehouse) == ["1.2", "1.3"]
    assert journals(warehouse) == []


def test_each_fetch_of_a_series_is_once_in_the_history(fetched_three: Place) -> None:
    uid, *_ = fetched_three.uids
    fetched_three.fetch(uid)
    assert events(fetched_three, uid) == [(COLLECTION, "added"), (COLLECTION, "fetched")]
    fetched_three.revise(uid)
    fetched_three.refresh()
    fetched_three.fetch(uid)
    fetched_three.fetch(uid)

    recorded = [event for _, event in events(fetched_three, uid)]
    assert recorded == ["added", "fetched", "changed", "refetched"]
