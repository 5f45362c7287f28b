"""`tcia-assets dataset pack`: what it writes and says."""

from __future__ import annotations

from pathlib import Path

from tcia_assets_tests.cli.test_dataset import (  # noqa: F401 - fixtures
    DatasetTerminal,
    built_terminal,
)


def test_a_version_is_packed_where_one_says(
    built_terminal: DatasetTerminal,  # noqa: F811
    tmp_path: Path,
) -> None:
    terminal = built_terminal
    target = tmp_path / "lung.zip"
    packed = terminal("pack", "lung_ct", "--to", str(target))
    assert packed.exit_code == 0, packed.output
    assert "SHA-256" in packed.stdout and "no creators are named" in packed.stderr
    assert {path.name for path in tmp_path.glob("lung*")} >= {"lung.zip", "lung.zenodo.json"}
    wrong = terminal("pack", "lung_ct", "--published", "tomorrow")
    assert (wrong.exit_code, "is not a day" in wrong.stderr) == (2, True)
