"""The component: YAML of a Dagster project becomes the definitions of a mirror."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from tcia_assets import build_definitions
from tcia_assets.catalog import TABLES
from tcia_assets.components import TciaMirrorComponent
from tcia_assets.defs.catalogue import CATALOGUE
from tcia_assets.defs.mirror import MIRROR
from tcia_assets.defs.resource import TciaResource
from tcia_assets.errors import TciaError
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets_tests.repository import ROOT

ASSETS = (MIRROR, CATALOGUE, *(table.name for table in TABLES))
EXAMPLE = ROOT / "examples" / "dg_project"
TYPE = "tcia_assets.components.TciaMirrorComponent"
Load = Callable[..., dg.Definitions]

# Dagster's own loader of components uses what Dagster calls beta, and what pydantic calls old.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
]


class Recoloured(TciaMirrorComponent):
    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.merge_attributes(tags={"seen": spec.key.path[-1]})


@pytest.fixture
def project() -> Iterator[DefsFolderSandbox]:
    with create_defs_folder_sandbox() as project:
        yield project


@pytest.fixture
def load(project: DefsFolderSandbox) -> Load:
    def load(of: type[TciaMirrorComponent] = TciaMirrorComponent, **given: Any) -> dg.Definitions:
        contents = {"type": f"{of.__module__}.{of.__name__}", "attributes": given}
        path = project.scaffold_component(of, "mirror", defs_yaml_contents=contents)
        with project.load_component_and_build_defs(path) as (_, definitions):
            return definitions

    return load


def resource(definitions: dg.Definitions, name: str = "tcia") -> TciaResource:
    found = (definitions.resources or {})[name]
    assert isinstance(found, TciaResource)
    return found


def refusal(load: Load, **given: Any) -> str:
    """Return our error, which Dagster wraps in one that shows where the component is."""
    with pytest.raises(Exception, match="Error while building definitions") as raised:
        load(**given)
    assert isinstance(raised.value.__cause__, TciaError)
    return str(raised.value.__cause__)


def keys(definitions: dg.Definitions) -> list[str]:
    graph = definitions.resolve_asset_graph()
    return sorted(key.to_user_string() for key in graph.get_all_asset_keys())


def test_every_setting_is_an_attribute_and_a_secret_only_the_name_of_its_variable() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if not field.repr}
    attributes = TciaMirrorComponent.model_fields.keys()

    assert secrets == {"api_key", "username", "password"}
    assert not secrets & attributes
    assert {f"{name}_env" for name in secrets} <= attributes
    of_definitions = {"sensor_interval_s", "compare_cron"}
    assert (TciaResource.model_fields.keys() | of_definitions) - secrets <= attributes


def test_every_argument_of_the_factory_is_an_attribute_or_to_override() -> None:
    arguments = build_definitions.__kwdefaults__.keys() - {"resource"}
    for name in arguments:
        assert hasattr(TciaMirrorComponent, name) or name in TciaMirrorComponent.model_fields


def test_every_attribute_is_described_where_editors_and_dg_look() -> None:
    properties = TciaMirrorComponent.model().model_json_schema()["properties"]

    assert properties.keys() == TciaMirrorComponent.model_fields.keys()
    assert [name for name, each in properties.items() if not each.get("description")] == []


def test_attributes_become_the_definitions(load: Load, tmp_path: Path) -> None:
    definitions = load(
        key_prefix=["imaging", "tcia"],
        data_dir=str(tmp_path),
        collections=["LCTSC"],
        max_connections=3,
        image_selection={"modalities": ["CT"]},
        compare_cron="0 3 * * *",
        owners=["team:imaging"],
    )

    dg.Definitions.validate_loadable(definitions)
    assert keys(definitions) == sorted(f"imaging/tcia/{name}" for name in ASSETS)
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["imaging", "tcia", "series"])).owners == ["team:imaging"]
    settings = resource(definitions, "imaging_tcia").settings
    assert (settings.root, settings.collections) == (tmp_path, ("LCTSC",))
    assert settings.max_connections == 3
    assert resource(definitions, "imaging_tcia").selection is not None
    assert "0 3 * * *" in {str(s.cron_schedule) for s in definitions.schedules or []}


def test_what_is_not_given_is_read_from_the_environment(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    definitions = load()
    monkeypatch.setenv("TCIA_DATA_DIR", str(tmp_path))

    assert resource(definitions).settings.root == tmp_path


def test_a_run_reads_a_secret_from_the_variable_that_is_named_and_records_none(
    load: Load, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The dialect is refused without a key, so this also shows that none is needed to load it.
    url = sandbox.base_url("bindaas-v3")
    definitions = load(
        dialect="bindaas-v3", base_url=url, data_dir=str(tmp_path), api_key_env="IMAGING_KEY"
    )
    key = sandbox.authenticator.api_key
    monkeypatch.setenv("IMAGING_KEY", key)
    job = definitions.resolve_job_def("tcia_list_collections")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        recorded = repr(instance.get_run_by_id(result.run_id)) + repr(result.all_events)

    assert (tmp_path / "warehouse" / "collections").is_dir()
    assert key not in recorded
    assert key not in repr(definitions)


def test_a_secret_in_place_of_a_name_is_refused_and_not_repeated(load: Load) -> None:
    refused = refusal(load, api_key_env="3f9c-secret!")

    assert "api_key_env must be the name of an environment variable" in refused
    assert "3f9c" not in refused


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_connections": 0}, "TCIA_MAX_CONNECTIONS is 0"),
        ({"dialect": "nbia-v9"}, "nbia-v9"),
        ({"image_selection": {"modality": ["CT"]}}, "modalit"),
        ({"image_selection": "absent.yaml"}, "absent.yaml"),
        ({"datasets": "absent"}, "there is no folder"),
        ({"key_prefix": "a b"}, "key_prefix"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_loaded(
    load: Load, given: dict[str, Any], named: str
) -> None:
    assert named in refusal(load, **given)


def test_the_dialect_of_the_environment_decides_which_url_is_right(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://archive.example/nbia-api/services/v1"
    assert "TCIA_DIALECT" in refusal(load, base_url=url)
    monkeypatch.setenv("TCIA_DIALECT", "nbia-v1")

    assert resource(load(base_url=url)).settings.url == url


def test_paths_are_relative_to_the_folder_of_the_yaml_file(
    load: Load, project: DefsFolderSandbox
) -> None:
    folder = project.defs_folder_path / "mirror"
    (folder / "sets").mkdir(parents=True)
    shutil.copy(ROOT / "datasets" / "lung_ct.yaml", folder / "sets")
    (folder / "wanted.yaml").write_text("{modalities: [MR]}", encoding="utf-8")
    definitions = load(datasets="sets", image_selection="wanted.yaml")

    assert "tcia/lung_ct_dataset" in keys(definitions)
    selection = resource(definitions).selection
    assert selection is not None and selection.modalities == ("MR",)


def test_a_subclass_changes_what_is_shown_of_assets(load: Load) -> None:
    graph = load(Recoloured).resolve_asset_graph()

    assert graph.get(dg.AssetKey(["tcia", "series"])).tags["seen"] == "series"
    assert len(graph.get_all_asset_keys()) == len(ASSETS)


def test_two_mirrors_are_two_components_of_one_project(project: DefsFolderSandbox) -> None:
    for prefix in ("tcia", "idc"):
        project.scaffold_component(
            TciaMirrorComponent,
            prefix,
            defs_yaml_contents={"type": TYPE, "attributes": {"key_prefix": prefix}},
        )
    with project.build_all_defs() as definitions:
        assert len(keys(definitions)) == 2 * len(ASSETS)


@pytest.mark.parametrize("kind", ["yaml", "python"])
def test_scaffolds_of_two_mirrors_load_and_share_no_folder(
    project: DefsFolderSandbox, kind: Any
) -> None:
    options = {"collections": "LCTSC, 4D-Lung", "key_prefix": "lung"}
    project.scaffold_component(TciaMirrorComponent, "lung", options, scaffold_format=kind)
    project.scaffold_component(TciaMirrorComponent, "all", scaffold_format=kind)
    with project.build_all_defs() as definitions:
        lung, everything = (resource(definitions, name).settings for name in ("lung", "tcia"))

    assert (lung.collections, everything.collections) == (("LCTSC", "4D-Lung"), ())
    assert everything.root == project.project_root / "data"
    assert lung.root == project.project_root / "data" / "lung"


def test_the_example_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    definitions = dg.load_from_defs_folder(path_within_project=EXAMPLE)

    dg.Definitions.validate_loadable(definitions)
    assert keys(definitions) == sorted(f"tcia/{name}" for name in ASSETS)
    node = definitions.resolve_asset_graph().get(dg.AssetKey(["tcia", "image_archives"]))
    assert node.tags["storage"] == "large"


def test_the_components_in_the_docs_load(project: DefsFolderSandbox) -> None:
    page = "docs/component.md"
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(type: .*?)```", text, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        path = project.scaffold_component(TciaMirrorComponent, "mirror")
        (path / "defs.yaml").write_text(block, encoding="utf-8")
        with project.load_component_and_build_defs(path) as (_, definitions):
            dg.Definitions.validate_loadable(definitions)
    [program] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    module = ModuleType("mirrors")
    exec(compile(program, page, "exec"), module.__dict__)
    graph = dg.build_defs_for_component(module.OurMirror()).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["tcia", "image_archives"])).group_name == "tcia_image"


# --- With dg itself -------------------------------------------------------------------------------


def run_dg(folder: Path, *arguments: str) -> str:
    command = Path(sys.executable).with_name("dg")
    if not command.exists():
        pytest.skip("dagster-dg-cli is not installed")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [command, *arguments],
        cwd=folder,
        env=environment | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_dg_finds_nothing_wrong_with_the_example() -> None:
    assert "validated successfully" in run_dg(EXAMPLE, "check", "yaml")
    assert "All definitions loaded successfully" in run_dg(EXAMPLE, "check", "defs")
    assert "tcia/series_changes" in run_dg(EXAMPLE, "list", "defs")
    assert TYPE in run_dg(EXAMPLE, "list", "components")


@pytest.mark.slow
def test_dg_scaffolds_a_mirror_of_some_collections(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("tcia", "data", "__pycache__"))
    run_dg(project, "scaffold", "defs", TYPE, "lung", "--collections", "LCTSC,4D-Lung")
    text = (project / "dg_project" / "defs" / "lung" / "defs.yaml").read_text(encoding="utf-8")

    assert "- LCTSC\n    - 4D-Lung" in text
    assert "All definitions loaded successfully" in run_dg(project, "check", "defs")
