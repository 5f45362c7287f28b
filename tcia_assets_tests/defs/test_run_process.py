"""The process that a run belongs to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tcia_assets.defs.run_process import PROCESS_TAG, has_ended, process_tag
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.sensor_ticks import (
    caught_up,
    launch,
    tick,
)


def test_each_run_is_tagged_with_its_process(dagster: Dagster) -> None:
    chosen = {"image_selection": f"{{collections: [{SMALL}], modalities: [RTSTRUCT]}}"}
    launch(dagster, tick(dagster, **chosen), ["series"], **chosen)
    caught_up(dagster, ["image_archives"], **chosen)

    runs = dagster.instance.get_runs()
    names = {run.job_name.removesuffix("_without_checks") for run in runs}
    assert names == {"tcia_refresh", "tcia_images"}
    here = f"{socket.gethostname()}:{os.getpid()}"
    assert {run.tags[PROCESS_TAG] for run in runs} == {here}


def test_a_process_of_this_machine_has_ended_or_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert has_ended(f"{socket.gethostname()}:{child.pid}")
    assert not has_ended(process_tag()[PROCESS_TAG])
    assert not has_ended("another-machine:1")
