"""`tcia-assets sandbox`: what it needs and prints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tcia_assets.cli import main
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.repository import ROOT


@pytest.mark.parametrize(
    "missing",
    # The one that is imported last; the others are named in the same way.
    [
        "pydicom",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("uvicorn", "starlette", "numpy")),
    ],
)
def test_without_the_extra_the_sandbox_names_it(missing: str) -> None:
    # In a process of its own: here the modules are imported already.
    program = f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, *_):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from tcia_assets.cli import main
main(["sandbox", "--port", "0"])
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert result.returncode == 2, result.stderr
    assert "pip install 'dagster-webserver" in result.stderr and result.stderr.count("\n") == 1


def test_the_last_lines_of_the_sandbox_are_what_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "run", Sandbox.close)
    lines = CliRunner().invoke(main, ["sandbox", "--port", "0"]).stdout.splitlines()
    exports = dict(line.split(" ", 1)[1].split("=", 1) for line in lines if "export " in line)

    assert all(line.startswith("export ") for line in lines[-3:])
    assert exports["TCIA_DIALECT"] == "nbia-v4" and exports["TCIA_SOURCE"] == "idc"
    assert exports["TCIA_BASE_URL"].endswith("/nbia-api/services/v4")
    assert exports["TCIA_IDC_BASE_URL"].endswith("/{bucket}")
    assert exports["TCIA_IDC_INDEX"].startswith("http://127.0.0.1:")
