"""The data folder, whatever it is like; nothing is written into it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMAGES, SERIES
from tcia_assets.doctor.folder_checks import FolderExamination, stored_keys
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult
from tcia_assets.doctor.steps import look
from tcia_assets.images.journal import Journal
from tcia_assets.settings import Settings
from tcia_assets.store.partitions import LAYOUT
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.disks import read_only, small_disk
from tcia_assets_tests.doctor.conftest import check_of


def settings_of(root: Path) -> Settings:
    return Settings(data_dir=str(root))


def checked(root: Path, name: str) -> StepResult:
    return check_of(FolderExamination(settings_of(root)).steps, name)


def all_of(root: Path) -> dict[str, str]:
    checks = [look(step) for step in FolderExamination(settings_of(root)).steps]
    return {check.name: check.outcome for check in checks}


def state_of(root: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in [root, *root.rglob("*")])


@pytest.fixture
def root(contours_root: Path, tmp_path: Path) -> Path:
    """A data folder with images, whose views are current."""
    shutil.copytree(contours_root, tmp_path / "data")
    Warehouse(tmp_path / "data").ensure_views()
    return tmp_path / "data"


def test_a_whole_data_folder_is_ok_and_stays_as_it_is(root: Path) -> None:
    before = state_of(root)
    assert set(all_of(root).values()) == {OK}
    assert state_of(root) == before
    assert f"layout {LAYOUT}" in checked(root, "data folder").seen
    assert stored_keys(settings_of(root), SERIES) == [SMALL]


def test_a_missing_or_empty_data_folder_is_ok_and_stays_so(tmp_path: Path) -> None:
    missing, empty = tmp_path / "deep" / "data", tmp_path / "empty"
    empty.mkdir()
    for folder in (missing, empty):
        assert set(all_of(folder).values()) == {OK}
    assert "correct TCIA_DATA_DIR" in checked(missing, "data folder").advice
    assert (missing.parent.exists(), list(empty.iterdir())) == (False, [])


def test_a_file_in_its_place_or_a_newer_layout_differs(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        outcomes = all_of(place)
        assert (outcomes["data folder"], outcomes["unindexed zips"]) == (DIFFERS, UNKNOWN)
        assert stored_keys(settings_of(place), SERIES) == []
    (root / "warehouse" / "VERSION").write_text("99\n")
    check = checked(root, "data folder")
    assert (check.outcome, "newer version" in check.seen) == (DIFFERS, True)


def test_folders_of_an_earlier_layout_are_named(root: Path) -> None:
    new = root / "warehouse" / "series" / SMALL
    new.rename(new.with_name(f"Collection={SMALL}"))
    check = checked(root, "data folder")
    assert (check.outcome, "1 folders of an earlier layout" in check.seen) == (OK, True)
    assert "migrate" in check.advice


def test_locks_that_are_held_are_named(root: Path) -> None:
    with Warehouse(root).lock(SERIES, SMALL):
        check = checked(root, "locks")
    assert (check.outcome, check.seen) == (OK, f"held now: series/{SMALL}")
    assert checked(root, "locks").seen == "none is held"


def test_what_killed_runs_left_differs(root: Path) -> None:
    folder = root / "archives" / SMALL
    (folder / ".1.2.zip.draft").write_bytes(b"PK")
    (root / "warehouse" / "series" / ".part-0.parquet.ab.draft").write_bytes(b"PAR1")
    check = checked(root, "leftovers")
    assert (check.outcome, check.seen) == (
        DIFFERS,
        "1 unfinished zip; 1 unfinished file of tables",
    )
    (folder / ".runs" / "ab.journal").write_text("")
    assert checked(root, "leftovers").seen.startswith(f"journals of killed runs in {SMALL}; ")


def test_what_a_living_run_is_writing_is_no_leftover(root: Path) -> None:
    folder = root / "archives" / SMALL
    journal = Journal(folder)
    (folder / ".1.2.zip.draft").write_bytes(b"PK")
    try:
        assert checked(root, "leftovers").outcome == OK
    finally:
        journal.close()


def test_refused_zips_are_told_and_are_no_difference(root: Path) -> None:
    refused = root / "quarantine" / SMALL / "1.2.zip"
    refused.parent.mkdir(parents=True)
    refused.write_bytes(b"PK")
    assert checked(root, "leftovers") == StepResult(
        "leftovers", OK, "1 refused zip in quarantine", "a file beside each has the reason"
    )


def test_unindexed_zips_differ(root: Path) -> None:
    Warehouse(root).path(IMAGES, SMALL).unlink()
    check = checked(root, "unindexed zips")
    assert (check.outcome, check.seen) == (DIFFERS, f"5 in {SMALL}")
    assert "tcia-assets fetch" in check.advice


def test_unindexed_zips_are_unknown_where_views_would_have_to_be_written(root: Path) -> None:
    (root / "warehouse.duckdb").unlink()
    assert checked(root, "unindexed zips").outcome == OK  # through views in memory
    shutil.rmtree(root / "warehouse" / "series_changes")
    check = checked(root, "unindexed zips")
    assert (check.outcome, "tcia-assets status" in check.advice) == (UNKNOWN, True)
    assert not (root / "warehouse.duckdb").exists()
    assert Warehouse(root).has(IMAGE_ARCHIVES, SMALL)


@pytest.mark.parametrize(("home", "outcome"), [("relative", DIFFERS), ("/no/such", DIFFERS)])
def test_a_dagster_home_that_is_no_folder_differs(
    home: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", home)
    assert checked(tmp_path, "dagster home").outcome == outcome
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert checked(tmp_path, "dagster home") == StepResult("dagster home", OK, str(tmp_path))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def test_a_disk_that_is_nearly_full_or_read_only_differs(disk: Path) -> None:
    (disk / "data" / "warehouse").mkdir(parents=True)
    check = checked(disk / "data", "disk")
    assert (check.outcome, "make room" in check.advice) == (DIFFERS, True)
    assert checked(disk / "data", "permissions").outcome == OK
    with read_only(disk):
        for place in (disk / "data", disk / "missing"):
            check = checked(place, "permissions")
            assert (check.outcome, str(disk) in check.seen) == (DIFFERS, True)
    assert checked(disk, "temporary folder").outcome in {OK, DIFFERS}
