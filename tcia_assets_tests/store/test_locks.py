"""A lock excludes other processes and ends with its holder."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest

from tcia_assets.catalog import COLLECTIONS, PATIENTS, SERIES, SERIES_SIZES
from tcia_assets.errors import (
    TciaError,
)
from tcia_assets.metadata.listing import merge
from tcia_assets.store.conform import empty
from tcia_assets.store.locks import hold_lock, is_locked, open_locked
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.child_processes import (
    add_series,
    hold,
    running,
)


def test_two_processes_that_change_a_partition_under_its_lock_lose_nothing(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    one = pa.table({"SeriesInstanceUID": ["1"], "Collection": ["a"]})
    first = merge(empty(SERIES), one, at=datetime.now(UTC), source="x")
    warehouse.write(SERIES, first.rows, "a")
    children = [
        processes.Process(target=add_series, args=(warehouse.root, start, 15))
        for start in (100, 200)
    ]
    with running(*children):
        for child in children:
            child.join(30)
            assert child.exitcode == 0
    assert warehouse.read(SERIES, ["a"]).num_rows == 31


def test_a_lock_is_waited_for_and_released_when_its_holder_dies(
    warehouse: Warehouse, processes: ForkServerContext
) -> None:
    held = processes.Event()
    child = processes.Process(target=hold, args=(warehouse.root, held))
    with running(child):
        assert held.wait(20)
        with (
            pytest.raises(TciaError, match=r"series_sizes of 'a' has been locked .* than 0\.1 s"),
            warehouse.lock(SERIES_SIZES, "a", wait=0.1),
        ):
            pass
        with warehouse.lock(SERIES_SIZES, "b", wait=5), warehouse.lock(SERIES, "a", wait=5):
            pass  # others are free
        warehouse.write(SERIES_SIZES, empty(SERIES_SIZES), "a")  # and so is writing
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        with warehouse.lock(SERIES_SIZES, "a", wait=20):
            pass


def test_a_released_lock_is_free_while_a_child_still_has_its_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, "it", wait=0):
        child = os.fork()
        if not child:
            signal.pause()
    try:
        with hold_lock(path, "it", wait=0):
            assert is_locked(path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_lock_files_are_outside_the_tables(warehouse: Warehouse) -> None:
    with warehouse.lock(PATIENTS, "a/b"), warehouse.lock(COLLECTIONS):
        assert not (warehouse.root / "warehouse").exists()


def test_an_error_under_a_lock_passes_through_and_releases_it(warehouse: Warehouse) -> None:
    with pytest.raises(TimeoutError, match="mine"), warehouse.lock(PATIENTS, "a"):
        raise TimeoutError("mine")
    with warehouse.lock(PATIENTS, "a", wait=1):
        pass


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(FileNotFoundError):
        is_locked(path)
    descriptor = open_locked(path)
    assert is_locked(path)
    os.close(descriptor)
    assert not is_locked(path)
    os.close(open_locked(path, wait=False))
