"""`tcia-assets query`: it only reads; errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets_tests.cli.terminal import Terminal


def test_a_wrong_query_shows_the_error_of_duckdb(terminal: Terminal) -> None:
    result = terminal("query", "SELECT nonsense FROM series")

    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_an_error_of_duckdb_is_one_line_without_caret(terminal: Terminal) -> None:
    said = terminal("query", "SELECT Modalty FROM series").stderr

    assert said.count("\n") == 1
    assert "; Candidate bindings" in said
    assert "LINE 1" not in said and "^" not in said and "\\n" not in said


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("", "it is empty"),
        ("FROM series; FROM patients", "it holds 2 statements"),
        ("COPY (FROM series) TO 'FILE'", "it is a COPY"),
        ("DETACH warehouse; ATTACH 'FILE' AS w; DROP VIEW w.patients", "it holds 3 statements"),
        ("FROM enable_logging(storage = 'file', storage_path = 'FILE')", "enable_logging"),
        ("FROM read_text('/etc/passwd')", "Cannot access file"),
        ("FROM '/etc/passwd'", "does not exist"),
    ],
)
@pytest.mark.parametrize("folder", ["data", "."])
def test_a_query_reads_the_data_folder_and_writes_nothing(
    terminal: Terminal, tmp_path: Path, statement: str, reason: str, folder: str
) -> None:
    file = tmp_path / folder / "new.csv"
    result = terminal("query", statement.replace("FILE", str(file)))

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert not file.exists() and terminal("query", "FROM patients").exit_code == 0


def test_a_query_may_read_files_of_the_data_folder(terminal: Terminal) -> None:
    pattern = terminal.root / "warehouse" / "series" / "*" / "*.parquet"
    result = terminal("query", f"SELECT count(*) FROM '{pattern}'", "--format", "csv")

    assert result.stdout.splitlines()[1] == "10"


def test_a_data_folder_that_does_not_exist_is_named(terminal: Terminal) -> None:
    wrong = terminal.root.with_name("dta")
    terminal.environment |= {"TCIA_DATA_DIR": str(wrong)}
    result = terminal("query", "FROM series")

    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert f"there is no folder {wrong} (TCIA_DATA_DIR is '{wrong}')" in result.stderr
    assert not wrong.exists()


def test_a_folder_without_a_warehouse_is_noted(terminal: Terminal, tmp_path: Path) -> None:
    terminal.environment |= {"TCIA_DATA_DIR": str(tmp_path)}
    result = terminal("query", "FROM series")

    assert result.exit_code == 0 and "0 rows" in result.stdout
    assert (
        f"there is no warehouse in {tmp_path}: set TCIA_DATA_DIR, or run `tcia-assets refresh`"
        in result.stderr
    )
