"""Options with a syntax of their own."""

from __future__ import annotations

import pytest

from tcia_assets_tests.cli.terminal import CONTOURS, Terminal


@pytest.mark.parametrize("size", ["", "0", "-1", "much", "1XB", "1.GB"])
def test_an_invalid_size_is_refused(terminal: Terminal, size: str) -> None:
    result = terminal(*CONTOURS, "--max-bytes", size)

    assert result.exit_code == 2
    assert f"{size!r} is not a size such as 500MB" in result.stderr
    assert not terminal.sent_image_requests


@pytest.mark.parametrize("shard", ["3/2", "2/2", "0/0", "1", "-1/2", "a/b", "0/2/3", ""])
def test_an_invalid_shard_is_refused(terminal: Terminal, shard: str) -> None:
    result = terminal(*CONTOURS, "--shard", shard)

    assert result.exit_code == 2
    assert f"{shard!r} is not a shard such as 0/4 or 3/4" in result.stderr
    assert not terminal.sent_image_requests


@pytest.mark.parametrize("since", ["2026-13-01", "yesterday", "", "0001-01-01T00:00+14:00"])
def test_an_invalid_date_is_refused_with_a_valid_example(terminal: Terminal, since: str) -> None:
    result = terminal("changes", "--since", since)

    assert result.exit_code == 2
    assert f"{since!r} is not a date or time such as 2026-11-01" in result.stderr
