"""The plugin as another project sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import tcia_assets
from tcia_assets import build_definitions
from tcia_assets.catalog import TABLES
from tcia_assets.defs.catalogue import CATALOGUE
from tcia_assets.defs.mirror import MIRROR
from tcia_assets.errors import UsageError
from tcia_assets.sandbox.server import Sandbox

ASSETS = (MIRROR, CATALOGUE, *(table.name for table in TABLES))


def keys(definitions: dg.Definitions) -> list[str]:
    graph = definitions.resolve_asset_graph()
    return sorted(key.to_user_string() for key in graph.get_all_asset_keys())


def test_the_assets_are_exactly_the_declared_tables() -> None:
    assert keys(build_definitions()) == sorted(f"tcia/{name}" for name in ASSETS)


def test_the_names_that_others_rely_on_stay() -> None:
    definitions = build_definitions()

    assert sorted(job.name for job in definitions.jobs or []) == [
        "tcia_catalogue",
        "tcia_cleanup",
        "tcia_clinical",
        "tcia_images",
        "tcia_list_collections",
        "tcia_refresh",
        "tcia_refresh_shared_lists",
        "tcia_update",
        "tcia_verify",
    ]
    sensors = [s.name for s in definitions.sensors or []]
    assert sensors == [
        "tcia_new_series",
        "tcia_run_failed",
        "tcia_source_gone",
        "tcia_catalogue_updates",
    ]
    assert sorted(definitions.resources or {}) == ["tcia", "tcia_io"]
    graph = definitions.resolve_asset_graph()
    partitions = {
        key.path[-1]: getattr(graph.get(key).partitions_def, "name", None)
        for key in graph.get_all_asset_keys()
    }
    assert partitions["collections"] is None
    assert partitions["shared_lists"] == "tcia_shared_lists"
    assert {partitions[t.name] for t in TABLES if t.partitioned_by == "Collection"} == {
        "tcia_collections"
    }


def test_each_asset_sensor_and_schedule_explains_itself_in_the_names_of_its_archive() -> None:
    definitions = build_definitions(key_prefix=["imaging", "nlst"])
    graph = definitions.resolve_asset_graph()
    about = {key.path[-1]: str(graph.get(key).description) for key in graph.get_all_asset_keys()}

    assert about.pop("mirror").startswith("One event per refresh and per fetch")
    assert "imaging_nlst_catalogue_updates" in about.pop("catalogue")
    assert all(text.startswith("One row per ") for text in about.values())
    assert "imaging_nlst_new_series" in about["series"]
    assert "imaging_nlst_compare" in about["series"]
    assert not [text for text in about.values() if "{" in text]
    for each in [*(definitions.sensors or []), *(definitions.schedules or [])]:
        assert len(str(each.description)) > 100, each.name


def test_how_often_is_looked_is_a_setting_or_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    def pace(definitions: dg.Definitions) -> tuple[int | None, str]:
        [sensor] = [s for s in definitions.sensors or [] if s.name == "tcia_new_series"]
        [schedule] = [s for s in definitions.schedules or [] if s.name == "tcia_compare"]
        return sensor.minimum_interval_seconds, str(schedule.cron_schedule)

    assert pace(build_definitions()) == (300, "10 * * * *")
    monkeypatch.setenv("TCIA_SENSOR_INTERVAL_S", "60")
    monkeypatch.setenv("TCIA_COMPARE_CRON", "*/5 * * * *")
    assert pace(build_definitions()) == (60, "*/5 * * * *")
    assert pace(build_definitions(sensor_interval_s=5, compare_cron="0 3 * * *")) == (
        5,
        "0 3 * * *",
    )
    with pytest.raises(UsageError, match="TCIA_SENSOR_INTERVAL_S is 4; it must be 5 or more"):
        build_definitions(sensor_interval_s=4)


def test_two_archives_go_into_one_code_location() -> None:
    merged = dg.Definitions.merge(
        build_definitions(), build_definitions(key_prefix=["imaging", "nlst"], group_name="nlst")
    )

    dg.Definitions.validate_loadable(merged)
    assert len(keys(merged)) == 2 * len(ASSETS)
    assert "imaging/nlst/series" in keys(merged)


def test_a_second_archive_writes_into_a_folder_of_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    environment = {"TCIA_BASE_URL": sandbox.base_url("nbia-v4"), "TCIA_DATA_DIR": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        for name, value in environment.items():
            patch.setenv(name, value)
        job = build_definitions(key_prefix="nlst").resolve_job_def("nlst_list_collections")
        assert job.execute_in_process(instance=instance).success

    assert (tmp_path / "nlst" / "warehouse" / "collections").is_dir()
    assert not (tmp_path / "warehouse").exists()


def test_every_asset_explains_itself() -> None:
    graph = build_definitions(owners=["team:imaging"]).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and node.kinds and node.owners == ["team:imaging"]
        if key.path[-1] in {MIRROR, CATALOGUE}:  # which are no tables
            continue
        assert node.code_version
        schema = node.metadata["dagster/column_schema"]
        assert all(column.description for column in schema.columns)


def test_every_sensor_and_schedule_says_what_it_looks_at() -> None:
    definitions = build_definitions()

    for each in [*(definitions.sensors or []), *(definitions.schedules or [])]:
        assert each.description and len(each.description.split()) > 8, each.name


def test_nothing_runs_by_itself() -> None:
    definitions = build_definitions()

    assert all(
        s.default_status == dg.DefaultSensorStatus.STOPPED for s in definitions.sensors or []
    )
    assert all(
        s.default_status == dg.DefaultScheduleStatus.STOPPED for s in definitions.schedules or []
    )


@pytest.mark.parametrize("prefix", ["", [], "a b", ["x", "y/z"]])
def test_a_prefix_that_cannot_be_a_name_is_refused(prefix: str | list[str]) -> None:
    with pytest.raises(UsageError, match="key_prefix"):
        build_definitions(key_prefix=prefix)


def test_importing_a_module_does_not_import_slow_libraries() -> None:
    unwanted = {
        "tcia_assets": ["dagster", "numpy", "pyarrow", "duckdb"],
        "tcia_assets.sources.nbia.client": ["dagster", "pydicom", "pandas"],
        "tcia_assets.cli": ["dagster", "pydicom", "pandas"],
        "tcia_assets.mirror": ["dagster", "pydicom", "pandas"],
        # Needed by each fetch, for a few pictures.
        "tcia_assets.pages.pictures": ["nibabel", "tcia_assets.datasets.declaration"],
    }
    # One after the other in one process, which takes a second to start.
    code = f"""
import importlib, json, sys
found = {{}}
for name, unwanted in {unwanted}.items():
    importlib.import_module(name)
    found[name] = [each for each in unwanted if each in sys.modules]
print(json.dumps(found))
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert json.loads(shown) == {name: [] for name in unwanted}


def test_the_public_names_are_those_in_all() -> None:
    assert sorted(tcia_assets.__all__) == [
        "Mirror",
        "Selection",
        "TciaResource",
        "Warehouse",
        "__version__",
        "build_definitions",
        "failure_line",
        "load_dataset",
        "open_source",
    ]
    for name in tcia_assets.__all__:
        assert getattr(tcia_assets, name)
    with pytest.raises(AttributeError):
        _ = tcia_assets.no_such_name
