"""`tcia-assets dataset push`: as a user calls it, with the settings of huggingface_hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_assets import load_dataset
from tcia_assets_tests.cli.test_dataset import (  # noqa: F401 - fixtures
    DatasetTerminal,
    built_terminal,
    terminal,
)
from tcia_assets_tests.datasets.hub import TOKEN, Hub, serving
from tcia_assets_tests.repository import ROOT


def _run(root: Path, hub: Hub, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "HF_"))}
    own = {
        "TCIA_DATA_DIR": str(root),
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(root / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, *words]
    return subprocess.run(
        command,
        env=kept | own | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


_READ = """
import datasets
print(*sorted(datasets.load_dataset("me/lung_ct", split="train")["SeriesInstanceUID"]))
"""


@pytest.mark.slow
def test_a_pushed_dataset_is_read_by_others(terminal: DatasetTerminal, tmp_path: Path) -> None:  # noqa: F811
    file = terminal.folder / "lung_ct.yaml"
    file.write_text(file.read_text().replace("formats: [nifti]", "formats: [huggingface]"))
    assert terminal("build", "lung_ct").exit_code == 0
    push = ("-m", "tcia_assets", "dataset", "push", "lung_ct", "hf://datasets/me/lung_ct")
    root = terminal.warehouse.root
    with serving(Hub()) as hub:
        pushed = _run(root, hub, *push)
        assert pushed.returncode == 0, pushed.stderr
        assert " pushed: " in pushed.stdout and pushed.stdout.rstrip().endswith("/me/lung_ct")
        assert ", private" in pushed.stdout and pushed.stderr == ""
        read = _run(root, hub, "-c", _READ)
    assert read.returncode == 0, read.stderr[-3000:]
    uids = [
        each.row["SeriesInstanceUID"] for each in load_dataset(root / "datasets/lung_ct", "train")
    ]
    assert uids and read.stdout.split() == sorted(uids)


def test_a_mistake_is_said_before_anything_is_sent(
    built_terminal: DatasetTerminal,  # noqa: F811
) -> None:
    wrong = built_terminal("push", "lung_ct", "me/lung_ct")
    assert wrong.exit_code == 2 and "hf://datasets/OWNER/REPO" in wrong.stderr
