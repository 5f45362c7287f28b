"""Rows as a script beside a page."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.pages.rows import rows_script, series_columns, uids_on_disk
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import HOSTILE, series_row, write_series
from tcia_assets_tests.pages.html import rows_of


def test_a_script_has_every_series_once_and_says_which_are_on_disk(mirror: Warehouse) -> None:
    rows = rows_of(rows_script(series_columns(mirror, SMALL)))
    stored = mirror.query("SELECT SeriesInstanceUID, ImageCount FROM current_series").to_pylist()
    counts = {row["SeriesInstanceUID"]: row["ImageCount"] for row in stored}
    assert {row["SeriesInstanceUID"]: row["ImageCount"] for row in rows} == counts
    on_disk = {row["SeriesInstanceUID"] for row in rows if row["on_disk"]}
    assert on_disk == set(uids_on_disk(mirror, SMALL))
    assert [row["PatientID"] for row in rows] == sorted(row["PatientID"] for row in rows)


def test_all_columns_are_of_one_version(empty_mirror: Warehouse) -> None:
    old = [series_row(number, Manufacturer="old") for number in (1, 2, 3)]
    write_series(empty_mirror, *old)
    columns = series_columns(empty_mirror, "Lungs")
    first = next(columns)
    write_series(empty_mirror, series_row(9, Manufacturer="new"))
    found = dict([first, *columns])

    assert found["SeriesInstanceUID"].to_pylist() == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    assert found["Manufacturer"].to_pylist() == ["old"] * 3
    new = dict(series_columns(empty_mirror, "Lungs"))
    assert new["Manufacturer"].to_pylist() == ["new"]


def test_no_text_ends_the_script(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1, SeriesDescription=HOSTILE), series_row(2))
    script = rows_script(series_columns(empty_mirror, "Lungs"))
    assert b"<" not in script and b"\\" not in script
    assert [row["SeriesDescription"] for row in rows_of(script)] == [HOSTILE, None]


def test_long_columns_and_empty_ones_are_whole() -> None:
    numbers = pa.chunked_array([pa.array(range(25_000))])
    words = pa.chunked_array([pa.array([None, "a"] * 12_500)])
    rows = rows_of(rows_script([("number", numbers), ("word", words)]))
    assert [row["number"] for row in rows] == list(range(25_000))
    assert {row["word"] for row in rows[::2]} == {None} and rows[1]["word"] == "a"
    assert rows_of(rows_script([("none", pa.chunked_array([], pa.string()))])) == []


def test_equal_rows_give_equal_bytes(mirror: Warehouse) -> None:
    first, second = (rows_script(series_columns(mirror, SMALL)) for _ in range(2))
    assert first == second
