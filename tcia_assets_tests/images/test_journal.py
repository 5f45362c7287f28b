"""The journal of a killed run is merged by the next run."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.errors import DataError, StorageError
from tcia_assets.images.journal import Journal, has_dead_journal, has_living_journal
from tcia_assets.images.manifest import (
    ManifestWriter,
    read_rows,
    read_rows_of,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.children import FETCH, child, go_on
from tcia_assets_tests.images.manifests import folder, journals, opened_and_closed, uids
from tcia_assets_tests.images.many import NOW, row
from tcia_assets_tests.images.place import COLLECTION, Place


def died(warehouse: Warehouse, text: bytes) -> Path:
    """What a run leaves that is gone."""
    path = folder(warehouse) / ".runs" / "0123456789abcdef.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path


def line(uid: str, at: datetime = NOW) -> bytes:
    import json

    return (
        json.dumps(row(uid, fetched_at=at).to_record(), default=datetime.isoformat).encode() + b"\n"
    )


def test_the_journal_of_an_earlier_version_is_merged(warehouse: Warehouse) -> None:
    beside_zips = folder(warehouse) / ".0123456789abcdef.journal"
    beside_zips.parent.mkdir(parents=True)
    beside_zips.write_bytes(line("1.2"))
    assert has_dead_journal(folder(warehouse))
    opened_and_closed(warehouse)

    assert uids(warehouse) == ["1.2"]
    assert not beside_zips.exists()


def test_the_rows_of_a_killed_run_are_merged_by_the_next_run(warehouse: Warehouse) -> None:
    journal = died(warehouse, line("1.2") + line("1.3"))
    kept = ManifestWriter(warehouse, COLLECTION)

    asked = pa.chunked_array([["1.1", "1.2", "1.3", "1.4"]])
    assert sorted(read_rows_of(warehouse, COLLECTION, asked)) == ["1.2", "1.3"]
    assert not journal.exists()
    kept.close()
    assert read_rows(warehouse, COLLECTION) == [row("1.2"), row("1.3")]


def test_an_incomplete_last_line_is_dropped_and_the_others_stay(warehouse: Warehouse) -> None:
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
def test_a_line_that_is_not_a_row_is_an_error_and_nothing_is_lost(
    warehouse: Warehouse, foreign: bytes
) -> None:
    journal = died(warehouse, line("1.2") + foreign + line("1.3"))
    with pytest.raises(DataError, match="is not a row; move the file away") as refused:
        ManifestWriter(warehouse, COLLECTION)

    assert str(journal) in str(refused.value)
    assert journal.read_bytes() == line("1.2") + foreign + line("1.3")


def test_a_row_that_did_not_fit_on_the_disk_leaves_no_partial_line(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ManifestWriter(warehouse, COLLECTION)
    write = os.write
    monkeypatch.setattr(os, "write", lambda place, text: write(place, text[:30]))
    with pytest.raises(StorageError, match="the disk is full"):
        kept.add(row("1.2"))
    monkeypatch.setattr(os, "write", write)
    kept.add(row("1.3"))
    [journal] = journals(warehouse)

    assert journal.read_bytes() == line("1.3")
    kept.close()


def test_a_journal_removed_before_it_was_locked_is_created_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, stolen = __import__("fcntl").flock, []

    def flock(place: Any, kind: int) -> None:
        if not stolen:
            [journal] = journals(warehouse)
            stolen.append(journal)
            journal.unlink()
        lock(place, kind)

    monkeypatch.setattr("tcia_assets.store.locks.fcntl.flock", flock)
    kept = ManifestWriter(warehouse, COLLECTION)
    kept.add(row("1.2"))

    assert stolen and [path.read_bytes() for path in journals(warehouse)] == [line("1.2")]
    kept.close()


@pytest.mark.slow
def test_a_fetch_killed_after_nine_of_ten_series_has_nine_rows(mirror: Place) -> None:
    url, root = mirror.settings.base_url, mirror.data_dir
    with child(FETCH, url, root, COLLECTION, 10, 0, 1, 9) as process:
        go_on(process)
        assert process.wait(60) == -signal.SIGKILL
    assert len(journals(mirror.warehouse)) == 1
    opened_and_closed(mirror.warehouse)
    nine = mirror.rows

    assert len(nine) == 9
    assert {row["status"] for row in nine.values()} == {"complete"}
    mirror.fetch()
    mirror.demand_complete()
    asked = mirror.asked()
    assert [uid for uid in nine if asked.count(uid) > 1] == []
    assert all(mirror.rows[uid] == nine[uid] for uid in nine)


def test_a_journal_is_living_or_dead(tmp_path: Path) -> None:
    assert (has_living_journal(tmp_path), has_dead_journal(tmp_path)) == (False, False)
    journal = Journal(tmp_path)
    assert (has_living_journal(tmp_path), has_dead_journal(tmp_path)) == (True, False)
    journal.close()
    assert (has_living_journal(tmp_path), has_dead_journal(tmp_path)) == (False, True)
