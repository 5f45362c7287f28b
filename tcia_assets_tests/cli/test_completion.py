"""TAB completes commands, options and names, also names with blanks; it never fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tcia_assets import catalog
from tcia_assets.cli import main
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.repository import ROOT

COLLECTIONS = ("LCTSC", "RIDER Lung CT", "RIDER NEURO MRI")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data folder with partitions of these Collections and a built dataset."""
    warehouse = Warehouse(tmp_path / "data")
    for name in COLLECTIONS:
        warehouse.write(catalog.SERIES, empty(catalog.SERIES), name)
    (warehouse.root / "datasets" / "built").mkdir(parents=True)
    (warehouse.root / "datasets" / ".pool").mkdir()
    return warehouse.root


def completed(root: Path, *words: str) -> list[str]:
    """Return what click completes for bash where these words are on the command line."""
    environment = {
        "TCIA_DATA_DIR": str(root),
        "_TCIA_ASSETS_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(("tcia-assets", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner(env=environment).invoke(main, [], prog_name="tcia-assets")
    assert result.exit_code == 0
    assert result.stderr == ""
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_commands_and_options_are_completed(root: Path) -> None:
    assert {"export", "completion", "status"} <= set(completed(root, ""))
    assert completed(root, "ver") == ["verify"]
    assert "--template" in completed(root, "export", "--")


@pytest.mark.parametrize("command", ["refresh", "fetch", "export", "verify", "status", "changes"])
def test_collections_are_completed(root: Path, command: str) -> None:
    assert completed(root, command, "lc") == ["LCTSC"]


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("R", ["RIDER\\ Lung\\ CT", "RIDER\\ NEURO\\ MRI"]),
        ("RIDER\\ L", ["RIDER\\ Lung\\ CT"]),
        ('"RIDER L', ["RIDER Lung CT"]),
        ("'RIDER ", ["RIDER Lung CT", "RIDER NEURO MRI"]),
    ],
)
def test_blanks_are_escaped_unless_the_word_is_quoted(
    root: Path, word: str, names: list[str]
) -> None:
    assert completed(root, "status", word) == names


def test_tables_and_datasets_are_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = root.parent / "declared"
    declared.mkdir()
    (declared / "lung_ct.yaml").write_text("")
    monkeypatch.setenv("TCIA_DATASETS_DIR", str(declared))
    assert completed(root, "tables", "image") == ["image_archives", "images"]
    assert completed(root, "dataset", "build", "") == ["built", "lung_ct"]


def test_a_wrong_setting_or_a_missing_folder_completes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(root / "absent", "status", "") == []
    assert not (root / "absent").exists()
    monkeypatch.setenv("TCIA_DIALECT", "nonsense")
    assert completed(root, "status", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_it_can_read(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_TCIA_ASSETS_COMPLETE" in result.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=result.stdout, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_a_name_with_blanks_as_one_word(root: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "tcia-assets"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tcia_assets "$@"\n')
    command.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(CliRunner().invoke(main, ["completion", "bash"]).stdout)
    typed = (
        f'. "{script}"; COMP_WORDS=(tcia-assets status "RIDER\\ L"); COMP_CWORD=2; '
        '_tcia_assets_completion tcia-assets; printf "%s|" "${COMPREPLY[@]}"'
    )
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TCIA_DATA_DIR": str(root),
    }
    bash = ["bash", "--norc", "-c", typed]
    result = subprocess.run(bash, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("RIDER\\ Lung\\ CT|", "")
