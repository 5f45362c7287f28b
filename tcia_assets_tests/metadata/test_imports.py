"""What became of each Series between two imports of a folder, and what leaves it alone."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, IMPORTS, SERIES
from tcia_assets.errors import UsageError
from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.plan import plan_collection
from tcia_assets.images.prune import find_unselected
from tcia_assets.images.status import collection_status
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.imports import check_name, check_series, imported_from, record_import
from tcia_assets.metadata.moves import settle_moves
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets.sources import Source, open_folder
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import BY_COLLECTION, SMALL
from tcia_assets_tests.dicom_folder import write_series

NAME, NOW = "Mine", datetime(2026, 1, 1, tzinfo=UTC)
ALL = Selection(collections=(NAME,))


def import_once(
    folder: Path,
    warehouse: Warehouse,
    at: datetime = NOW,
    *,
    tables: Sequence[Table] = (SERIES,),
    fetch: bool = True,
) -> Counter[str]:
    """Import a folder without Dagster, by default only its Series; return the events of this."""
    before = events_of(warehouse)
    settings = Settings(data_dir=str(warehouse.root))
    with open_folder(settings, folder, NAME) as source:
        counts = source.scan().counts
        record_import(NAME, folder, counts, warehouse, at)
        for table in tables:
            refresh(table, NAME, source, warehouse, at, ProbeBudget(5), accept_schema=True)
        if fetch:
            fetch_images(NAME, FetchSession(ALL, from_folder=True), source, warehouse)
    return events_of(warehouse) - before


def events_of(warehouse: Warehouse) -> Counter[str]:
    rows = warehouse.query("SELECT event, SeriesInstanceUID AS uid FROM series_changes").to_pylist()
    return Counter(f"{row['event']} {row['uid']}" for row in rows)


def zips_of(warehouse: Warehouse) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (warehouse.root / "archives").rglob("*.zip")}


def test_the_history_says_what_was_added_changed_and_is_missing(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    write_series(folder, "1.1"), write_series(folder, "1.2"), write_series(folder, "1.3")
    first = import_once(folder, warehouse, tables=BY_COLLECTION)
    assert first == Counter(f"{what} 1.{n}" for n in "123" for what in ("added", "fetched"))
    zips = zips_of(warehouse)
    # Nothing changed.
    assert not import_once(folder, warehouse, tables=BY_COLLECTION)
    assert zips_of(warehouse) == zips

    shutil.move(folder, tmp_path / "out")
    write_series(folder, "1.1", 3)
    write_series(folder, "1.4")
    at = NOW + timedelta(hours=1)
    # However many are gone: the folder is what the user chose.
    assert import_once(folder, warehouse, at) == Counter(
        ["changed 1.1", "refetched 1.1", "missing 1.2", "missing 1.3", "added 1.4", "fetched 1.4"]
    )
    assert zips_of(warehouse).items() >= {n: zips[n] for n in ("1.2", "1.3")}.items()

    write_series(folder, "1.2")
    assert import_once(folder, warehouse, at + timedelta(hours=1))["reappeared 1.2"] == 1


def test_the_same_bytes_written_anew_are_packed_again_and_no_other_file(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    [path, _] = write_series(tmp_path, "1.1")
    import_once(tmp_path, warehouse)
    zips = zips_of(warehouse)
    content = path.read_bytes().replace(b"Thorax", b"THORAX")
    path.write_bytes(content)
    os.utime(path, (2e9, 2e9))
    assert import_once(tmp_path, warehouse) == Counter(["changed 1.1", "refetched 1.1"])
    assert zips_of(warehouse) != zips


def test_a_corrected_file_is_packed_although_another_is_newer(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    older, newer = write_series(tmp_path, "1.1")
    os.utime(older, (1e9, 1e9)), os.utime(newer, (2e9, 2e9))
    import_once(tmp_path, warehouse)
    content = older.read_bytes()
    older.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # pixels, of the same size
    os.utime(older, (1e9 + 1, 1e9 + 1))
    assert import_once(tmp_path, warehouse) == Counter(["changed 1.1", "refetched 1.1"])
    with ZipFile(warehouse.root / "archives" / NAME / "1.1.zip") as file:
        assert file.read(older.name) == older.read_bytes()


def test_an_import_that_was_killed_goes_on(warehouse: Warehouse, tmp_path: Path) -> None:
    write_series(tmp_path, "1.1"), write_series(tmp_path, "1.2")
    import_once(tmp_path, warehouse, fetch=False)  # killed before the first zip
    assert imported_from(warehouse) == {NAME: str(tmp_path)}
    assert not plan_collection(NAME, ALL, warehouse).now  # no server is asked for them
    [status] = collection_status(warehouse, [NAME], ALL).to_pylist()
    assert (status["complete"], status["bytes_to_fetch"]) == (0, 0)

    again = import_once(tmp_path, warehouse)
    assert again == Counter(["fetched 1.1", "fetched 1.2"])


def test_no_source_lists_it_and_none_is_asked(
    warehouse: Warehouse, tmp_path: Path, source: Source
) -> None:
    write_series(tmp_path / "in", "1.1")
    import_once(tmp_path / "in", warehouse)
    stored = warehouse.read(SERIES, [NAME])
    assert not source.expects(stored)[0].as_py()
    [status] = collection_status(warehouse, [NAME]).to_pylist()
    assert not (status["is_suspect"] or status["is_partial"])
    # What a selection leaves out cannot be fetched again, so it stays.
    unselected = find_unselected(Selection(modalities=("PT",)), warehouse, {})
    assert not unselected.removable and len(unselected.irreplaceable) == 1


def test_a_series_that_an_archive_lists_later_stays_in_the_imported_collection(
    warehouse: Warehouse, tmp_path: Path, source: Source
) -> None:
    """Its zip too, and no zip of the one is taken for that of the other."""
    [(uid, _), *_] = listed = sorted(_listed_contours(source).items())
    folder = tmp_path / "in"
    for each, patient in listed[:2]:
        write_series(folder, each, PatientID=patient)
    import_once(folder, warehouse)
    zips = zips_of(warehouse)

    refresh(SERIES, SMALL, source, warehouse, NOW + timedelta(hours=1), ProbeBudget(5))
    settle_moves(warehouse, NOW + timedelta(hours=1))
    assert _homes(uid, warehouse) == {NAME: None, SMALL: NAME}
    selection = Selection(collections=(SMALL,), modalities=("RTSTRUCT",))
    fetch_images(SMALL, FetchSession(selection), source, warehouse)
    fetched = warehouse.read(IMAGE_ARCHIVES, [SMALL])["SeriesInstanceUID"].to_pylist()
    assert fetched == [each for each, _ in listed[2:]]  # the others are in one Collection only
    assert zips_of(warehouse).items() >= zips.items()
    assert not import_once(folder, warehouse, NOW + timedelta(hours=2))

    # Once the folder lacks it, it belongs to the archive, whose own zip is fetched.
    shutil.rmtree(folder)
    write_series(folder, listed[1][0], PatientID=listed[1][1])
    import_once(folder, warehouse, NOW + timedelta(hours=3))
    settle_moves(warehouse, NOW + timedelta(hours=3))
    assert _homes(uid, warehouse) == {NAME: SMALL, SMALL: None}
    [status] = collection_status(warehouse, [SMALL], selection).to_pylist()
    assert status["complete"] == len(listed) - 2
    fetch_images(SMALL, FetchSession(selection), source, warehouse)
    rows = warehouse.read(IMAGE_ARCHIVES).to_pylist()
    assert {r["Collection"] for r in rows if r["SeriesInstanceUID"] == uid} == {NAME, SMALL}


def _listed_contours(source: Source) -> dict[str, str]:
    rows = source.rows(SERIES, SMALL).table.to_pylist()
    return {r["SeriesInstanceUID"]: r["PatientID"] for r in rows if r["Modality"] == "RTSTRUCT"}


def _homes(uid: str, warehouse: Warehouse) -> dict[str, str | None]:
    rows = warehouse.query(
        "SELECT Collection, moved_to FROM series WHERE SeriesInstanceUID = $uid", {"uid": uid}
    ).to_pylist()
    return {row["Collection"]: row["moved_to"] for row in rows}


def test_a_name_of_the_archive_and_its_series_are_refused(
    series_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(series_root, tmp_path / "data")
    warehouse = Warehouse(tmp_path / "data")
    with pytest.raises(UsageError, match=f"'{SMALL}' is a Collection of the archive"):
        check_name(SMALL, warehouse)
    with pytest.raises(UsageError, match="cannot be a Collection's name"):
        check_name("a|b", warehouse)
    check_name(NAME, warehouse)
    uids = warehouse.read(SERIES, [SMALL])["SeriesInstanceUID"]
    with pytest.raises(
        UsageError, match=f"import a folder without .* in '{SMALL}' already: 10 are, .* and 8 more"
    ):
        check_series(uids, NAME, warehouse)
    check_series(pa.chunked_array([["1.1"]]), NAME, warehouse)


def test_the_row_of_an_import_has_what_the_folder_held(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    write_series(tmp_path / "in", "1.1")
    (tmp_path / "in/readme.txt").write_text("hello")
    import_once(tmp_path / "in", warehouse)
    [row] = warehouse.read(IMPORTS).to_pylist()
    assert (row["files"], row["objects"], row["not_dicom"]) == (3, 2, 1)
    assert row["folder"] == str(tmp_path / "in") and row["imported_at"] == NOW
    check_name(NAME, warehouse)  # it may be imported again
