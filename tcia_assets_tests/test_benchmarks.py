"""The benchmarks that others extend still run, on mirrors of a few Series."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tcia_assets_tests.repository import ROOT


@pytest.mark.slow
def test_years_makes_mirrors_and_prints_a_row_for_each_kind_of_work() -> None:
    works = ("status", "plan", "keys_unique", "verify_due", "tick")
    command = [sys.executable, "benchmarks/years.py", "--series", "24", "--collections", "3"]
    command += ["--objects", "2", "--scales", "1", "2", "--port", "8059", "--only", *works]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    head, line, *rows = done.stdout.splitlines()[: 2 + len(works)]
    assert "24 Series | 48 Series" in head and set(line) == {"|", "-"}
    assert [row.count(" | ") for row in rows] == [head.count(" | ")] * len(works)
