"""The way of the demo in each dialect: refresh, fetch, build a dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets import load_dataset
from tcia_assets.catalog import DIALECTS
from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.cli.terminal import CommandLine
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.repository import ROOT


@pytest.fixture
def dagster_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_text(DAGSTER_YAML)
        monkeypatch.setenv("DAGSTER_HOME", folder)
        yield Path(folder)


@pytest.mark.usefixtures("dagster_home")
@pytest.mark.slow
@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_a_collection_becomes_a_dataset(sandbox: Sandbox, tmp_path: Path, dialect: str) -> None:
    account = sandbox.authenticator
    run = CommandLine(
        {
            "TCIA_DIALECT": dialect,
            "TCIA_BASE_URL": sandbox.base_url(dialect),
            "TCIA_API_KEY": account.api_key,
            "TCIA_USERNAME": account.username,
            "TCIA_PASSWORD": account.password,
            "TCIA_DATA_DIR": str(tmp_path),
            "TCIA_DATASETS_DIR": str(ROOT / "datasets"),
        }
    )
    for command in (("refresh", SMALL), ("fetch", SMALL), ("verify",)):
        result = run(*command)
        assert result.exit_code == 0, (command, result.output)
        assert "check" not in result.stderr
    result = run("dataset", "build", "lung_ct")
    assert result.exit_code == 0, result.output

    warehouse = Warehouse(tmp_path)
    rows = warehouse.query("SELECT count(*) AS n, count(PatientID) AS patients FROM series")
    assert rows.to_pylist() == [{"n": 10, "patients": 10}]
    # The first refresh has all: what it lacked would be a change of each Series later.
    events = warehouse.query(
        "SELECT event, count(*) AS n FROM series_changes GROUP BY 1 ORDER BY 1"
    )
    assert events.to_pylist() == [{"event": "added", "n": 10}, {"event": "fetched", "n": 10}]
    folder = tmp_path / "datasets" / "lung_ct"
    samples = [len(load_dataset(folder, split)) for split in ("train", "val", "test")]
    assert sum(samples) == 5 and all(samples)
