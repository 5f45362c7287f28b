"""The notebook in `examples/` runs from first to last, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.repository import ROOT

NOTEBOOK = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)


def test_the_notebook_is_stored_without_outputs() -> None:
    code = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]

    nbformat.validate(NOTEBOOK)
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_BASE_URL", sandbox.base_url("nbia-v4"))
    notebook = nbformat.from_dict(NOTEBOOK)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code"]

    assert "RTSTRUCT" in shown[2]["text/plain"]
    assert "md5" in shown[4]["text/plain"]
    assert shown[5]["image/png"]
    assert "fetched" in shown[6]["text/plain"]
