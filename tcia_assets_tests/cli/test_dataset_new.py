"""`tcia-assets dataset new`: a declaration that can be planned at once."""

from __future__ import annotations

from pathlib import Path

from tcia_assets.datasets.declaration import load_declaration
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.test_dataset import (  # noqa: F401 - fixtures
    DatasetTerminal,
    terminal,
)


def test_a_new_dataset_can_be_planned_at_once(terminal: DatasetTerminal) -> None:  # noqa: F811
    made = terminal("new", "own", "--collection", "LCTSC", "--format", "monai")
    assert made.exit_code == 0, made.output
    assert made.stdout.strip() == str(terminal.folder / "own.yaml")
    declaration = load_declaration(terminal.folder / "own.yaml")
    assert declaration.target and declaration.target.kind == "RTSTRUCT"
    assert list(declaration.target.labels) == ["body", "lesion"]
    assert "5 by series" in terminal("plan", "own").stdout
    again = terminal("new", "own", "--collection", "LCTSC")
    assert (again.exit_code, "own.yaml exists" in again.stderr) == (2, True)


def test_what_must_be_said_is_said(series_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "declared"
    terminal = DatasetTerminal(Warehouse(series_root), folder)  # noqa: F811
    asked = terminal("new", "own")
    assert (asked.exit_code, "--collection NAME" in asked.stderr) == (2, True)
    unknown = terminal("new", "own", "--collection", "LCTC")
    assert (unknown.exit_code, "did you mean 'LCTSC'" in unknown.stderr) == (2, True)
    wrong = terminal("new", "own", "--collection", "LCTSC", "--format", "nnUNet")
    assert (wrong.exit_code, "did you mean 'nnunet'" in wrong.stderr) == (2, True)
    modality = terminal("new", "own", "--collection", "LCTSC", "--modality", "XX")
    assert (modality.exit_code, "no Modality of images 'XX'; valid: 'CT'" in modality.stderr) == (
        2,
        True,
    )
    assert not folder.exists()
    made = terminal("new", "own", "--collection", "LCTSC")
    assert "no RTSTRUCT is on disk" in made.stderr
    assert "tumou?r" in (folder / "own.yaml").read_text(encoding="utf-8")
