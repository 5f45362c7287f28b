"""What the partitions of one run share: requests for single Series, and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tcia_assets.store.cores import computing

# A table is in memory several times while it is merged and written. Two large ones at once would
# double that and be no faster, because Arrow and DuckDB use all cores for one.
_large_table_lock = threading.Lock()
_LARGE = 20_000  # rows


class RequestBudget:
    """Per-run number of requests, shared by all partitions."""

    def __init__(self, requests: int) -> None:
        self._left, self._lock = requests, threading.Lock()

    def take(self, wanted: int) -> int:
        """Spend up to `wanted` requests and return how many were left to spend."""
        with self._lock:
            granted = max(0, min(wanted, self._left))
            self._left -= granted
            return granted


class ProbeBudget:
    """How many requests for single Series a run may send.

    Args:
        sizes: Requests for the size of a Series.
        probes: Requests that check whether a missing Series is gone.
    """

    def __init__(self, sizes: int, probes: int = 0) -> None:
        self.sizes, self.probes = RequestBudget(sizes), RequestBudget(probes)


@contextmanager
def alone_if_large(rows: int) -> Iterator[None]:
    """Allow one table of so many rows, if it is large, at a time in this process.

    The body must neither send a request, nor wait for the lock of sizes, which is held while they
    are requested: while a server is slow, all other large tables would wait.
    """
    if rows <= _LARGE:
        yield
        return
    with _large_table_lock:
        try:
            yield
        finally:
            # What Arrow keeps, DuckDB and Python cannot use.
            pa.default_memory_pool().release_unused()


@contextmanager
def computing_on(rows: int) -> Iterator[None]:
    """Hold a core, as `computing`, for work on so many rows: on one large table at a time."""
    with alone_if_large(rows), computing():
        yield
