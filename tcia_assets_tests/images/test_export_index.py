"""The index of an export survives a killed writer, and gives no folder twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.images.export_index import FILE_NAME, ExportedSeries, ExportIndex

DONE = ExportedSeries("1.2", "P/1", "abc", 3, 100)


def test_what_was_recorded_is_there_again(tmp_path: Path) -> None:
    index = ExportIndex(tmp_path)
    index.add(DONE)
    index.add(replace(DONE, files=4))
    assert ExportIndex(tmp_path).series == {"1.2": replace(DONE, files=4)}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path, cut: int) -> None:
    index = ExportIndex(tmp_path)
    index.add(DONE)
    index.add(ExportedSeries("1.3", "P/2"))
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-cut])
    index = ExportIndex(tmp_path)
    assert index.series == {"1.2": DONE}
    index.add(ExportedSeries("1.4", "P/3"))
    assert set(ExportIndex(tmp_path).series) == {"1.2", "1.4"}


def test_a_series_keeps_its_folder_and_no_other_gets_it(tmp_path: Path) -> None:
    index = ExportIndex(tmp_path)
    assert index.claim("1.2.111111", "P/CT") == "P/CT"
    assert index.claim("1.2.222222", "P/CT") == "P/CT-222222"
    assert index.claim("1.2.333333", "p/ct") == "p/ct-333333"
    index = ExportIndex(tmp_path)
    assert index.claim("1.2.222222", "other") == "P/CT-222222"
    assert index.claim("1.2.444444", "P/CT") == "P/CT-444444"
    assert index.claim("9.2.444444", "P/CT") not in {"P/CT", "P/CT-444444"}


def test_a_folder_that_something_else_made_is_left_alone(tmp_path: Path) -> None:
    index = ExportIndex(tmp_path)
    (tmp_path / "P").mkdir()
    assert index.claim("1.2.111111", "P") == "P-111111"


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="choose a new folder"):
        ExportIndex(tmp_path)


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"series_instance_uid": "1", "folder": "", "colour": 1}\n')
    with pytest.raises(UsageError, match="another version"):
        ExportIndex(tmp_path)
