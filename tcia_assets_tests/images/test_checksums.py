"""`SHA256SUMS` is what the manifest says, and what other programs read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES
from tcia_assets.images.checksums import is_written, removing_lines, write_checksums
from tcia_assets.images.manifest import remove_series
from tcia_assets_tests.images.many import SERIES, flip, put, row
from tcia_assets_tests.images.place import COLLECTION, Place

RCLONE = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def sums(place: Place) -> Path:
    return place.folder / "SHA256SUMS"


def test_a_fetch_lists_each_zip_with_its_hash(fetched: Place) -> None:
    lines = sums(fetched).read_text().splitlines()

    assert lines == [f"{fetched.rows[uid]['sha256']}  {uid}.zip" for uid in fetched.uids]


def test_sha256sum_accepts_it_and_finds_a_flipped_bit(fetched: Place) -> None:
    check = ("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
    assert run(fetched.folder, *check).returncode == 0
    flip(fetched.zip(fetched.uids[3]))
    found = run(fetched.folder, *check)

    assert found.returncode == 1
    assert f"{fetched.uids[3]}.zip: FAILED" in found.stdout


@pytest.mark.skipif(not RCLONE, reason="rclone is not installed")
@pytest.mark.parametrize(
    "check",
    [
        ("check", "--checkfile", "sha256", "SHA256SUMS", ".", "--one-way"),
        ("checksum", "sha256", "SHA256SUMS", ".", "--one-way"),
        ("hashsum", "sha256", ".", "--checkfile", "SHA256SUMS", "--include", "*.zip"),
    ],
    ids=lambda words: words[0],
)
def test_rclone_accepts_it_and_finds_a_flipped_bit(fetched: Place, check: tuple[str, ...]) -> None:
    assert RCLONE
    intact = run(fetched.folder, RCLONE, *check)
    assert intact.returncode == 0, intact.stderr
    assert f"{SERIES} matching files" in intact.stderr
    flip(fetched.zip(fetched.uids[3]))
    found = run(fetched.folder, RCLONE, *check)

    assert found.returncode != 0 and f"{fetched.uids[3]}.zip" in found.stdout + found.stderr


def test_an_equal_file_stays_and_a_lost_one_comes_back(fetched: Place) -> None:
    before = sums(fetched).stat()
    assert not write_checksums(COLLECTION, fetched.warehouse)
    assert sums(fetched).stat().st_mtime_ns == before.st_mtime_ns
    text = sums(fetched).read_bytes()
    sums(fetched).unlink()

    assert write_checksums(COLLECTION, fetched.warehouse)
    assert sums(fetched).read_bytes() == text


def test_a_series_without_a_zip_has_no_line(fetched: Place) -> None:
    before = sums(fetched).read_bytes()
    put(fetched, row("1.2.3", "unavailable"))

    assert not write_checksums(COLLECTION, fetched.warehouse)
    assert sums(fetched).read_bytes() == before


def test_without_zips_there_is_no_file(mirror: Place) -> None:
    assert not write_checksums(COLLECTION, mirror.warehouse)
    assert not sums(mirror).exists()


def test_the_lines_of_some_series_alone_are_replaced_as_if_all_were_made(fetched: Place) -> None:
    rows, uids = fetched.rows, fetched.uids
    fetched.warehouse.path(IMAGE_ARCHIVES, COLLECTION).unlink()
    sums(fetched).unlink()
    # In no order, so that lines come before, between and after those that are there.
    for count, uid in enumerate([uids[place] for place in (3, 0, 5, 2)], start=1):
        put(fetched, rows[uid])
        assert write_checksums(COLLECTION, fetched.warehouse, [uid])
        text = sums(fetched).read_text()
        assert text.count("\n") == count and f"  {uid}.zip\n" in text
        assert not write_checksums(COLLECTION, fetched.warehouse)
    put(fetched, rows[uids[2]] | {"sha256": "0" * 64}, row("1.2.3", "unavailable"))

    assert write_checksums(COLLECTION, fetched.warehouse, [uids[2], "1.2.3", "not there"])
    assert f"{'0' * 64}  {uids[2]}.zip\n" in sums(fetched).read_text()
    assert not write_checksums(COLLECTION, fetched.warehouse)
    fetched.zip(uids[4]).unlink()
    fetched.fetch(uids[4])
    assert sums(fetched).read_text().count("\n") == 5
    assert not write_checksums(COLLECTION, fetched.warehouse)


def test_an_edited_file_is_made_anew(fetched: Place) -> None:
    whole = sums(fetched).read_text()
    sums(fetched).write_text(whole.replace(whole[:8], "0" * 8))
    assert write_checksums(COLLECTION, fetched.warehouse, [])
    assert sums(fetched).read_text() == whole
    sums(fetched).write_text("".join(whole.splitlines(keepends=True)[1:]))
    fetched.fetch()
    assert sums(fetched).read_text() == whole


def test_a_removal_that_is_killed_leaves_no_line_for_good(fetched: Place) -> None:
    lines = sums(fetched).read_text().splitlines(keepends=True)
    with removing_lines(COLLECTION, fetched.warehouse):
        remove_series(fetched.warehouse, COLLECTION, fetched.uids[:2])
    assert not is_written(COLLECTION, fetched.warehouse)

    assert write_checksums(COLLECTION, fetched.warehouse, fetched.uids[3:4])
    assert sums(fetched).read_text() == "".join(lines[2:])
    assert is_written(COLLECTION, fetched.warehouse)


def test_a_file_that_is_torn_is_made_anew(fetched: Place) -> None:
    whole = sums(fetched).read_text()
    sums(fetched).write_text(whole[:-10])

    assert write_checksums(COLLECTION, fetched.warehouse, fetched.uids[:1])
    assert sums(fetched).read_text() == whole
