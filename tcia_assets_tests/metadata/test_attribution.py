"""The attribution of the images on disk is up to date next to the zips."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, IMAGE_ARCHIVES, SERIES
from tcia_assets.errors import StorageError
from tcia_assets.metadata.attribution import (
    attribution_table,
    render_files,
    write_collection,
    write_files,
)
from tcia_assets.metadata.citations import SCHEMA
from tcia_assets.store.archives.folder import FolderArchives
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.metadata.attribution_files import (
    BY3,
    BY3_URI,
    DOI,
    FULL,
    NC4,
    cells,
    table,
)

NAMES = ("LICENSES.md", "CITATION.cff", "CITATIONS.bib")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def stored(warehouse: Warehouse, collection: str, rows: list[dict[str, Any]]) -> None:
    """Series and their manifest; a row without `path` has no zip."""
    life = {"first_seen_at": NOW, "changed_at": NOW, "missing_snapshots": 0}
    listed = [row | life for row in rows if not row.get("gone")]
    for each, chosen in (
        (SERIES, listed),
        (IMAGE_ARCHIVES, [row | {"status": "complete"} for row in rows]),
    ):
        given = [{k: v for k, v in row.items() if k in each.column_names} for row in chosen]
        full = [
            dict.fromkeys(each.column_names) | row | {"Collection": collection} for row in given
        ]
        warehouse.write(each, conform(each, pa.Table.from_pylist(full, each.schema)), collection)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    by = {"LicenseName": BY3, "LicenseURI": BY3_URI, "DataDescriptionURI": f"https://doi.org/{DOI}"}
    rows = [
        {"SeriesInstanceUID": "1.1", "path": "a", "archive_bytes": 10, **by},
        {"SeriesInstanceUID": "1.2", "path": "b", "archive_bytes": 20, **by},
        {"SeriesInstanceUID": "1.3", "path": "c", "archive_bytes": 5, "license_name": BY3},
        {"SeriesInstanceUID": "1.4", **by, "LicenseName": NC4},
        {"SeriesInstanceUID": "1.5", "path": "d", "license_name": NC4, "gone": True},
    ]
    stored(warehouse, "CT Lymph Nodes", rows)
    stored(warehouse, "4711", [{"SeriesInstanceUID": "2.1", "path": "e", "archive_bytes": 1, **by}])
    return warehouse


def test_the_table_has_the_licences_of_the_zips_as_the_source_states_them_now(
    warehouse: Warehouse,
) -> None:
    doi = f"https://doi.org/{DOI}"
    rows = attribution_table(warehouse, "CT Lymph Nodes")
    assert rows.schema == SCHEMA
    assert sorted(rows.to_pylist(), key=str) == sorted(
        table(
            ("CT Lymph Nodes", BY3, BY3_URI, doi, 2, 30),
            ("CT Lymph Nodes", None, None, None, 1, 5),
            ("CT Lymph Nodes", NC4, None, None, 1, 0),
        ).to_pylist(),
        key=str,
    )
    assert attribution_table(warehouse)["Collection"].unique().to_pylist() == [
        "4711",
        "CT Lymph Nodes",
    ]
    assert attribution_table(warehouse, "x' OR true --").num_rows == 0


def written(folder: Path) -> list[tuple[int, int]]:
    """Inode and time of each file; reading a file does not change them."""
    return [((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in NAMES]


def test_the_files_are_next_to_the_zips_and_stay_until_something_changes(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    folder = tmp_path / "archives" / "CT%20Lymph%20Nodes"
    assert write_collection("CT Lymph Nodes", warehouse)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert cells((folder / "LICENSES.md").read_text())[0][0] == "CT Lymph Nodes"
    before = written(folder)
    assert not write_collection("CT Lymph Nodes", warehouse)
    assert written(folder) == before

    stored(warehouse, "CT Lymph Nodes", [{"SeriesInstanceUID": "1.1", "path": "a"}])
    assert write_collection("CT Lymph Nodes", warehouse)
    assert "no licence for 1 Series" in (folder / "LICENSES.md").read_text()


def test_one_lost_file_is_written_again(warehouse: Warehouse, tmp_path: Path) -> None:
    assert write_collection("4711", warehouse)
    for name in NAMES:
        path = tmp_path / "archives" / "4711" / name
        content = path.read_bytes()
        path.unlink()
        assert write_collection("4711", warehouse)
        assert path.read_bytes() == content


def test_without_images_there_are_no_files(warehouse: Warehouse, tmp_path: Path) -> None:
    assert not write_collection("unknown", warehouse)
    assert write_collection("4711", warehouse)
    (tmp_path / "archives" / "4711" / "e.zip").write_bytes(b"zip")
    stored(warehouse, "4711", [{"SeriesInstanceUID": "2.1"}])
    assert write_collection("4711", warehouse)
    assert [path.name for path in (tmp_path / "archives" / "4711").iterdir()] == ["e.zip"]
    assert not write_collection("4711", warehouse)


def test_equal_tables_in_any_order_are_equal_bytes(tmp_path: Path) -> None:
    rows = FULL.to_pylist()
    assert write_files(FolderArchives(tmp_path), "", "t", FULL)
    for _ in range(5):
        random.shuffle(rows)
        shuffled = pa.Table.from_pylist(rows, SCHEMA)
        assert not write_files(FolderArchives(tmp_path), "", "t", shuffled)


def test_the_error_of_a_disk_that_refuses_has_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/LICENSES\.md cannot be written"):
        write_files(FolderArchives(tmp_path), "file", "t", FULL)
    (tmp_path / "CITATION.cff").mkdir()
    with pytest.raises(StorageError, match=r"CITATION\.cff cannot be"):
        write_files(FolderArchives(tmp_path), "", "t", FULL)
    with pytest.raises(StorageError, match=r"CITATION\.cff cannot be removed"):
        write_files(FolderArchives(tmp_path), "", "t", FULL.slice(0, 0))


def test_concurrent_runs_leave_complete_files(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write_collection, "4711", warehouse) for _ in range(8)]:
            done.result()
        with warehouse.lock(IMAGE_ARCHIVES, "4711"):
            assert not pool.submit(write_collection, "4711", warehouse).result(timeout=60)
    assert [path.name for path in (warehouse.root / "archives" / "4711").glob(".*")] == []


def test_titles_and_citations_are_those_that_the_source_has(warehouse: Warehouse) -> None:
    said = {
        "doi": DOI.lower(),
        "title": "Data & more",
        "citation": "Doe, J. (2017). Data [Data set].",
    }
    described = pa.Table.from_pylist([{"Collection": "4711", **said}])
    address = said | {"title": None, "citation": f"https://doi.org/{DOI}"}
    of_nbia = pa.Table.from_pylist([{"Collection": "CT Lymph Nodes", **address}])
    table = COLLECTION_DESCRIPTIONS
    warehouse.write(table, conform(table, of_nbia, source="x"), "CT Lymph Nodes")
    rows = attribution_table(warehouse, "CT Lymph Nodes").to_pylist()
    assert {(each["title"], each["citation"]) for each in rows} == {(None, None)}

    warehouse.write(table, conform(table, described, source="x"), "4711")
    [row] = attribution_table(warehouse, "4711").to_pylist()
    assert (row["title"], row["citation"]) == (said["title"], said["citation"])

    files = render_files("4711", attribution_table(warehouse, "4711"))
    [reference] = yaml.safe_load(files["CITATION.cff"])["references"]
    assert reference["title"] == "Data & more"
    assert reference["notes"].endswith(f"Cite as: {said['citation']}")
    assert r"Data \& more" in files["CITATIONS.bib"]
    assert "lists no authors" not in files["CITATIONS.bib"]
