"""`tcia-assets import`: a folder of DICOM that no archive knows becomes a dataset."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tcia_assets import load_dataset
from tcia_assets.catalog import COLLECTIONS, SERIES, STUDIES
from tcia_assets.images.status import collection_status
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.terminal import CommandLine
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.dicom_folder import unzip_patients, write_series
from tcia_assets_tests.repository import ROOT

NAME, MIRRORED = "Our Scans", "VICTRE"
# Nobody answers there: an import sends no request.
NO_SERVER = "http://127.0.0.1:9/nbia-api/services/v4"


def terminal_over(root: Path, declared: Path) -> CommandLine:
    return CommandLine(
        {
            "TCIA_BASE_URL": NO_SERVER,
            "TCIA_DATA_DIR": str(root),
            "TCIA_DATASETS_DIR": str(declared),
        }
    )


def test_a_folder_becomes_a_dataset_and_the_list_of_the_archive_stays(
    fetched_root: Path, source: Source, tmp_path: Path
) -> None:
    root, folder, declared = tmp_path / "data", tmp_path / "scans", tmp_path / "declared"
    count = unzip_patients(Warehouse(fetched_root), folder, 2)
    (folder / "README").write_text("ours")
    declared.mkdir()
    example = (ROOT / "datasets" / "lung_ct.yaml").read_text()
    (declared / "ours.yaml").write_text(
        example.replace("formats: [nifti]", "formats: [nifti, croissant]").replace(
            "[LCTSC]", f"[{NAME}]"
        )
    )
    warehouse = Warehouse(root)
    for table, key in ((COLLECTIONS, ""), (STUDIES, MIRRORED), (SERIES, MIRRORED)):
        refresh(table, key, source, warehouse, datetime.now(UTC), ProbeBudget(0))
    listed = warehouse.path(COLLECTIONS).read_bytes()
    terminal = terminal_over(root, declared)
    terminal.environment["TCIA_COLLECTIONS"] = MIRRORED  # it limits what is mirrored, not imports

    imported = terminal("import", str(folder), "--collection", NAME)
    assert imported.exit_code == 0, imported.output
    assert "left out: 1 file (not DICOM)" in imported.stderr
    assert warehouse.path(COLLECTIONS).read_bytes() == listed
    status = collection_status(warehouse, [MIRRORED, NAME])
    assert status["is_suspect"].to_pylist() == [False, False]
    # Of the archive's list, not only of what was refreshed.
    taken = terminal("import", str(folder), "--collection", SMALL)
    assert taken.exit_code == 2 and "is a Collection of the archive" in taken.stderr
    facts = warehouse.query(
        "SELECT verified_by, count(*) AS zips, sum(image_count)::BIGINT AS images "
        "FROM image_archives GROUP BY ALL"
    )
    assert facts.to_pylist() == [{"verified_by": "md5", "zips": 4, "images": count}]

    assert terminal("verify").exit_code == 0
    exported = terminal("export", NAME, "--to", str(tmp_path / "exported"))
    assert f"{count} files" in exported.output
    for place in (warehouse.root / "archives", tmp_path / "exported"):
        [text] = [path.read_text(encoding="utf-8") for path in place.rglob("LICENSES.md")]
        assert "from a folder that was imported" in text and "Cancer Imaging" not in text
    built = terminal("dataset", "build", "ours")
    assert built.exit_code == 0, built.output
    version = tmp_path / "data" / "datasets" / "ours" / "latest"
    for name in ("README.md", "croissant.json", "LICENSES.md"):
        text = (version / name).read_text(encoding="utf-8")
        assert "a folder that was imported" in text and "Cancer Imaging" not in text
    packed = terminal("dataset", "pack", "ours", "--to", str(tmp_path / "ours.zip"))
    described = (tmp_path / "ours.zenodo.json").read_text(encoding="utf-8")
    assert '"restricted"' in described and "Cancer Imaging" not in described
    assert "Series have no licence" in packed.stderr
    samples = load_dataset(tmp_path / "data" / "datasets" / "ours")
    assert len(samples) == 2 and all(each.labels is not None for each in samples)

    refused = terminal("refresh", NAME)
    assert refused.exit_code == 2 and f"tcia-assets import {folder}" in refused.stderr
    assert terminal("fetch", NAME).exit_code == 0


def test_what_cannot_be_imported_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    terminal = terminal_over(tmp_path / "data", tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, reason in {
        (str(tmp_path / "none"), NAME): "there is no folder",
        (str(empty), NAME): "is a DICOM object that can be imported",
        (str(empty), "a|b"): "cannot be a Collection's name",
    }.items():
        refused = terminal("import", arguments[0], "--collection", arguments[1])
        assert refused.exit_code == 2 and reason in refused.stderr, refused.output
    assert not (tmp_path / "data" / "warehouse").exists()


@pytest.mark.slow
def test_an_import_that_is_killed_at_any_moment_is_completed_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for number in range(1, 13):
        write_series(folder, f"1.{number}", 20)
    command = [sys.executable, "-m", "tcia_assets", "import", str(folder), "--collection", NAME]
    environment = os.environ | {"TCIA_BASE_URL": NO_SERVER, "TCIA_DATA_DIR": str(tmp_path / "data")}
    started = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    duration = time.monotonic() - started
    undisturbed = _state(tmp_path / "data")
    chooser = random.Random(5)
    for _ in range(3):
        shutil.rmtree(tmp_path / "data")
        for _ in range(2):
            with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as child:
                time.sleep(chooser.uniform(0.2, 1.0) * duration)
                child.send_signal(signal.SIGKILL)
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert _state(tmp_path / "data") == undisturbed


def _state(root: Path) -> list[object]:
    """Return what an import leaves that does not depend on when it ran."""
    return [
        Warehouse(root).query(statement).to_pylist()
        for statement in (
            "SELECT SeriesInstanceUID, ImageCount, missing_since FROM series ORDER BY 1",
            "SELECT SeriesInstanceUID, status, sha256 FROM image_archives ORDER BY 1",
            "SELECT SOPInstanceUID, archive_sha256, md5 FROM images ORDER BY 1",
            "SELECT DISTINCT SeriesInstanceUID, event FROM series_changes ORDER BY ALL",
        )
    ]
