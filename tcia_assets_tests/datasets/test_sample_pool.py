"""Processes that make samples: one failure, or a kill, loses nothing that is finished."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

import pytest

from tcia_assets.datasets import versions
from tcia_assets.datasets.build import build
from tcia_assets.errors import (
    DatasetRefused,
    StorageError,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import (
    declared,
    frozen,
    images,
)
from tcia_assets_tests.datasets.warehouse_edits import (
    zip_of,
)


def test_one_bad_zip_fails_the_build_and_keeps_the_others(fetched_warehouse: Warehouse) -> None:
    cohort_ = frozen(declared(), fetched_warehouse)
    path = zip_of(fetched_warehouse, images(fetched_warehouse)[1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(DatasetRefused, match="1 of its samples cannot be made") as caught:
        build(declared(), cohort_, fetched_warehouse)
    (reason,) = caught.value.reasons
    assert str(path) in reason and "has changed since it was fetched" in reason
    assert versions.list_versions(fetched_warehouse.root, "lung_ct") == []
    path.unlink()
    with pytest.raises(DatasetRefused, match=r"the zip is missing; .* fetch it again"):
        build(declared(), cohort_, fetched_warehouse)
    path.write_bytes(whole)
    result = build(declared(), cohort_, fetched_warehouse)
    assert (result.made, result.reused) == (1, 4)


def test_a_killed_worker_is_reported_and_loses_nothing(fetched_warehouse: Warehouse) -> None:
    def kill(done: int, total: int) -> None:
        if done == 1:
            for worker in multiprocessing.active_children():
                worker.kill()

    cohort_ = frozen(declared(), fetched_warehouse)
    with pytest.raises(StorageError, match="was killed, perhaps because memory ran out"):
        build(declared(), cohort_, fetched_warehouse, workers=1, report=kill)
    assert build(declared(), cohort_, fetched_warehouse).reused >= 1


@pytest.mark.slow
def test_workers_end_when_the_build_is_killed(stocked_warehouse: Warehouse) -> None:
    frozen(declared(), stocked_warehouse)
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_hold_workers, args=(sender,))
    child.start()
    workers = receiver.recv()
    os.kill(int(child.pid or 0), signal.SIGKILL)
    child.join(10)
    sender.close()
    # Each worker holds an end of the pipe: it is closed when the last one is gone.
    with pytest.raises(EOFError):
        receiver.recv()
    assert workers


def _hold_workers(sender: Any) -> None:
    import time

    from tcia_assets.datasets.sample_pool import start_pool

    with start_pool(2) as pool:
        futures = [pool.submit(_keep, sender) for _ in range(2)]
        sender.send([future.result() for future in futures])
        time.sleep(600)


_KEPT: list[Any] = []


def _keep(sender: Any) -> int:
    _KEPT.append(sender)
    return os.getpid()
