"""`tcia-assets dataset plan`: tables, JSON, and what may be a mistake."""

from __future__ import annotations

import json
from pathlib import Path

from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.test_dataset import (  # noqa: F401 - a fixture
    EXAMPLE,
    DatasetTerminal,
    terminal,
)
from tcia_assets_tests.datasets.warehouse_edits import set_column


def test_a_plan_is_a_page_of_tables_or_json(terminal: DatasetTerminal) -> None:  # noqa: F811
    shown = terminal("plan", "lung_ct")
    assert shown.exit_code == 0, shown.output
    for text in ("5 Series of 5 Patients", "5 by series", "Lesion  lesion", "train", "are free"):
        assert text in shown.stdout
    content = json.loads(terminal("plan", "lung_ct", "--format", "json").stdout)
    assert (content["images"], content["names"][1]["label"]) == (5, "lesion")
    assert not terminal.versions


def test_a_plan_is_written_as_a_page(terminal: DatasetTerminal, tmp_path: Path) -> None:  # noqa: F811
    page = tmp_path / "plan.html"
    shown = terminal("plan", "lung_ct", "--page", str(page))
    assert shown.exit_code == 0, shown.output
    assert f"open {page.as_uri()}" in shown.stderr and "Lesion  lesion" in shown.stdout
    assert "<h1>" in page.read_text() and [each.name for each in tmp_path.glob("plan*")] == [
        "plan.html"
    ]


def test_values_of_no_image_and_samples_of_frames_are_counted(terminal: DatasetTerminal) -> None:  # noqa: F811
    root = terminal.warehouse.root
    series = terminal.warehouse.query(
        "SELECT PatientID AS id, ImageCount AS n FROM series WHERE Modality = 'CT'"
    )
    ids = [*series["id"].to_pylist(), "nobody"]
    (terminal.folder / "own.csv").write_text("PatientID,c\n" + "".join(f"{i},x\n" for i in ids))
    (terminal.folder / "own.yaml").write_text(
        "title: T\ncohort: {collections: [LCTSC], modalities: [CT]}\nframes: {}\ntarget: none\n"
        "split: {fractions: {train: 1}}\nclasses: {column: c, csv: own.csv}\n"
    )
    page = root / "plan.html"
    shown = terminal("plan", "own", "--page", str(page))
    assert shown.exit_code == 0, shown.output
    assert "1 of the 6 PatientIDs with a class have none here, such as 'nobody'" in shown.stdout
    assert f"{sum(series['n'].to_pylist()):,} objects: a sample each" in shown.stdout
    assert "nobody" in page.read_text() and "a sample each" in page.read_text()


def test_a_build_that_leaks_is_known_before_it_starts(terminal: DatasetTerminal) -> None:  # noqa: F811
    rows = terminal.warehouse.query("SELECT SeriesInstanceUID AS u FROM series")
    set_column(terminal.warehouse, "StudyInstanceUID", "1.2.77", *rows["u"].to_pylist())
    refused = terminal("plan", "lung_ct")
    assert refused.exit_code == 1
    assert "a build is refused: StudyInstanceUID '1.2.77'" in refused.stderr


def test_nothing_is_fetched_yet(series_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "lung_ct.yaml").write_bytes(EXAMPLE.read_bytes())
    shown = DatasetTerminal(Warehouse(series_root), folder)("plan", "lung_ct")
    assert shown.exit_code == 0, shown.output
    assert "5 Series are not on disk, and 5 masks in their Studies" in shown.stderr
    assert "5 images without a paired mask" in shown.stderr
