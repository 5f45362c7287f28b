"""The plugin as a component: what `build_definitions` takes, as YAML in a project of `dg`."""

import json
import os
import re
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field, create_model

from tcia_assets.defs.names import Names
from tcia_assets.defs.plugin import build_definitions
from tcia_assets.defs.resource import TciaResource
from tcia_assets.defs.setting_fields import SettingFields, setting
from tcia_assets.errors import UsageError
from tcia_assets.metadata.selection_parser import (
    parse_selection,
    selection_from_fields,
    selection_to_fields,
)
from tcia_assets.settings import Settings, variable

__all__ = ["TciaMirrorComponent"]

_SECRETS = tuple(name for name, field in Settings.model_fields.items() if not field.repr)


class _ScaffoldOptions(BaseModel):
    """The options of `dg scaffold defs` for a mirror."""

    collections: str | None = None
    """Collections to mirror, separated by commas; all by default."""
    key_prefix: str = "tcia"
    """Prefix of all names."""
    data_dir: str | None = None
    """Root folder of everything that is written; below the project's `data` by default."""


class _MirrorScaffolder(dg.Scaffolder[_ScaffoldOptions]):
    @classmethod
    def get_scaffold_params(cls) -> type[_ScaffoldOptions]:
        return _ScaffoldOptions

    def scaffold(self, request: dg.ScaffoldRequest[_ScaffoldOptions]) -> None:
        """Write YAML, or Python, with the attributes that most mirrors have."""
        given = request.params
        # As in `build_definitions`: no two mirrors share a folder.
        below = "data" if given.key_prefix == Names().name else f"data/{given.key_prefix}"
        data_dir = given.data_dir or f"{{{{ context.project_root }}}}/{below}"
        attributes: dict[str, Any] = {"key_prefix": given.key_prefix, "data_dir": data_dir}
        names = [name.strip() for name in (given.collections or "").split(",")]
        if collections := [name for name in names if name]:
            attributes["collections"] = collections
        if request.scaffold_format == "yaml":
            dg.scaffold_component(request, attributes)
            return
        arguments = {name: json.dumps(value) for name, value in attributes.items()}
        if not given.data_dir:
            arguments["data_dir"] = f'str(context.project_root / "{below}")'
        _write_python(request.target_path / "component.py", arguments)


@dg.scaffold_with(_MirrorScaffolder)
class TciaMirrorComponent(SettingFields, dg.Component, dg.Model, dg.Resolvable):
    """A mirror of The Cancer Imaging Archive: metadata, images and datasets as assets.

    The attributes are the arguments of `build_definitions` and the fields of `TciaResource`. A
    setting that is not given is read from the environment (TCIA_DATA_DIR, ...) when a run starts.
    Secrets are given by the names of their variables, as what stands here is shown in the UI.

    Relative paths of `image_selection` and `datasets` are relative to the folder of the YAML file.
    """

    key_prefix: str | list[str] = Field(
        default="tcia", description="prefix of all names: assets `<prefix>/series`, ..."
    )
    group_name: str | None = Field(
        default=None,
        description="begin of the asset groups `<group>_metadata`, `<group>_images` and "
        "`<group>_datasets`; default: the prefix",
    )
    owners: list[str] = Field(default=[], description="owners of all assets: `team:imaging`")
    image_selection: str | dict[str, Any] | None = setting("image_selection")
    datasets: str | None = Field(
        default=None,
        description="folder of dataset declarations, empty for none; default: TCIA_DATASETS_DIR",
    )
    api_key_env: str | None = Field(
        default=None, description="name of the variable with the API key; default: TCIA_API_KEY"
    )
    username_env: str | None = Field(
        default=None, description="name of the variable with the user; default: TCIA_USERNAME"
    )
    password_env: str | None = Field(
        default=None, description="name of the variable with the password; default: TCIA_PASSWORD"
    )
    sensor_interval_s: int | None = setting("sensor_interval_s")
    compare_cron: str | None = setting("compare_cron")
    op_tags: dict[str, Any] | None = Field(default=None, description="tags of all steps")
    metadata_pool: str | None = Field(
        default=None, description="pool of the steps that refresh metadata; default: none"
    )
    images_pool: str | None = Field(
        default=None, description="pool of the step that fetches; default: `<prefix>_images`"
    )
    datasets_pool: str | None = Field(
        default=None, description="pool of the steps that build datasets; default: none"
    )

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return what Dagster checks YAML with, with the descriptions, which it leaves out."""
        derived = super().model()
        described: dict[str, Any] = {
            name: (field.annotation, Field(field.default, description=about))
            for name, field in derived.model_fields.items()
            if (about := cls.model_fields[name].description)
        }
        return create_model(derived.__name__, __base__=derived, **described)

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the spec of an asset; override it to change descriptions, groups, tags and such.

        Args:
            spec: What `build_definitions` declares.
        """
        return spec

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions of the mirror.

        Raises:
            UsageError: An attribute cannot be used.
        """
        folder = context.path if context.path.is_dir() else context.path.parent
        return build_definitions(
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            owners=self.owners,
            resource=self._resource(folder),
            sensor_interval_s=self.sensor_interval_s,
            compare_cron=self.compare_cron,
            datasets=str(folder / self.datasets) if self.datasets else self.datasets,
            op_tags=self.op_tags,
            metadata_pool=self.metadata_pool,
            images_pool=self.images_pool,
            datasets_pool=self.datasets_pool,
            get_asset_spec=self.get_asset_spec,
        )

    def _resource(self, folder: Path) -> TciaResource:
        names = SettingFields.model_fields
        given: dict[str, Any] = {
            name: v for name in names if (v := getattr(self, name)) is not None
        }
        if self.image_selection:
            given["image_selection"] = _selection_text(self.image_selection, folder)
        # Errors show now rather than in a run. What is not given here may be unknown until then,
        # but for the dialect, which decides what may be given.
        own = {k: text for k, text in os.environ.items() if k == variable("dialect")}
        settings = {name: v for name, v in given.items() if name in Settings.model_fields}
        Settings.from_env(own, **settings, **dict.fromkeys(_SECRETS, "read-in-a-run"))
        return TciaResource(**given | self._secrets())

    def _secrets(self) -> dict[str, Any]:
        named = {name: getattr(self, f"{name}_env") for name in _SECRETS}
        for name, text in named.items():
            if text is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
                # It may be the secret itself: it is not repeated.
                raise UsageError(
                    f"{name}_env must be the name of an environment variable, such as "
                    f"{variable(name)}, and never the secret itself"
                )
        return {name: dg.EnvVar(text) for name, text in named.items() if text}


def _selection_text(given: str | dict[str, Any], folder: Path) -> str:
    """Return an image selection as the setting takes it, with paths that hold everywhere."""
    if isinstance(given, dict):
        return json.dumps(selection_to_fields(selection_from_fields(given, folder=folder)))
    is_name = "{" not in given and given.endswith((".yaml", ".yml", ".json"))
    text = str(folder / given) if is_name else given
    parse_selection(text)
    return text


def _write_python(path: Path, arguments: dict[str, str]) -> None:
    name = TciaMirrorComponent.__name__
    lines = "".join(f"        {argument}={text},\n" for argument, text in arguments.items())
    path.write_text(
        f"import dagster as dg\n\nfrom {__name__} import {name}\n\n\n"
        f"@dg.component_instance\ndef load(context: dg.ComponentLoadContext) -> {name}:\n"
        f"    return {name}(\n{lines}    )\n",
        encoding="utf-8",
    )
