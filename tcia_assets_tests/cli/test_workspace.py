"""The mirror of a command: its data folder, and what an empty one leads to."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
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


@pytest.mark.parametrize("command", [("verify",), ("migrate",), ("export", "--to", "x")])
def test_work_on_a_data_folder_that_is_not_there_is_a_mistake(
    empty_terminal: Terminal, command: tuple[str, ...]
) -> None:
    result = empty_terminal(*command)

    assert result.exit_code == 2
    assert f"there is no folder {empty_terminal.root}: is TCIA_DATA_DIR" in result.stderr
    assert not empty_terminal.root.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("refresh", SMALL), ("fetch", SMALL), ("dataset", "build", "x")]
)
def test_a_command_that_needs_dagster_says_so_before_it_is_imported(
    terminal: Terminal, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "x.yaml").write_text("name: x")
    shown, written = pty.openpty()
    environment = os.environ | terminal.environment | {"TCIA_DATASETS_DIR": str(tmp_path)}
    call = [sys.executable, "-X", "importtime", "-m", "tcia_assets", *command]
    process = subprocess.Popen(call, env=environment, stdout=written, stderr=written)
    os.close(written)
    output = b""
    while b"Start Dagster" not in output:
        output += os.read(shown, 1 << 16)
    process.kill()
    process.communicate()
    os.close(shown)

    before, _, _ = output.partition(b"Start Dagster")
    assert b"| tcia_assets.cli" in before.replace(b"  ", b"")
    assert b"dagster._core" not in before
