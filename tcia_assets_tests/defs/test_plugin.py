"""The plugin is built from its arguments; only what they leave open is read from settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tcia_assets_tests.repository import ROOT


def test_a_wrong_folder_of_datasets_stops_nothing_that_needs_none(tmp_path: Path) -> None:
    # A process of its own: nothing is imported yet.
    code = """
from tcia_assets import Mirror, build_definitions
build_definitions(datasets="")
Mirror("data")._open_runs()
build_definitions()
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TCIA_DATASETS_DIR": "nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tmp_path / "data" / "dagster").is_dir(), result.stderr
    assert "there is no folder 'nowhere' of datasets" in result.stderr.splitlines()[-1]
