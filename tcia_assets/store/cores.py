"""Compute on as many threads at once as there are cores.

Requests are sent from many threads, because they wait. What follows a reply does not wait: more
threads than cores would only take Python's lock from each other, which costs a tenth of a refresh.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


def count_cores() -> int:
    """Return the number of cores that this process may use: `taskset` or a container may limit it.

    A quota of processor time, as of `docker run --cpus`, is no limit to the cores.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_cores = threading.BoundedSemaphore(count_cores())


@contextmanager
def computing() -> Iterator[None]:
    """Hold a core; wait for one while all are held.

    The body must neither send a request, for which it would hold the core idle, nor compute in a
    thread that it waits for and that holds a core too, because both could wait for ever.
    """
    with _cores:
        try:
            yield
        finally:
            # Arrow keeps what each thread has freed for that thread alone, and there are many.
            pa.default_memory_pool().release_unused()
