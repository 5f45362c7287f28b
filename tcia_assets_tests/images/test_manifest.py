"""The manifest: a row is kept as soon as it is there, and no run loses another's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tcia_assets import catalog
from tcia_assets.errors import Busy, DataError, StorageError
from tcia_assets.images.manifest import Manifest, amend, fold, read
from tcia_assets.images.places import claimed, draft_of, remove_drafts
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.children import CLAIM, FETCH, child, go_on
from tcia_assets_tests.images.many import NOW, place_at, row, twelve
from tcia_assets_tests.images.place import COLLECTION, FOLDER, Place

LONG_AGO = NOW - timedelta(days=1)


def folder(warehouse: Warehouse) -> Path:
    return warehouse.root / "archives" / FOLDER


def journals(warehouse: Warehouse) -> list[Path]:
    return list(folder(warehouse).glob(".*.journal"))


def uids(warehouse: Warehouse) -> list[str]:
    return read(warehouse, COLLECTION)["SeriesInstanceUID"].to_pylist()


def opened_and_closed(warehouse: Warehouse) -> None:
    Manifest(warehouse, COLLECTION).close()


def died(warehouse: Warehouse, text: bytes) -> Path:
    """What a run leaves that is gone."""
    path = folder(warehouse) / ".0123456789abcdef.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path


def line(uid: str, at: datetime = NOW) -> bytes:
    import json

    return json.dumps(row(uid, fetched_at=at), default=datetime.isoformat).encode() + b"\n"


# --- Rows -----------------------------------------------------------------------------------------


def test_without_a_manifest_there_are_no_rows(warehouse: Warehouse) -> None:
    assert read(warehouse, COLLECTION).num_rows == 0


def test_a_row_is_on_disk_at_once_and_in_the_partition_in_the_end(warehouse: Warehouse) -> None:
    kept = Manifest(warehouse, COLLECTION)
    kept.put(row("1.2"))
    [journal] = journals(warehouse)

    assert journal.read_bytes() == line("1.2")
    assert uids(warehouse) == []
    kept.close()
    assert uids(warehouse) == ["1.2"]
    assert journals(warehouse) == []


def test_rows_reach_the_partition_while_a_long_run_lasts(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_assets.images.manifest._FOLD_EVERY_S", 0.0)
    kept = Manifest(warehouse, COLLECTION)
    kept.put(row("1.2"))

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
    fold(warehouse, COLLECTION, [row("1.2", fetched_at=first, error="first")])
    fold(warehouse, COLLECTION, [row("1.2", fetched_at=then, error="then")])

    assert read(warehouse, COLLECTION)["error"].to_pylist() == [stays]


def test_what_a_living_run_has_fetched_stays_also_when_the_clock_went_back(
    warehouse: Warehouse,
) -> None:
    fold(warehouse, COLLECTION, [row("1.2"), row("1.3")])
    kept = Manifest(warehouse, COLLECTION)
    kept.put(row("1.2", fetched_at=LONG_AGO, error="then"))
    kept.close()

    assert read(warehouse, COLLECTION)["error"].to_pylist() == ["then", row("1.3")["error"]]


def test_a_row_is_amended_only_where_it_is_the_one_that_was_read(warehouse: Warehouse) -> None:
    old, new = row("1.2", fetched_at=LONG_AGO), row("1.2")
    fold(warehouse, COLLECTION, [new])

    assert amend(warehouse, COLLECTION, [(old, old | {"error": "x"}), (None, old)]) == []
    assert amend(warehouse, COLLECTION, [(row("1.3"), row("1.3"))]) == []
    assert read(warehouse, COLLECTION).to_pylist() == [new]
    assert amend(warehouse, COLLECTION, [(new, old)]) == [old]
    assert read(warehouse, COLLECTION).to_pylist() == [old]


def test_folding_twice_changes_nothing(warehouse: Warehouse) -> None:
    rows = [row("1.2"), row("1.3", "unavailable")]
    fold(warehouse, COLLECTION, rows)
    path = warehouse.path(catalog.IMAGE_ARCHIVES, COLLECTION)
    before, changed_at = path.read_bytes(), path.stat().st_mtime_ns
    fold(warehouse, COLLECTION, reversed(rows))

    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, changed_at)


def test_folds_at_once_lose_nothing(warehouse: Warehouse) -> None:
    def work(part: int) -> None:
        for number in range(10):
            fold(warehouse, COLLECTION, [row(f"1.{part}.{number}")])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))

    assert uids(warehouse) == [f"1.{part}.{number}" for part in range(3) for number in range(10)]


def test_runs_at_once_have_each_a_journal_and_lose_nothing(warehouse: Warehouse) -> None:
    one, other = Manifest(warehouse, COLLECTION), Manifest(warehouse, COLLECTION)
    one.put(row("1.2"))
    other.put(row("1.3"))
    assert len(journals(warehouse)) == 2
    opened_and_closed(warehouse)
    assert uids(warehouse) == [], "what living runs have they fold themselves"
    one.close()
    other.close()

    assert uids(warehouse) == ["1.2", "1.3"]
    assert journals(warehouse) == []


# --- Runs that die --------------------------------------------------------------------------------


def test_a_dead_runs_rows_are_folded_by_the_next(warehouse: Warehouse) -> None:
    journal = died(warehouse, line("1.2") + line("1.3"))
    kept = Manifest(warehouse, COLLECTION)

    assert sorted(kept.known(["1.1", "1.2", "1.3", "1.4"])) == ["1.2", "1.3"]
    assert not journal.exists()
    kept.close()
    assert read(warehouse, COLLECTION).to_pylist() == [row("1.2"), row("1.3")]


def test_a_row_that_was_half_written_is_dropped_and_the_others_stay(warehouse: Warehouse) -> None:
    for cut in (1, 20, len(line("1.3")) - 1):
        died(warehouse, line("1.2") + line("1.3")[:cut])
        opened_and_closed(warehouse)

        assert uids(warehouse) == ["1.2"]
        assert journals(warehouse) == []


@pytest.mark.parametrize(
    "foreign",
    [
        b"not ours\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b"{}\n",
        b'{"fetched_at": "2026-01-02T00:00:00+00:00"}\n',
        b'{"SeriesInstanceUID": "1.2", "fetched_at": "yesterday"}\n',
    ],
)
def test_a_line_that_is_no_row_is_named_and_nothing_is_lost(
    warehouse: Warehouse, foreign: bytes
) -> None:
    journal = died(warehouse, line("1.2") + foreign + line("1.3"))
    with pytest.raises(DataError, match="is no row; move it away") as refused:
        Manifest(warehouse, COLLECTION)

    assert str(journal) in str(refused.value)
    assert journal.read_bytes() == line("1.2") + foreign + line("1.3")


def test_a_row_for_which_there_was_no_room_spoils_no_later_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Manifest(warehouse, COLLECTION)
    write = os.write
    monkeypatch.setattr(os, "write", lambda place, text: write(place, text[:30]))
    with pytest.raises(StorageError, match="the disk is full"):
        kept.put(row("1.2"))
    monkeypatch.setattr(os, "write", write)
    kept.put(row("1.3"))
    [journal] = journals(warehouse)

    assert journal.read_bytes() == line("1.3")
    kept.close()


def test_a_journal_taken_for_a_dead_runs_before_it_was_locked_is_made_anew(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, stolen = __import__("fcntl").flock, []

    def flock(place: Any, kind: int) -> None:
        if not stolen:
            [journal] = journals(warehouse)
            stolen.append(journal)
            journal.unlink()
        lock(place, kind)

    monkeypatch.setattr("tcia_assets.images.manifest.fcntl.flock", flock)
    kept = Manifest(warehouse, COLLECTION)
    kept.put(row("1.2"))

    assert stolen and [path.read_bytes() for path in journals(warehouse)] == [line("1.2")]
    kept.close()


@pytest.fixture(scope="module")
def twelve_served() -> Iterator[Sandbox]:
    with twelve() as sandbox:
        yield sandbox


@pytest.fixture
def place(twelve_served: Sandbox, tmp_path: Path) -> Place:
    return place_at(twelve_served, tmp_path)


def test_a_fetch_killed_after_nine_of_ten_series_has_nine_rows(place: Place) -> None:
    url, root = place.settings.base_url, place.data_dir
    with child(FETCH, url, root, COLLECTION, 10, 0, 1, 9) as process:
        go_on(process)
        assert process.wait(60) == -signal.SIGKILL
    assert len(journals(place.warehouse)) == 1
    opened_and_closed(place.warehouse)
    nine = place.rows

    assert len(nine) == 9
    assert {row["status"] for row in nine.values()} == {"complete"}
    place.fetch()
    place.demand_complete()
    asked = place.asked()
    assert [uid for uid in nine if asked.count(uid) > 1] == []
    assert all(place.rows[uid] == nine[uid] for uid in nine)


# --- Claims ---------------------------------------------------------------------------------------


def test_what_another_process_works_on_is_busy_until_it_ends_however_it_does(
    tmp_path: Path,
) -> None:
    path = tmp_path / "1.2.3.zip"
    with child(CLAIM, path) as process:
        draft_of(path).write_bytes(b"half of it")
        with pytest.raises(Busy, match=r"1\.2\.3\.zip"), claimed(path):
            pass
        remove_drafts(tmp_path)
        assert draft_of(path).exists(), "its process lives"
        process.kill()
        process.wait(10)
    with claimed(path):
        pass

    remove_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_threads_has_a_claim(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "1.2.3.zip", [0], [0]

    def work(_: int) -> int:
        try:
            with claimed(path):
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
