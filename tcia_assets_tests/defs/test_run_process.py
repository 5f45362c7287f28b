"""The process that a run belongs to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tcia_assets.defs.run_process import PROCESS_TAG, has_ended, process_tag
from tcia_assets_tests.conftest import SMALL, Dagster


def test_each_run_is_tagged_with_its_process(with_series: Dagster) -> None:
    with_series.run("tcia_refresh", SMALL, tables=["series"])
    with_series.run("tcia_images", SMALL, tables=["image_archives"])

    runs = with_series.instance.get_runs()
    assert {run.job_name for run in runs} == {"tcia_refresh", "tcia_images"}
    here = f"{socket.gethostname()}:{os.getpid()}"
    assert {run.tags[PROCESS_TAG] for run in runs} == {here}


def test_a_process_of_this_machine_has_ended_or_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert has_ended(f"{socket.gethostname()}:{child.pid}")
    assert not has_ended(process_tag()[PROCESS_TAG])
    assert not has_ended("another-machine:1")
