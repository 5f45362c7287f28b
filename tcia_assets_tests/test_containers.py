"""Files that package or deploy the project agree with it, as far as that shows without Docker."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets_tests.repository import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Names that conda-forge gives to packages of PyPI.
CONDA = {"duckdb": "python-duckdb"}


def test_the_compose_file_keeps_its_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, ROOT / "compose.yaml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_service_has_a_health_check_and_what_it_waits_for_exists(service: str) -> None:
    about = COMPOSE["services"][service]

    assert about["healthcheck"]["test"]
    assert set(about.get("depends_on", {})) <= set(COMPOSE["services"])
    for volume in about["volumes"]:
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).is_dir()


def test_no_port_is_open_to_others_and_no_password_is_in_the_file() -> None:
    for about in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in about.get("ports", []))
        assert about["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


@pytest.mark.parametrize("service", ["code", "webserver", "daemon"])
def test_the_options_of_every_command_exist(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = COMPOSE["services"][service]["command"]
    given = [word for word in words if word.startswith("--")]
    command = [word for word in words[1:3] if not word.startswith("--")]
    # In this process, which has imported most of what a process of its own takes 2 s to import.
    [program] = entry_points(group="console_scripts", name=words[0])
    monkeypatch.setattr(sys, "argv", [words[0], *command, "--help"])
    with pytest.raises(SystemExit) as ended:
        program.load()()
    shown = capsys.readouterr().out

    assert ended.value.code == 0
    assert [option for option in given if option not in shown] == []


def test_the_dockerfile_has_no_fault_that_hadolint_finds() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_does_not_run_as_root_and_copies_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM")) :]

    assert "USER 1000" in last
    [copied] = [line for line in last if line.startswith("COPY --chown")]
    for name in copied.split()[2:-1]:
        assert (ROOT / name).is_file()


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    run = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    needed = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}

    assert run.keys() == {"python"} | {CONDA.get(name, name) for name in needed}
    for name, requirement in needed.items():
        assert set(run[CONDA.get(name, name)].split(",")) == set(
            str(requirement.specifier).split(",")
        )


@pytest.mark.parametrize(
    "file", ["docker/dagster.yaml", "docs/how-to/postgres.md", "docs/scale-out.md"]
)
def test_postgres_is_configured_with_the_driver_that_is_installed(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")

    # Without it, SQLAlchemy 2.1 looks for psycopg 3, and nothing starts.
    assert text.count("postgres_db:") == text.count("scheme: postgresql+psycopg2") == 1


def test_ticks_are_deleted_as_in_a_home_of_the_command_line() -> None:
    in_containers = yaml.safe_load((ROOT / "docker" / "dagster.yaml").read_text(encoding="utf-8"))

    assert in_containers["retention"] == yaml.safe_load(DAGSTER_YAML)["retention"]
