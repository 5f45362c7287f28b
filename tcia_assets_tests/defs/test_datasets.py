"""Each file of the datasets folder is three assets, which build what it declares."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import build_definitions
from tcia_assets.datasets import versions
from tcia_assets.errors import UsageError
from tcia_assets_tests.conftest import QUIET, SMALL, Dagster
from tcia_assets_tests.datasets.warehouse_edits import set_column
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"
NAMES = ("cohort", "samples", "dataset")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "declared"
    made.mkdir()
    shutil.copy(EXAMPLE, made / "lung_ct.yaml")
    return made


def keys(definitions: dg.Definitions) -> set[str]:
    graph = definitions.resolve_asset_graph()
    return {key.path[-1] for key in graph.get_all_asset_keys()}


def build(
    dagster: Dagster,
    folder: Path,
    name: str = "lung_ct",
    only: Sequence[str] = NAMES,
    **cohort: object,
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(resource=dagster.resource(), datasets=folder)
    config = {
        "ops": {
            f"tcia_{name}_cohort": {"config": cohort},
            f"tcia_{name}_samples": {"config": {"workers": 1}},
        },
        "loggers": QUIET,
    }
    return definitions.resolve_job_def(f"tcia_dataset_{name}").execute_in_process(
        instance=dagster.instance,
        run_config=config,
        asset_selection=[dg.AssetKey(["tcia", f"{name}_{each}"]) for each in only],
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


def said(result: dg.ExecuteInProcessResult) -> str:
    found = []
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None:
            found.append(error.message)
            error = error.cause
    return " ".join(found)


@pytest.fixture
def fetched(dagster: Dagster, fetched_root: Path) -> Dagster:
    """The plugin over the small Collection, fetched."""
    shutil.copytree(fetched_root, dagster.data_dir, dirs_exist_ok=True)
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    return dagster


def test_the_example_is_built_by_its_job(fetched: Dagster, folder: Path) -> None:
    result = build(fetched, folder)
    assert result.success
    assert checks(result) == {
        "as_frozen": True,
        "licences_as_frozen": True,
        "no_leaks": True,
        "samples_good": True,
        "files_verified": True,
    }
    facts = {name: fetched.events(f"lung_ct_{name}")[-1].metadata for name in NAMES}
    assert facts["cohort"]["images_fetched"].value == 5
    assert facts["samples"]["made"].value == 5
    assert facts["dataset"]["kept"].value == 5
    shown = list(facts["dataset"])
    assert shown[:6] == ["contact_sheet", "card", "kept", "dropped", "parts", "licences"]
    (version,) = versions.list_versions(fetched.data_dir, "lung_ct")
    assert facts["dataset"]["version"].value == version.version
    assert facts["dataset"]["dagster/uri"].value == str(version.folder)
    assert "# Lung CT with contours" in facts["dataset"]["card"].value
    assert facts["dataset"]["contact_sheet"].value.startswith(
        "![Slices of some samples](data:image"
    )
    tally = {r.data["code"]: r.data["samples"] for r in facts["samples"]["findings"].value.records}
    assert tally["target_missing"] == 5

    again = build(fetched, folder)
    assert again.success
    assert fetched.events("lung_ct_samples")[-1].metadata["made"].value == 0
    assert [v.version for v in versions.list_versions(fetched.data_dir, "lung_ct")] == [
        version.version
    ]


def test_what_fails_a_dataset_is_seen_on_its_samples(fetched: Dagster, folder: Path) -> None:
    path = folder / "lung_ct.yaml"
    path.write_text(path.read_text() + "  target_missing: fail\n")
    result = build(fetched, folder)
    assert not result.success
    assert checks(result)["samples_good"] is False
    assert fetched.events("lung_ct_samples")[-1].metadata["made"].value == 5
    assert not fetched.events("lung_ct_dataset")
    uid = fetched.uids(SMALL, "CT")[0]
    assert f"{uid}: target_missing: a label has no voxels" in said(result)


@pytest.mark.slow
def test_what_the_archive_changed_since_is_seen_on_the_cohort(
    fetched: Dagster, folder: Path
) -> None:
    assert build(fetched, folder).success
    uid = fetched.uids(SMALL, "CT")[0]
    set_column(fetched.warehouse, "LicenseName", "Creative Commons Attribution 4.0", uid)
    result = build(fetched, folder)
    assert result.success
    assert checks(result)["as_frozen"] is False
    assert checks(result)["licences_as_frozen"] is False
    assert uid in fetched.events("lung_ct_cohort")[-1].metadata["changes_since"].value
    locked = checks(build(fetched, folder, locked=True))
    assert locked["as_frozen"] is True
    assert locked["licences_as_frozen"] is False
    updated = checks(build(fetched, folder, update=True))
    assert updated["as_frozen"] is True
    assert updated["licences_as_frozen"] is True


def test_a_broken_file_fails_its_own_assets_and_says_why(fetched: Dagster, folder: Path) -> None:
    broken = EXAMPLE.read_text().replace("kind: RTSTRUCT", "kind: RTSTRUKT")
    (folder / "broken.yaml").write_text(broken)
    failed = build(fetched, folder, "broken")
    assert not failed.success
    assert "broken.yaml, line 12, target.kind: 'RTSTRUKT' is not a kind" in said(failed)
    assert not fetched.events("broken_cohort")
    assert build(fetched, folder, only=["cohort"]).success

    graph = build_definitions(datasets=folder).resolve_asset_graph()
    shown = graph.get(dg.AssetKey(["tcia", "broken_dataset"])).description
    assert shown and "cannot be used: " in shown and "line 12" in shown


def test_a_file_whose_name_is_no_name_takes_nobody_elses(tmp_path: Path, folder: Path) -> None:
    for name in ("lung-ct.yaml", "lung.ct.yaml"):
        shutil.copy(EXAMPLE, folder / name)
    found = keys(build_definitions(datasets=folder))
    assert {f"{name}_dataset" for name in ("lung_ct", "lung_ct_", "lung_ct__")} <= found


def test_without_the_extra_all_other_assets_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    code = """
import sys
sys.modules["numpy"] = None
from tcia_assets import build_definitions
import dagster as dg
defs = build_definitions(datasets=sys.argv[1])
asset = defs.resolve_asset_graph().get(dg.AssetKey(["tcia", "lung_ct_cohort"]))
assert "pip install " in asset.description and "nibabel" in asset.description, asset.description
dg.Definitions.validate_loadable(defs)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_where_files_are_looked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "lung_ct_dataset" not in keys(build_definitions())
    monkeypatch.setenv("TCIA_DATASETS_DIR", str(folder))
    assert "lung_ct_dataset" in keys(build_definitions())
    assert "lung_ct_dataset" not in keys(build_definitions(datasets=""))
    monkeypatch.setenv("TCIA_DATASETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        build_definitions()
    monkeypatch.delenv("TCIA_DATASETS_DIR")
    monkeypatch.chdir(tmp_path)
    assert "lung_ct_dataset" not in keys(build_definitions())
    folder.rename(tmp_path / "datasets")
    assert "lung_ct_dataset" in keys(build_definitions())


def test_each_asset_of_a_dataset_explains_itself(folder: Path) -> None:
    graph = build_definitions(datasets=folder, owners=["team:imaging"]).resolve_asset_graph()
    for name in NAMES:
        node = graph.get(dg.AssetKey(["tcia", f"lung_ct_{name}"]))
        assert node.description and node.description.startswith("Lung CT with contours.")
        assert node.kinds and node.owners == ["team:imaging"] and node.code_version
        assert not node.partitions_def
    parents = graph.get(dg.AssetKey(["tcia", "lung_ct_cohort"])).parent_keys
    assert {key.path[-1] for key in parents} == {
        "series",
        "image_archives",
        "images",
        "references",
    }
