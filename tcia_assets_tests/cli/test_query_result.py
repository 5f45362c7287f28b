"""The result of a query: formats, files, width."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.repository import ROOT


def test_every_format_has_the_same_rows(terminal: Terminal, tmp_path: Path) -> None:
    statement = "SELECT SeriesInstanceUID, ImageCount FROM series ORDER BY 1"
    as_json = json.loads(terminal("query", statement, "--format", "json").stdout)
    lines = terminal("query", statement, "--format", "csv").stdout.splitlines()
    file = tmp_path / "answer.parquet"
    assert terminal("query", statement, "--format", "parquet", "--output", str(file)).exit_code == 0

    assert len(as_json) == len(lines) - 1 == 10
    assert pq.read_table(file).to_pylist() == as_json


def test_a_row_too_wide_for_the_terminal_is_a_record(terminal: Terminal) -> None:
    terminal.environment |= {"COLUMNS": "80"}
    wide = terminal("query", "FROM series", "--rows", "2").stdout
    narrow = terminal("query", "SELECT Modality, ImageCount FROM series", "--rows", "2").stdout

    assert len([line for line in wide.splitlines() if line.startswith("SeriesInstanceUID:")]) == 2
    assert max(map(len, wide.splitlines())) <= 80
    assert "10 rows, 8 not shown (--rows); too wide for a table" in " ".join(wide.split())
    assert "too wide" not in narrow and "Modality:" not in narrow


def test_a_count_stands_on_one_line_below_a_narrow_table(terminal: Terminal) -> None:
    one = terminal("query", "SELECT 7 AS n").stdout.splitlines()
    many = terminal("query", "SELECT 7 AS n FROM range(99)", "--rows", "2").stdout.splitlines()

    assert one[-1] == "1 row"
    assert many[-1] == "99 rows, 97 not shown (--rows)"


def test_a_little_too_wide_a_table_is_folded(terminal: Terminal) -> None:
    terminal.environment |= {"COLUMNS": "80"}
    licence = "Creative Commons Attribution 3.0 Unported License"
    columns = f"'QIN LUNG CT' AS Collection, 'RTSTRUCT' AS Modality, '{licence}' AS licence"
    shown = terminal("query", f"SELECT {columns}, 577 AS images, 5 AS series").stdout

    assert "too wide" not in shown and max(map(len, shown.splitlines())) <= 80


def test_text_forges_no_line_and_no_emoji(terminal: Terminal) -> None:
    shown = terminal("query", "SELECT 'a' || chr(10) || 'b :x: [red]c' AS t").stdout

    assert r"a\nb :x: [red]c" in shown


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_date_that_python_cannot_hold_is_shown(terminal: Terminal, form: str) -> None:
    shown = terminal("query", "SELECT DATE '0000-01-01' AS d, NULL::DATE AS e", "--format", form)

    assert "0000-01-01" in shown.stdout


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize(
    "value",
    [
        "['0000-01-01'::DATE, NULL]",
        "{'a': '0000-01-01'::DATE, 'b': 'infinity'::TIMESTAMP, 'c': 1.5}",
        "MAP {'a': '0000-01-01'::DATE}",
        "[[{'a': '0000-01-01'::DATE}]]",
        "['0000-01-01'::DATE]::DATE[1]",
        "{'a': ['0000-01-01'::TIMESTAMP], 'b': '2020-01-02'::TIMESTAMP_NS}",
    ],
)
def test_such_a_date_within_a_list_or_a_struct_is_shown(
    terminal: Terminal, value: str, form: str
) -> None:
    shown = terminal("query", f"SELECT {value} AS x UNION ALL SELECT NULL", "--format", form)

    assert shown.exit_code == 0, shown.output
    assert "0000-01-01" in shown.stdout


def test_a_struct_is_an_object_in_json_and_text_in_csv(terminal: Terminal) -> None:
    statement = "SELECT {'day': DATE '2020-01-02', 'at': [TIME '03:04:05']} AS x"
    rows = json.loads(terminal("query", statement, "--format", "json").stdout)
    lines = terminal("query", statement, "--format", "csv").stdout.splitlines()

    assert rows == [{"x": {"day": "2020-01-02", "at": ["03:04:05.000000"]}}]
    assert lines[1].replace('""', '"') == f'"{json.dumps(rows[0]["x"])}"'


def test_a_type_that_parquet_cannot_hold_is_one_line(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    result = terminal("query", "SELECT [INTERVAL 1 DAY] AS x", "--output", str(file))

    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "month_day_nano_interval" in result.stderr and not file.exists()


@pytest.mark.parametrize(
    ("name", "begin"), [("a.parquet", b"PAR1"), ("a.JSON", b"["), ("a.csv", b'"n"'), ("a", b'"n"')]
)
def test_the_suffix_of_the_output_is_its_format(
    terminal: Terminal, tmp_path: Path, name: str, begin: bytes
) -> None:
    assert terminal("query", "SELECT 1 AS n", "--output", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_an_output_that_cannot_be_written_is_one_line(terminal: Terminal) -> None:
    result = terminal("query", "SELECT 1", "--format", "parquet", "--output", "/nonexist/x.parquet")

    assert result.exit_code == 2
    assert "--output '/nonexist/x.parquet'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_instant_in_nanoseconds_is_shown_as_it_is(tmp_path: Path) -> None:
    # In a process of its own, where nothing has imported pandas.
    program = """
from tcia_assets.cli import main
question = "SELECT TIMESTAMP_NS '2024-01-02 03:04:05.123456789' AS at"
for form in ("table", "json", "csv"):
    main(["query", question, "--format", form], standalone_mode=False)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
        | {"PYTHONPATH": str(ROOT), "TCIA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.count("2024-01-02 03:04:05.123456789") == 3, result.stderr


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_a_difference_of_times_is_text(form: str, terminal: Terminal, tmp_path: Path) -> None:
    statement = "SELECT TIMESTAMP '2026-11-03 01:30:00' - TIMESTAMP '2026-11-01 00:00:00' AS taken"
    file = tmp_path / "answer.parquet"

    assert "2 days 01:30:00" in terminal("query", statement, "--format", form).stdout
    assert terminal("query", statement, "--output", str(file)).exit_code == 0
    assert pq.read_table(file)["taken"].to_pylist() == ["2 days 01:30:00"]


def test_each_of_two_columns_of_one_name_has_its_own_values(terminal: Terminal) -> None:
    statement = "SELECT 'x' AS a, 'y' AS b, 'z' AS a"
    shown = terminal("query", statement).stdout.splitlines()

    assert (shown[0].split(), shown[2].split()) == (["a", "b", "a_1"], ["x", "y", "z"])
    rows = json.loads(terminal("query", statement, "--format", "json").stdout)
    assert rows == [{"a": "x", "b": "y", "a_1": "z"}]
