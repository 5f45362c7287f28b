"""The plan that a dry run prints."""

from __future__ import annotations

from tcia_assets_tests.cli.terminal import CONTOURS, Terminal, words
from tcia_assets_tests.conftest import SMALL


def test_a_dry_run_prints_the_plan_and_fetches_nothing(
    terminal: Terminal,
) -> None:
    result = terminal(*CONTOURS, "--dry-run", "--max-series", "2")

    assert result.exit_code == 0, result.output
    assert words(result.stdout.splitlines()[0]) == words(
        "Collection on disk to fetch bytes reasons left out"
    )
    line = " ".join(words(result.stdout.split(SMALL, 1)[1]))
    assert line.startswith("0 2 ")
    assert "2 new" in line and "3 later" in line and "kB" in line
    assert not terminal.sent_image_requests and terminal.statuses == {}
