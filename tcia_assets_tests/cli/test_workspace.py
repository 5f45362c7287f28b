"""The mirror of a command: its data folder, and what an empty one leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL


@pytest.mark.parametrize("command", ["refresh", "fetch", "query", "status"])
def test_a_data_folder_that_is_a_file_is_one_line(
    empty_terminal: Terminal, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    empty_terminal.environment |= {"TCIA_DATA_DIR": str(tmp_path / "file")}
    given = {"query": ["SELECT 1"], "status": []}.get(command, [SMALL])
    result = empty_terminal(command, *given)

    assert result.exit_code == 2
    assert "TCIA_DATA_DIR" in result.stderr and result.stderr.count("\n") == 1


def test_commands_on_an_empty_warehouse_say_what_to_do(empty_terminal: Terminal) -> None:
    for command in ("status", "changes"):
        result = empty_terminal(command)
        assert result.exit_code == 0
        assert "the warehouse is empty: run `tcia-assets refresh` first" in result.stderr
        assert f"there is no folder {empty_terminal.root}: is TCIA_DATA_DIR" in result.stderr
        assert not empty_terminal.root.exists()
