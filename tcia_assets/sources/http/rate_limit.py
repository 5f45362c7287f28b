"""The bytes per second that all requests of a process together receive, at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache


class RateLimit:
    """Say how long to wait after bytes were received, so that a rate is kept on average.

    Args:
        bytes_per_second: The rate; None for no limit.
        clock: The time in seconds.
    """

    def __init__(
        self, bytes_per_second: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._clock = bytes_per_second, clock
        self._lock = threading.Lock()
        # When the bytes received so far would have arrived at the rate.
        self._due_at = clock()

    def seconds_to_wait(self, size: int) -> float:
        """Count bytes that were received; return the seconds to wait before the next are read."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            # Time in which nothing was received is not made up for.
            self._due_at = max(self._due_at, now) + size / self._rate
            return self._due_at - now


@cache
def of_process(bytes_per_second: int | None) -> RateLimit:
    """Return the limit of this process, which all of its sources share."""
    return RateLimit(bytes_per_second)
