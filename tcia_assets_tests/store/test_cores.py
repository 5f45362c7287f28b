"""As many threads compute at once as there are cores, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, Lock

import pytest

from tcia_assets.store.cores import computing, count_cores

_CORES = count_cores()


class Gauge:
    """Counts the threads that compute, and the most of them at once."""

    def __init__(self) -> None:
        self._lock, self._now, self.most = Lock(), 0, 0

    def compute(self) -> None:
        with computing():
            self._add(1)
            sum(range(10_000))
            self._add(-1)

    def _add(self, step: int) -> None:
        with self._lock:
            self._now += step
            self.most = max(self.most, self._now)


def test_each_core_computes() -> None:
    all_compute = Barrier(_CORES)

    def compute() -> int:
        with computing():
            return all_compute.wait(timeout=30)

    with ThreadPoolExecutor(_CORES) as pool:
        found = [pool.submit(compute) for _ in range(_CORES)]
        assert sorted(each.result() for each in found) == [*range(_CORES)]


def test_no_more_threads_compute_than_there_are_cores() -> None:
    gauge = Gauge()
    with ThreadPoolExecutor(4 * _CORES) as pool:
        for each in [pool.submit(gauge.compute) for _ in range(40 * _CORES)]:
            each.result(timeout=30)
    assert 1 <= gauge.most <= _CORES


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a call of Linux")
def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from tcia_assets.store.cores import count_cores
print(count_cores())
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "1\n"


def test_a_failure_frees_its_core() -> None:
    for _ in range(2 * _CORES):
        with suppress(ValueError), computing():
            raise ValueError
    with ThreadPoolExecutor(1) as pool:
        pool.submit(Gauge().compute).result(timeout=30)
