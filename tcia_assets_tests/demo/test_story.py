"""The demonstration as a user starts it, from the first line to the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_assets_tests.repository import ROOT


@pytest.mark.slow
def test_the_demo_tells_all_its_parts_and_keeps_the_mirror(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tcia_assets", "demo", "--keep", "kept"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    for part in range(1, 9):
        assert f"\n{part}. " in done.stdout
    assert done.stdout.index("dataset plan lung_ct") < done.stdout.index("dataset build lung_ct")
    assert "with equal MD5: 582." in done.stdout
    assert (tmp_path / "kept" / "catalogue" / "index.html").is_file()
    assert (tmp_path / "kept" / "datasets" / "lung_ct" / "latest" / "README.md").is_file()
