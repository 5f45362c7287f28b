"""The command group: exit codes, settings, help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from tcia_assets.cli import main
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.cli.terminal import CONTOURS, Terminal, words
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.repository import ROOT


@pytest.mark.slow
@pytest.mark.usefixtures("events_on_disk")
def test_a_collection_is_refreshed_queried_fetched_and_shown(empty_terminal: Terminal) -> None:
    assert empty_terminal("refresh", SMALL).exit_code == 0
    answer = empty_terminal("query", "SELECT count(*) AS n FROM current_series", "--format", "json")
    assert json.loads(answer.stdout) == [{"n": 10}]
    plan = empty_terminal("fetch", SMALL, "--modality", "RTSTRUCT", "--dry-run")
    assert plan.exit_code == 0 and SMALL in plan.stdout
    fetched = empty_terminal("fetch", SMALL, "--modality", "RTSTRUCT")
    assert fetched.exit_code == 0, fetched.output
    status = empty_terminal("status")
    assert status.exit_code == 0 and SMALL in status.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TCIA_DIALECT": "nbia-v9"}, "'nbia-v4'"),
        ({"TCIA_DIALCT": "nbia-v4"}, "TCIA_DIALECT"),
        ({"TCIA_MAX_CONNECTIONS": "many"}, "whole number"),
        ({"TCIA_DIALECT": "bindaas-v3"}, "TCIA_API_KEY"),
    ],
)
def test_an_invalid_setting_is_named(
    empty_terminal: Terminal, settings: dict[str, str], said: str
) -> None:
    empty_terminal.environment |= settings
    result = empty_terminal("refresh", "--all")

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("fetch", SMALL, "--max-series", "0"),
        ("query", "FROM series", "--rows", "0"),
        ("refresh", SMALL, "--max-size-requests", "-1"),
    ],
)
def test_a_limit_out_of_range_is_refused(
    empty_terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    result = empty_terminal(*arguments)

    assert result.exit_code == 2
    assert "is not in the range" in result.stderr


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


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_help_of_commands_on_images_has_three_examples(command: str) -> None:
    said = CliRunner().invoke(main, [command, "--help"]).stdout

    examples = said.partition("Examples:")[2]
    assert examples.count(f"tcia-assets {command}") >= 3


def test_the_command_runs_without_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("TCIA_", "DAGSTER_HOME"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["query", "SELECT count(*) AS n FROM series"])

    assert result.exit_code == 0, result.stderr
    assert "0" in result.stdout


def start(terminal: Terminal, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TCIA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tcia_assets", *arguments],
        env=environment | terminal.environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it puts in the background with Ctrl-C ignored, and that is inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow  # the next one waits for another attempt, and this one for a reply
def test_ctrl_c_while_a_request_waits_ends_with_130(empty_terminal: Terminal) -> None:
    sandbox = empty_terminal.sandbox
    sandbox.faults.add(Fault("hang", "getCollectionValues", times=0, seconds=2.0))
    process = start(empty_terminal, "refresh", SMALL)
    wait_for(lambda: sandbox.requests["getCollectionValues"])
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130, stderr
    assert "Interrupted: what was complete is kept" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("command", "endpoint"),
    [
        pytest.param(("fetch", "1.2.840.1"), "getSeries", id="fetch"),
        pytest.param(("refresh", SMALL), "getPatient", id="refresh", marks=pytest.mark.slow),
    ],
)
def test_a_long_wait_for_the_source_is_shown_while_it_lasts_and_ended_by_ctrl_c(
    empty_terminal: Terminal, command: tuple[str, ...], endpoint: str
) -> None:
    fault = Fault("status", endpoint, times=0, status=429, retry_after="999999999")
    empty_terminal.sandbox.faults.add(fault)
    process = start(empty_terminal, *command)
    assert process.stderr is not None
    shown = next(line for line in process.stderr if "waiting" in line)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert "(status 429); waiting 300 s before attempt 2 of 5" in shown
    assert process.returncode == 130, stderr
    assert "Interrupted: what was complete is kept" in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_in_a_callback_of_a_weak_reference_is_not_lost() -> None:
    code = """
import os, signal, time, weakref
import click
from tcia_assets.cli.app import main

# A process that is started in the background may ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

@main.command
def wait():
    thing = type("Thing", (), {})()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    time.sleep(20)
    print("went on")

main(["wait"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=15
    )

    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_fetch_with_130_and_shows_what_is_kept(
    terminal: Terminal, times: int
) -> None:
    terminal.sandbox.faults.add(Fault("hang", "getImageWithMD5Hash", times=0, seconds=1.0))
    process = start(terminal, *CONTOURS)
    wait_for(lambda: list((terminal.root / "archives").rglob("*.zip")))
    time.sleep(0.3)  # a zip has its name a moment before it has its row
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    stdout, stderr = process.communicate(timeout=60)

    # The second one may end the process as a signal does, which a shell reports as 130 too.
    assert process.returncode in {130, -signal.SIGINT if times > 1 else 130}, stderr
    assert "Interrupted: what was complete is kept" in stderr
    assert "Traceback" not in stderr
    if times == 1:  # after two its row may be in the journal, for the next fetch
        complete = sum(status == "complete" for status in terminal.statuses.values())
        assert complete >= 1
        [line] = [line for line in stdout.splitlines() if line.startswith(SMALL)]
        assert words(line)[3] == str(complete)
