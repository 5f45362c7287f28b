"""Zips on disk are compared with the manifest, and damaged ones are marked."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.images import verify
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.verify import VerifyResult, verify_zips
from tcia_assets.store.archives import folder
from tcia_assets_tests.images.many import SERIES, flip, put, row
from tcia_assets_tests.images.place import COLLECTION, Place


def verified(place: Place, **chosen: Any) -> VerifyResult:
    return verify_zips(COLLECTION, place.warehouse, **chosen)


def test_unchanged_zips_leave_the_manifest_as_it_is(fetched: Place) -> None:
    rows = fetched.rows
    done: list[tuple[int, int]] = []
    found = verified(fetched, report=lambda *so_far: done.append(so_far))

    assert (found.checked, found.damaged, found.strays) == (SERIES, (), ())
    assert found.checked_bytes == sum(row["archive_bytes"] for row in rows.values())
    assert done == [(n, SERIES) for n in range(1, SERIES + 1)]
    assert fetched.rows == rows


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "its zip has changed since it was verified: its SHA-256 differs"),
        (Path.unlink, "its zip is gone"),
        (lambda path: path.write_bytes(path.read_bytes() + b"."), "bytes where"),
        (lambda path: path.write_bytes(b""), "its zip has 0 bytes where"),
    ],
)
def test_a_damaged_zip_fails_and_the_next_fetch_replaces_only_it(
    fetched: Place, damage: Callable[[Path], object], said: str, *, deep: bool
) -> None:
    uid, before = fetched.uids[3], fetched.rows
    damage(fetched.zip(uid))
    [found] = verified(fetched, deep=deep).damaged

    assert found.series_instance_uid == uid and said in found.problem
    assert fetched.rows[uid]["status"] == "failed" and said in fetched.rows[uid]["error"]
    assert {u: r for u, r in fetched.rows.items() if u != uid} == {
        u: r for u, r in before.items() if u != uid
    }
    fetched.sandbox.requests.clear()
    fetched.fetch()
    assert fetched.asked() == [uid]
    fetched.demand_complete()


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


def test_zips_without_a_row_are_reported(fetched: Place) -> None:
    stray = fetched.folder / "1.2.3.zip"
    stray.write_bytes(fetched.zip(fetched.uids[0]).read_bytes())
    (fetched.folder / "notes.txt").write_text("mine")

    found = verified(fetched)
    assert (found.strays, found.damaged) == (("1.2.3.zip",), ())
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


def test_a_zip_that_the_disk_refuses_is_a_damaged_zip(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder, "sha256_of", refuses)
    problems = {each.problem for each in verified(fetched).damaged}
    assert problems == {"its zip cannot be read: Permission denied"}


class _Day(datetime):
    """A day to be had again."""

    day_of_month = 3

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 3, cls.day_of_month, 12, tzinfo=tz or UTC)


def test_a_sample_is_the_same_all_day_and_covers_all_zips_in_time(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = verify._problem

    def noted(row: ManifestRow, root: Path, *, deep: bool) -> str:
        looked.append(row.series_instance_uid)
        return str(look(row, root, deep=deep))

    monkeypatch.setattr(verify, "_problem", noted)
    monkeypatch.setattr(verify, "datetime", _Day)
    days = []
    for day in range(1, 29):
        monkeypatch.setattr(_Day, "day_of_month", day)
        looked.clear()
        verified(fetched, sample=3)
        days.append(sorted(looked))
        looked.clear()
        assert verified(fetched, sample=3).checked == 3
        assert sorted(looked) == days[-1]

    assert all(len(day) == 3 for day in days)
    assert days[0] != days[1]
    assert sorted({uid for day in days for uid in day}) == fetched.uids


def test_a_sample_of_more_zips_than_there_are_is_all_of_them(fetched: Place) -> None:
    assert verified(fetched, sample=100).checked == SERIES
