"""Series lists are read as the NBIA Data Retriever and spreadsheets write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcia_assets.errors import UsageError
from tcia_assets.metadata.selection_parser import selection_from_fields
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.metadata.series_list_files import HEAD, chosen, written


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tcia", HEAD + "1.1\n1.3\n"),
        ("m.TCIA", HEAD + "1.1\n\n 1.3 \n1.1"),
        ("bom.tcia", b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"1.1\r\n1.3\r\n"),
        ("inline.tcia", HEAD.rstrip() + "1.1\n1.3"),
        ("s.csv", "SeriesInstanceUID\n1.1\n1.3\n"),
        ("quoted.csv", '"SeriesInstanceUID"\r\n"1.1"\r\n\r\n"1.3"\r\n'),
        ("bom.csv", b"\xef\xbb\xbfSeriesInstanceUID\r\n1.1\r\n1.3\r\n"),
        ("more.csv", 'Subject ID,Series UID,Note\np,1.1,"a, ""b""\nc"\nq,1.3,\n'),
        ("more.tsv", "PatientID\tSeries Instance UID\np\t1.1\nq\t1.3\n"),
    ],
)
def test_a_series_list_is_read_in_each_format(
    tmp_path: Path, warehouse_with_lists: Warehouse, name: str, content: str | bytes
) -> None:
    selection = selection_from_fields({"manifests": [written(tmp_path, name, content)]})
    assert chosen(selection, warehouse_with_lists) == ["1.1", "1.3"]


def test_a_series_list_that_changed_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, "m.csv", "SeriesUID\n1.1\n")
    selection = selection_from_fields({"manifests": [path]})
    assert selection.tables["selected_series"]["SeriesInstanceUID"].to_pylist() == ["1.1"]
    written(tmp_path, "m.csv", "SeriesUID\n1.2\n")
    os.utime(path, ns=(1, 1))
    assert selection.tables["selected_series"]["SeriesInstanceUID"].to_pylist() == ["1.2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.tcia", HEAD + "1.1\n\n1..3\n", r"m.tcia', line 9: '1..3' is not a SeriesInstanceUID"),
        ("m.tcia", HEAD + "1." * 40 + "1\n", "line 7: .* is not a SeriesInstanceUID"),
        ("m.tcia", HEAD + "x" * 200, r"'x{80}'\.\.\. is not a SeriesInstanceUID"),
        ("m.tcia", HEAD, "m.tcia' has no Series"),
        ("m.tcia", "", "m.tcia' has no line ListOfSeriesToDownload="),
        ("m.tcia", "noOfrRetry=4\n1.1\n1.2\n", "m.tcia', line 2: '1.1' is before the line"),
        ("m.tcia", b"\xff\xfe1\x00", "m.tcia' is not in UTF-8"),
        ("m.csv", "SeriesInstanceUID\n1.1\n1.2;1.3\n", "m.csv', line 3: '1.2;1.3' is no"),
        ("m.csv", "a,SeriesUID\nb\n", "m.csv', line 2: '' is no"),
        ("m.csv", 'a,SeriesUID\n"b\nc",1.1\nd,e\n', "m.csv', line 4: 'e' is no"),
        ("m.csv", "SeriesInstanceUID\n", "m.csv' has no Series"),
        ("m.csv", "", "no column has the heading SeriesInstanceUID or Series UID"),
        ("m.csv", "1.1\n1.2\n", "no column has the heading"),
        ("m.csv", "Series UID,SeriesInstanceUID\n1,1\n", "more than one column has the heading"),
        ("m.csv", 'SeriesUID\n"1.1\n', "m.csv', line 2: unexpected end of data"),
        ("m.xlsx", "PK", r"m.xlsx' must be a file \*.tcia, \*.csv, \*.tsv or \*.s5cmd"),
        ("m", "1.1", "must be a file"),
    ],
)
def test_the_error_for_a_bad_series_list_names_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        selection_from_fields({"manifests": [written(tmp_path, name, content)]})


@pytest.mark.parametrize(
    "path", ["missing.tcia", "missing", "folder.csv", "endless.tcia", "nul\0.csv", "\ud800.csv"]
)
def test_the_error_for_a_missing_series_list_names_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "endless.tcia").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"the series list '.*' cannot be read"):
        selection_from_fields({"manifests": [path]}, folder=tmp_path)
