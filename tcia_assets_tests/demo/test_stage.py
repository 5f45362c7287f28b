"""The folder of the demonstration: what is removed, and which settings its commands have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.declaration import load_declaration
from tcia_assets.demo.stage import DATASET, Stage
from tcia_assets.errors import RunFailed, UsageError


def test_an_empty_or_missing_folder_becomes_the_stage(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "new" / "demo")
    stage.clear()
    declaration = load_declaration(stage.declarations / f"{DATASET}.yaml")

    assert declaration.name == DATASET
    stage.clear()  # its own is no reason to refuse


def test_what_an_earlier_demonstration_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "archive.port").write_text("8042", encoding="utf-8")  # as versions before wrote
    (tmp_path / "warehouse").mkdir()
    Stage(tmp_path).clear()

    assert not (tmp_path / "warehouse").exists()


def test_a_folder_with_something_else_is_refused_and_stays(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years", encoding="utf-8")
    with pytest.raises(UsageError, match="no earlier demo is in it: name another folder"):
        Stage(tmp_path).clear()

    assert thesis.read_text(encoding="utf-8") == "years"
    with pytest.raises(UsageError):
        Stage(thesis).clear()


def test_the_users_own_settings_do_not_reach_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_SOURCE", "idc")
    monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
    environment = Stage(tmp_path).environment("http://127.0.0.1:1")

    assert "TCIA_SOURCE" not in environment
    assert "DAGSTER_HOME" not in environment
    assert environment["TCIA_DATA_DIR"] == str(tmp_path)


def test_a_command_that_fails_ends_the_demonstration(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path)
    stage.clear()
    with pytest.raises(RunFailed, match="tcia-assets query FROM nothing ended with 2"):
        stage.run("http://127.0.0.1:1", "query", "FROM nothing")

    assert "Error" in capfd.readouterr().err
