"""Compute on as many threads at once as there are cores.

Requests are sent from many threads, because they wait. What follows a reply does not wait: more
threads than cores would only take Python's lock from each other, which costs a tenth of a refresh.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_cores = threading.BoundedSemaphore(os.cpu_count() or 1)


@contextmanager
def computing() -> Iterator[None]:
    """Hold a core; wait for one while all are held.

    The body must neither send a request, for which it would hold the core idle, nor compute in a
    thread that it waits for and that holds a core too, because both could wait for ever.
    """
    with _cores:
        yield
