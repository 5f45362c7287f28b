"""The resource: its settings, and the one of a run in this process."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import TciaResource
from tcia_assets.defs.resource import open_local_resource
from tcia_assets.errors import UsageError
from tcia_assets.progress import note
from tcia_assets.settings import Settings


def test_a_field_replaces_its_variable_and_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_DATA_DIR", str(tmp_path / "set"))
    monkeypatch.setenv("TCIA_MAX_CONNECTIONS", "3")
    settings = TciaResource(data_dir=str(tmp_path), collections=["LCTSC"]).settings

    assert (settings.root, settings.max_connections) == (tmp_path, 3)
    assert settings.collections == ("LCTSC",)
    assert TciaResource(subfolder="second").settings.root == tmp_path / "set" / "second"


def test_every_setting_is_a_field_but_those_that_no_run_reads() -> None:
    missing = Settings.model_fields.keys() - TciaResource.model_fields.keys()
    assert missing == {"sensor_interval_s", "compare_cron", "datasets_dir"}


def test_an_invalid_field_is_named_when_the_settings_are_read() -> None:
    with pytest.raises(UsageError, match="TCIA_MAX_CONNECTIONS"):
        _ = TciaResource(max_connections=0).settings


def test_the_selection_is_none_unless_it_is_set() -> None:
    assert TciaResource().selection is None
    selection = TciaResource(image_selection="{modalities: [CT]}").selection
    assert selection is not None and selection.modalities == ("CT",)


def test_a_local_resource_uses_its_settings_and_not_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCIA_IMAGE_SELECTION", "{modalities: [CT]}")
    with open_local_resource(Settings(data_dir=str(tmp_path))) as resource:
        assert resource.selection is None
        assert resource.warehouse.root == tmp_path.resolve()
        assert resource.source_of_metadata.settings is resource.settings


def test_secrets_are_not_in_the_configuration_of_a_local_run(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), username="someone", password="secret-text")
    seen: list[object] = []

    @dg.op(required_resource_keys={"tcia"})
    def look(context) -> None:  # Dagster refuses an annotation that is a text
        seen.append(context.resources.tcia.settings.password)

    @dg.job(resource_defs={"tcia": TciaResource()})
    def looking() -> None:
        look()

    with open_local_resource(settings) as resource, dg.DagsterInstance.ephemeral() as instance:
        result = looking.execute_in_process(instance=instance, resources={"tcia": resource})
        run = instance.get_run_by_id(result.run_id)

    assert seen == ["secret-text"]
    assert run is not None and "secret-text" not in repr(run)


def test_notes_are_in_the_log_of_a_run_of_dagster(tmp_path: Path) -> None:
    @dg.op(required_resource_keys={"tcia"})
    def wait() -> None:
        note("waiting 300 s")

    @dg.job(resource_defs={"tcia": TciaResource(data_dir=str(tmp_path))})
    def waiting() -> None:
        wait()

    with dg.DagsterInstance.ephemeral() as instance:
        run = waiting.execute_in_process(instance=instance).run_id
        logged = [each.user_message for each in instance.all_logs(run)]

    assert "waiting 300 s" in logged
