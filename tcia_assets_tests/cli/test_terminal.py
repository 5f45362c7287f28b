"""What commands print with: escaping, progress bars."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tcia_assets.cli import terminal
from tcia_assets.cli.terminal import printable, run_progress_bar


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What is printed to standard error."""
    file = StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=file, width=120))
    return file


def test_a_bar_is_full_only_after_success(shown: StringIO) -> None:
    def interrupted() -> None:
        with run_progress_bar("Images") as report:
            report(3, 9, "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "3/9" in shown.getvalue() and "9/9" not in shown.getvalue()
    with run_progress_bar("Images") as report:
        report(3, 9, "")
    assert "9/9" in shown.getvalue()


def test_escaped_text_has_no_effect_on_a_terminal(shown: StringIO) -> None:
    terminal.err.print(printable("[bold]a\x1b[31m\r\n\tb"))

    assert shown.getvalue() == "[bold]a\\x1b[31m\\r\\n\\tb\n"


def test_further_lines_of_a_failure_are_indented(shown: StringIO) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.exit_with(["1 of 8 partitions failed:\nseries of 'a': no\r", "another"])

    assert ended.value.code == 1
    assert shown.getvalue().splitlines() == [
        "failed: 1 of 8 partitions failed:",
        "  series of 'a': no\\r",
        "failed: another",
    ]


def test_a_bar_that_vanishes_leaves_nothing_where_there_is_no_terminal(shown: StringIO) -> None:
    with terminal.progress_bar("Verify") as report:
        report(3, 9)
    assert shown.getvalue() == ""
