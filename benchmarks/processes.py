"""What one process costs: its time, the processor's time, and its peak memory.

Import little beside it: the peak memory of a process that is started is at least what its parent
had in that moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

BIN = Path(sys.executable).parent
_LINES_SHOWN = 20


class Cost(NamedTuple):
    seconds: float
    cpu_s: float
    peak_mb: float


def timed(command: list[str], environment: dict[str, str]) -> Cost:
    """Return what one process costs; end with the last lines of its output if it fails."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            output.seek(0)
            last = "".join(output.readlines()[-_LINES_SHOWN:])
            raise SystemExit(f"{last}{command} ended with {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began, cpu, usage.ru_maxrss / 1000)


def timed_job(job: str, keys: tuple[str, str], home: Path, variables: dict[str, str]) -> Cost:
    """Return what a run of Dagster's own costs, over the partitions from the first to the last."""
    first, last = keys
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    command = [str(BIN / "dagster"), "job", "execute", "-m", "tcia_assets.definitions"]
    command += ["-j", job, "--tags", json.dumps(tags)]
    return timed(command, variables | {"DAGSTER_HOME": str(home)})


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a sandbox that was started answers; two minutes at most."""
    for _ in range(240):
        try:
            with urlopen(f"http://127.0.0.1:{port}/nbia-api/services/up", timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise SystemExit("the sandbox did not come up")
