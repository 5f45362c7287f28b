"""Zips on disk are compared with the manifest, and damaged ones are marked."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import SERIES_CHANGES, ZIP_READS
from tcia_assets.images import verify
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.manifest import read_rows
from tcia_assets.images.verify import VerifyResult, find_known_damage, find_strays, verify_zips
from tcia_assets.images.zip_parts import list_parts
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.archives import folder
from tcia_assets.store.conform import replace_column
from tcia_assets_tests.images.many import SERIES, flip, put, row
from tcia_assets_tests.images.moves import GOAL, refresh_all
from tcia_assets_tests.images.place import COLLECTION, Place
from tcia_assets_tests.images.test_zip_check import DAMAGES


def verified(place: Place, **chosen: Any) -> VerifyResult:
    return verify_zips(COLLECTION, place.warehouse, **chosen)


def test_unchanged_zips_leave_the_manifest_as_it_is(fetched: Place) -> None:
    rows = fetched.rows
    done: list[tuple[int, int]] = []
    found = verified(fetched, report=lambda *so_far: done.append(so_far))

    total = sum(row["archive_bytes"] for row in rows.values())
    assert (found.checked, found.checked_bytes, found.damaged) == (SERIES, total, ())
    assert (found.left, find_strays(COLLECTION, fetched.warehouse)) == (0, [])
    assert done[-1] == (total, total) and len(done) == SERIES
    assert fetched.rows == rows


def test_damaged_zips_fail_and_the_next_fetch_replaces_only_them(fetched: Place) -> None:
    before, said = fetched.rows, {}
    for uid, (damage, problem) in zip(fetched.uids[3:], DAMAGES, strict=False):
        damage(fetched.zip(uid))
        said[uid] = problem
    found = {each.series_instance_uid: each for each in verified(fetched).damaged}

    assert found.keys() == said.keys()
    known = {each.series_instance_uid: each for each in find_known_damage(fetched.warehouse)}
    assert known.keys() == said.keys()
    for uid, problem in said.items():
        assert problem in found[uid].problem and found[uid].problem in known[uid].problem
        assert fetched.rows[uid]["status"] == "failed" and problem in fetched.rows[uid]["error"]
    assert {u: r for u, r in fetched.rows.items() if u not in said} == {
        u: r for u, r in before.items() if u not in said
    }
    fetched.sandbox.requests.clear()
    fetched.fetch()
    assert fetched.asked() == sorted(said) and find_known_damage(fetched.warehouse) == []
    fetched.demand_complete()


def test_zips_that_are_back_are_complete_again_as_of_their_fetch(fetched: Place) -> None:
    before = fetched.rows
    aside, short, flipped = (fetched.zip(uid) for uid in fetched.uids[:3])
    contents = {path: path.read_bytes() for path in (aside, short, flipped)}
    aside.unlink()
    os.truncate(short, 100)
    flip(flipped)
    assert len(verified(fetched).damaged) == 3

    for path, content in list(contents.items())[:2]:
        path.write_bytes(content)
    assert verified(fetched, quick=True).restored == 0  # it has read none
    found = verified(fetched)
    assert (found.restored, len(find_known_damage(fetched.warehouse))) == (2, 1)
    flipped.write_bytes(contents[flipped])
    assert verified(fetched).restored == 1
    assert fetched.rows == before
    assert verified(fetched).restored == 0


def test_a_zip_that_moved_with_its_series_is_complete_again(fetched: Place) -> None:
    moved = fetched.uids[0]
    fetched.sandbox.archive.move([moved], to=GOAL)
    refresh_all(fetched)
    with fetched.source() as source:
        chosen = FetchSession(Selection(collections=(GOAL,)))
        fetch_images(GOAL, chosen, source, fetched.warehouse)
    [before] = read_rows(fetched.warehouse, GOAL)
    path = fetched.warehouse.root / str(before.path)
    content = path.read_bytes()
    path.unlink()
    assert len(verify_zips(GOAL, fetched.warehouse, accept_loss=True).damaged) == 1

    path.write_bytes(content)
    assert verify_zips(GOAL, fetched.warehouse).restored == 1
    [row] = read_rows(fetched.warehouse, GOAL)
    assert replace(row, fetched_at=before.fetched_at) == before


def test_a_zip_of_which_the_history_has_no_fetch_is_not_complete_again(fetched: Place) -> None:
    uid, files = fetched.uids[0], fetched.warehouse.files(SERIES_CHANGES, COLLECTION)
    put(fetched, fetched.rows[uid] | {"status": "failed"})
    for number in files.numbers():
        rows = files.read(number)
        of_other_bytes = pc.replace_substring_regex(rows["event_id"], "etched .*", "etched 0")
        files.write(number, replace_column(rows, "event_id", of_other_bytes))

    found = verified(fetched)
    assert (found.damaged, found.restored, fetched.rows[uid]["status"]) == ((), 0, "failed")


@pytest.mark.parametrize("stored", [("failed", 1), ("incomplete", 0)])
def test_only_what_a_check_has_marked_is_complete_again(
    fetched: Place, stored: tuple[str, int]
) -> None:
    uid, (status, attempts) = fetched.uids[0], stored
    put(fetched, fetched.rows[uid] | {"status": status, "attempts": attempts})

    found = verified(fetched)
    assert (found.restored, fetched.rows[uid]["status"]) == (0, status)


def test_a_zip_that_a_deep_check_refuses_is_not_complete_by_its_hash(fetched: Place) -> None:
    uid = fetched.uids[0]
    put(fetched, fetched.rows[uid] | {"image_count": 7})
    verified(fetched, deep=True)

    assert verified(fetched).restored == 0
    assert fetched.rows[uid]["status"] == "failed"


def test_a_deep_check_finds_wrong_counts_in_the_manifest(fetched: Place) -> None:
    uid = fetched.uids[0]
    put(fetched, fetched.rows[uid] | {"image_count": 7})

    assert verified(fetched).damaged == ()
    [damage] = verified(fetched, deep=True).damaged
    assert damage.series_instance_uid == uid and "7" in damage.problem


def test_a_quick_check_compares_names_and_sizes_and_reads_nothing(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, short, flipped, *_ = fetched.uids
    fetched.zip(gone).unlink()
    os.truncate(fetched.zip(short), 100)
    flip(fetched.zip(flipped))
    monkeypatch.setattr(folder, "sha256_of", None)

    found = verified(fetched, quick=True)
    assert {each.series_instance_uid: each.problem[:12] for each in found.damaged} == {
        gone: "its zip is g",
        short: "its zip has ",
    }
    assert found.checked == SERIES
    assert not fetched.warehouse.has(ZIP_READS, COLLECTION)


def test_zips_without_a_row_are_reported(fetched: Place) -> None:
    stray = fetched.folder / "1.2.3.zip"
    stray.write_bytes(fetched.zip(fetched.uids[0]).read_bytes())
    (fetched.folder / "notes.txt").write_text("mine")

    found = verified(fetched)
    assert (find_strays(COLLECTION, fetched.warehouse), found.damaged) == (["1.2.3.zip"], ())
    assert stray.is_file()


def test_a_row_without_a_zip_is_not_checked(fetched: Place) -> None:
    put(fetched, row("1.2.3", "unavailable"))

    found = verified(fetched)
    assert (found.checked, found.damaged) == (SERIES, ())


def test_a_series_fetched_during_the_check_keeps_its_row(fetched: Place) -> None:
    uid = fetched.uids[0]
    flip(fetched.zip(uid))
    newer = fetched.rows[uid] | {"sha256": "0" * 64, "fetched_at": datetime.now(UTC)}
    found = verified(fetched, report=lambda *_: put(fetched, newer))

    assert found.damaged == ()
    assert fetched.rows[uid] == newer


def test_a_damaged_zip_that_was_not_complete_keeps_its_row(fetched: Place) -> None:
    uid = fetched.uids[0]
    put(fetched, fetched.rows[uid] | {"status": "unavailable", "error": "hidden", "attempts": 3})
    before = fetched.rows
    flip(fetched.zip(uid))

    assert [each.series_instance_uid for each in verified(fetched).damaged] == [uid]
    assert fetched.rows == before


def test_a_check_without_time_reads_nothing_and_says_what_is_left(fetched: Place) -> None:
    found = verified(fetched, until=time.monotonic() - 1)

    assert (found.checked, found.left, found.damaged) == (0, SERIES, ())
    assert not fetched.warehouse.has(ZIP_READS, COLLECTION)


def test_what_was_read_is_recorded_also_when_the_check_is_interrupted(fetched: Place) -> None:
    read: list[int] = []

    def interrupt(done: int, _total: int) -> None:
        read.append(done)
        if len(read) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verified(fetched, report=interrupt)
    recorded = fetched.warehouse.read(ZIP_READS, [COLLECTION])["part"].to_pylist()
    assert len(recorded) == 3
    # The next check begins with those that were not read.
    left = [part.part for part in list_parts(fetched.warehouse, [COLLECTION])]
    assert set(left[-3:]) == set(recorded)


def test_damage_is_marked_before_its_part_counts_as_read(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in between reads the part again."""
    uid = fetched.uids[0]
    flip(fetched.zip(uid))

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(verify, "record_reads", killed)
        with pytest.raises(SystemExit):
            verified(fetched)
    assert fetched.rows[uid]["status"] == "failed"
    assert not fetched.warehouse.has(ZIP_READS, COLLECTION)


def test_a_killed_check_keeps_what_it_had_read_before_the_last_minute(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_WRITE_EVERY_S", 0.0)
    seen: list[int] = []

    def look(_done: int, _total: int) -> None:
        seen.append(fetched.warehouse.row_count(ZIP_READS, COLLECTION))

    verified(fetched, report=look)
    assert seen == list(range(1, SERIES + 1))
