"""Processes of the demonstration end with their block, and a failure names the log."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from tcia_assets.demo.processes import running, sandbox, wait_for
from tcia_assets.errors import TciaError

PARENT = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)


def test_a_process_ends_with_all_that_it_started(tmp_path: Path) -> None:
    with running(tmp_path, "parent", [sys.executable, "-c", PARENT], os.environ) as process:
        parent = psutil.Process(process.pid)
        wait_for("the child", lambda: bool(parent.children()), seconds=20, logs=tmp_path)
        [child] = parent.children()

    assert process.returncode is not None
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_sandbox_that_cannot_start_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state.parquet"
    state.write_text("no Parquet", encoding="utf-8")
    with (
        pytest.raises(TciaError, match=r"the sandbox ended with \d: "),
        sandbox(tmp_path, state),
    ):
        pass


def test_what_does_not_happen_in_time_is_an_error_with_the_logs(tmp_path: Path) -> None:
    with pytest.raises(TciaError, match=f"the moon did not happen within 0 s; .* {tmp_path}"):
        wait_for("the moon", lambda: False, seconds=0, logs=tmp_path)
