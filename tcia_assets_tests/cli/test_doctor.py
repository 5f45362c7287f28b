"""`tcia-assets doctor`: a table for people, JSON for a bug report, and an exit code."""

from __future__ import annotations

import json

from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.cli.terminal import Terminal


def test_a_table_names_each_check_its_outcome_and_what_to_do(empty_terminal: Terminal) -> None:
    empty_terminal.environment["COLUMNS"] = "80"
    result = empty_terminal("doctor")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    [series] = [line for line in lines if line.startswith("series ")]
    assert series.split()[1] == "ok"
    assert "-> the first refresh makes it" in result.stdout
    assert " 0 differs, 1 unknown, in " in lines[-1]
    assert not empty_terminal.root.exists()


def test_what_differs_ends_with_1_and_its_text_cannot_forge_markup(
    empty_terminal: Terminal,
) -> None:
    page = "[red]<html>:x:\x1b[31m"
    empty_terminal.sandbox.faults.add(
        Fault("status", "getModalityValues", times=0, status=200, body=page)
    )
    result = empty_terminal("doctor")
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if line.startswith("modality_values")]
    assert line.split()[1] == "differs"
    assert "[red]<html>:x:" in result.stdout and "\x1b" not in result.stdout


def test_the_json_is_for_programs(empty_terminal: Terminal) -> None:
    result = empty_terminal("doctor", "--format", "json")
    report = json.loads(result.stdout)

    assert (result.exit_code, report["source"][:8]) == (0, "nbia-v4@")
    facts = {"source", "url", "taken_at", "seconds", "settings", "versions", "checks"}
    assert report.keys() == facts
    for check in report["checks"]:
        assert check.keys() == {"section", "name", "outcome", "seen", "advice"}
        assert check["outcome"] in {"ok", "differs", "unknown"}


def test_the_time_can_be_shortened_and_wrong_settings_are_an_error(
    empty_terminal: Terminal,
) -> None:
    empty_terminal.sandbox.faults.add(Fault("hang", "getPatient", times=0, seconds=20))
    result = empty_terminal("doctor", "--seconds", "1")
    assert (result.exit_code, "no time was left" in result.stdout) == (0, True)
    empty_terminal.environment["TCIA_DIALECT"] = "nbia-v9"
    result = empty_terminal("doctor")
    assert (result.exit_code, "nbia-v9" in result.stderr) == (2, True)
