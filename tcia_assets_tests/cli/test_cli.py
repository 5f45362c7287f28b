"""The command line; called in this process, for starting one is slow, and once for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tcia_assets.cli import main
from tcia_assets.defs.local_runs import DAGSTER_YAML
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.repository import ROOT


class Terminal:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner(env=self.environment).invoke(main, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def terminal(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # The command sets this for itself where it is unset; it must not last longer than the test.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(DAGSTER_YAML)
    return Terminal(
        {
            "TCIA_BASE_URL": sandbox.base_url("nbia-v4"),
            "TCIA_DATA_DIR": str(tmp_path / "data"),
            "COLUMNS": "200",
        }
    )


def test_a_newcomers_way_refresh_query_fetch_status(terminal: Terminal) -> None:
    assert terminal("refresh", SMALL).exit_code == 0
    answer = terminal("query", "SELECT count(*) AS n FROM current_series", "--format", "json")
    assert json.loads(answer.stdout) == [{"n": 10}]
    plan = terminal("fetch", SMALL, "--modality", "RTSTRUCT", "--dry-run")
    assert plan.exit_code == 0 and SMALL in plan.stdout
    fetched = terminal("fetch", SMALL, "--modality", "RTSTRUCT")
    assert fetched.exit_code == 0, fetched.output
    status = terminal("status")
    assert status.exit_code == 0 and SMALL in status.stdout


def test_a_misspelt_collection_names_near_ones_and_ends_with_2(terminal: Terminal) -> None:
    result = terminal("refresh", "LCTCS")

    assert result.exit_code == 2
    assert "LCTCS" in result.stderr and "'LCTSC'" in result.stderr


def test_an_unreachable_archive_is_told_with_host_and_time(terminal: Terminal) -> None:
    terminal.environment |= {"TCIA_BASE_URL": "http://127.0.0.1:9/nbia-api/services/v4"}
    result = terminal("refresh", "--all")

    assert result.exit_code == 1
    assert "no response from 127.0.0.1:9" in result.stderr
    assert "nothing was changed" in result.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TCIA_DIALECT": "nbia-v9"}, "'nbia-v4'"),
        ({"TCIA_DIALCT": "nbia-v4"}, "TCIA_DIALECT"),
        ({"TCIA_MAX_CONNECTIONS": "many"}, "whole number"),
        ({"TCIA_DIALECT": "bindaas-v3"}, "TCIA_API_KEY"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    terminal: Terminal, settings: dict[str, str], said: str
) -> None:
    terminal.environment |= settings
    result = terminal("refresh", "--all")

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_query_that_is_wrong_shows_duckdbs_words(terminal: Terminal) -> None:
    result = terminal("query", "SELECT nonsense FROM series")

    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_duckdbs_words_stand_on_one_line_without_caret(terminal: Terminal) -> None:
    said = terminal("query", "SELECT Modalty FROM series").stderr

    assert said.count("\n") == 1
    assert "; Candidate bindings" in said
    assert "LINE 1" not in said and "^" not in said and "\\n" not in said


def test_a_row_too_wide_for_the_terminal_is_a_record(terminal: Terminal) -> None:
    assert terminal("refresh", SMALL).exit_code == 0
    terminal.environment |= {"COLUMNS": "80"}
    wide = terminal("query", "FROM series", "--rows", "2").stdout
    narrow = terminal("query", "SELECT Modality, ImageCount FROM series", "--rows", "2").stdout

    assert len([line for line in wide.splitlines() if line.startswith("SeriesInstanceUID:")]) == 2
    assert max(map(len, wide.splitlines())) <= 80
    assert "10 rows, 8 not shown (--rows); too wide for a table" in " ".join(wide.split())
    assert "too wide" not in narrow and "Modality:" not in narrow


def test_a_fetch_that_selects_nothing_says_so(terminal: Terminal) -> None:
    assert terminal("refresh", SMALL).exit_code == 0
    misspelt = terminal("fetch", SMALL, "--modality", "RTSTRUCTT")
    empty = terminal("fetch", SMALL, "--modality", "ct", "--where", "ImageCount > 100000")

    assert misspelt.exit_code == empty.exit_code == 2
    assert "'RTSTRUCTT'" in misspelt.stderr and "did you mean 'RTSTRUCT'?" in misspelt.stderr
    assert "no Series is selected" in empty.stderr and "ImageCount > 100000" in empty.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("fetch", SMALL, "--max-series", "0"),
        ("query", "FROM series", "--rows", "0"),
        ("refresh", SMALL, "--max-size-requests", "-1"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    result = terminal(*arguments)

    assert result.exit_code == 2
    assert "is not in the range" in result.stderr


def test_a_limit_of_none_in_a_selection_is_refused(terminal: Terminal) -> None:
    result = terminal("fetch", "--selection", f"{{collections: {SMALL}, max_series_per_run: 0}}")

    assert result.exit_code == 2
    assert "must be 1 or more" in result.stderr


def test_an_output_that_cannot_be_written_is_one_line(terminal: Terminal) -> None:
    result = terminal("query", "SELECT 1", "--format", "parquet", "--output", "/nonexist/x.parquet")

    assert result.exit_code == 2
    assert "--output '/nonexist/x.parquet'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["refresh", "fetch", "query", "status"])
def test_a_data_folder_that_is_a_file_is_one_line(
    terminal: Terminal, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    terminal.environment |= {"TCIA_DATA_DIR": str(tmp_path / "file")}
    given = {"query": ["SELECT 1"], "status": []}.get(command, [SMALL])
    result = terminal(command, *given)

    assert result.exit_code == 2
    assert "TCIA_DATA_DIR" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("a: [", "dagster.yaml"), ("nonsense: 1", "nonsense"), ("- 1", "dictionary")],
)
def test_a_dagster_home_that_is_broken_is_one_line(
    terminal: Terminal, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "home" / "dagster.yaml").write_text(content)
    result = terminal("refresh", SMALL)

    assert result.exit_code == 2
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_relative_dagster_home_is_one_line(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "home")
    result = terminal("refresh", SMALL)

    assert result.exit_code == 2
    assert "DAGSTER_HOME is 'home'" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "pydicom", "numpy"])
def test_a_sandbox_in_a_core_install_names_the_extra(missing: str) -> None:
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
    assert "tcia_assets[sandbox]" in result.stderr and result.stderr.count("\n") == 1


def test_the_sandbox_ends_by_saying_what_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "run", Sandbox.close)
    *_, dialect, url = CliRunner().invoke(main, ["sandbox", "--port", "0"]).stdout.splitlines()

    assert dialect == "export TCIA_DIALECT=nbia-v4"
    assert url.startswith("export TCIA_BASE_URL=http://127.0.0.1:")
    assert url.endswith("/nbia-api/services/v4")


def test_every_format_of_an_answer_holds_the_same_rows(terminal: Terminal, tmp_path: Path) -> None:
    assert terminal("refresh", SMALL).exit_code == 0
    statement = "SELECT SeriesInstanceUID, ImageCount FROM series ORDER BY 1"
    as_json = json.loads(terminal("query", statement, "--format", "json").stdout)
    lines = terminal("query", statement, "--format", "csv").stdout.splitlines()
    file = tmp_path / "answer.parquet"
    assert terminal("query", statement, "--format", "parquet", "--output", str(file)).exit_code == 0

    assert len(as_json) == len(lines) - 1 == 10
    assert pq.read_table(file).to_pylist() == as_json


def test_status_names_the_collections_that_the_archive_lists_no_more(
    terminal: Terminal, sandbox: Sandbox
) -> None:
    assert terminal("refresh", SMALL).exit_code == 0
    assert "Suspect" not in terminal("status").stdout
    hidden = sandbox.archive.hide(collection=SMALL)
    assert terminal("refresh", "VICTRE").exit_code == 0
    [line] = [row for row in terminal("status").stdout.splitlines() if "Suspect" in row]
    assert line.endswith(SMALL)
    sandbox.archive.show(hidden)
    assert terminal("refresh", SMALL).exit_code == 0
    assert "Suspect" not in terminal("status").stdout


def test_status_and_changes_of_nothing_say_what_to_do(terminal: Terminal) -> None:
    for command in ("status", "changes"):
        result = terminal(command)
        assert result.exit_code == 0
        assert "the warehouse is empty: run `tcia-assets refresh` first" in result.stderr


def test_help_has_examples_for_every_command() -> None:
    for name in main.commands:
        text = CliRunner().invoke(main, [name, "--help"]).output
        assert "Usage:" in text
        assert name == "tables" or "Examples:" in text


@pytest.mark.parametrize("name", ["", "sandbox", "refresh", "fetch", "query", "status", "changes"])
def test_each_example_in_the_help_stands_on_a_line_of_its_own(name: str) -> None:
    text = CliRunner().invoke(main, [*name.split(), "--help"]).output
    examples = [line for line in text.splitlines() if "tcia-assets " in line]

    assert "\\b" not in text
    assert len(examples) >= 2
    assert all(e.startswith("    tcia-assets ") and e.count("tcia-assets ") == 1 for e in examples)


def test_the_installed_command_runs_without_settings(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TCIA_")}
    result = subprocess.run(
        [sys.executable, "-m", "tcia_assets", "query", "SELECT count(*) AS n FROM series"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "0" in result.stdout


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_an_instant_in_nanoseconds_is_shown_as_it_is(form: str, tmp_path: Path) -> None:
    question = "SELECT TIMESTAMP_NS '2024-01-02 03:04:05.123456789' AS at"
    result = subprocess.run(
        [sys.executable, "-m", "tcia_assets", "query", question, "--format", form],
        env={k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
        | {"PYTHONPATH": str(ROOT), "TCIA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2024-01-02 03:04:05.123456789" in result.stdout, result.stderr
