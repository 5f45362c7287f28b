"""`tcia-assets query`: errors."""

from __future__ import annotations

from tcia_assets_tests.cli.terminal import Terminal


def test_a_wrong_query_shows_the_error_of_duckdb(empty_terminal: Terminal) -> None:
    result = empty_terminal("query", "SELECT nonsense FROM series")

    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_an_error_of_duckdb_is_one_line_without_caret(empty_terminal: Terminal) -> None:
    said = empty_terminal("query", "SELECT Modalty FROM series").stderr

    assert said.count("\n") == 1
    assert "; Candidate bindings" in said
    assert "LINE 1" not in said and "^" not in said and "\\n" not in said
