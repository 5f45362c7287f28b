"""`tcia-assets demo`: what it refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tcia_assets.cli import demo as command
from tcia_assets.cli.app import main


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    result = CliRunner().invoke(main, ["demo", "--keep", str(tmp_path)])

    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_not_installed_is_named_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcia_assets.cli.demo._NEEDS", ("no_such_module",))
    result = CliRunner().invoke(main, ["demo"])

    assert command.demo.name == "demo"
    assert result.exit_code == 2
    assert "the demo needs 'no_such_module'" in result.output
