"""The plugin is built from its arguments; only what they leave open is read from settings."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import Mirror, TciaResource, build_definitions
from tcia_assets.errors import UsageError


def test_a_wrong_folder_of_datasets_stops_nothing_that_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_DATASETS_DIR", "nowhere")
    monkeypatch.delitem(sys.modules, "tcia_assets.definitions", raising=False)
    build_definitions(datasets="")
    Mirror(tmp_path / "data")._open_runs()

    assert (tmp_path / "data" / "dagster").is_dir()
    with pytest.raises(UsageError, match="there is no folder 'nowhere' of datasets"):
        build_definitions()


def steps(definitions: dg.Definitions) -> dict[str, dg.OpDefinition]:
    """Return the ops of all assets and checks by name."""
    found = (a.op for a in definitions.assets or [] if isinstance(a, dg.AssetsDefinition))
    checks = (check.node_def for check in definitions.asset_checks or [])
    return {op.name: op for op in (*found, *checks) if isinstance(op, dg.OpDefinition)}


def test_each_stage_has_a_pool_of_its_own_if_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "lung.yaml").write_text("", encoding="utf-8")
    pools = {"metadata_pool": "archive", "images_pool": "bytes", "datasets_pool": "cpu"}
    chosen = steps(build_definitions(datasets=tmp_path, **pools))
    plain = steps(build_definitions(datasets=tmp_path))

    assert {name: op.pool for name, op in chosen.items()} == {
        "tcia_collections": "archive",
        "tcia_metadata": "archive",
        "tcia_clinical_tables": "archive",
        "tcia_catalogue_pages": "archive",
        "tcia_shared_lists": "archive",
        "tcia_image_archives": "bytes",
        "tcia_lung_cohort": "cpu",
        "tcia_lung_samples": "cpu",
        "tcia_lung_dataset": "cpu",
        "tcia__lung_dataset_files_verified": "cpu",
        "tcia__mirror_refreshed_lately": "archive",
    }
    assert {name: op.pool for name, op in plain.items() if op.pool} == {
        "tcia_image_archives": "tcia_images"
    }


def test_each_step_has_the_tags_that_are_given() -> None:
    tags = {"dagster-celery/queue": "imaging"}
    tagged = steps(build_definitions(datasets="", op_tags=tags))

    assert tagged
    assert all(op.tags.items() >= tags.items() for op in tagged.values())


def test_what_is_shown_of_an_asset_can_be_changed_but_not_its_key() -> None:
    def group(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(group_name=spec.key.path[-1])

    graph = build_definitions(datasets="", get_asset_spec=group).resolve_asset_graph()
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}

    assert groups == {key.path[-1] for key in graph.get_all_asset_keys()}
    with pytest.raises(UsageError, match="tcia/collections the key other; keys can be changed by"):
        build_definitions(get_asset_spec=lambda spec: spec.replace_attributes(key="other"))


def test_a_resource_with_an_empty_subfolder_gets_one_beside_another_mirror() -> None:
    made = build_definitions(key_prefix="nlst", resource=TciaResource(subfolder=""))

    assert (made.resources or {})["nlst"].subfolder == "nlst"
