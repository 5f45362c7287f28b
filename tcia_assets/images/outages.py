"""Which sources are down during a fetch, so that Series go to the next source at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tcia_assets.errors import ArchiveBroken, TciaError
from tcia_assets.sources import Source

# After so many Series in a row that failed because of it, a source is down; each of them took its
# retries, which may be minutes. One Series tries it again after a while.
_MIN_FAILURES = 3
_PAUSE_S = 300.0


class Outages:
    """What the Series of a fetch have seen of its sources; safe to use from many threads.

    Args:
        clock: The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures: dict[int, int] = {}
        self._last: dict[int, tuple[float, ArchiveBroken]] = {}

    def note(self, source: Source, error: TciaError | None) -> None:
        """Count how a Series went with a source: its error, or None."""
        with self._lock:
            if isinstance(error, ArchiveBroken):
                self._failures[id(source)] = self._failures.get(id(source), 0) + 1
                self._last[id(source)] = self._clock(), error
            else:  # any other answer shows that it is there
                self._failures[id(source)] = 0

    def error_of(self, source: Source) -> ArchiveBroken | None:
        """Return the newest error of a source that is down; None if it is to be tried."""
        with self._lock:
            if self._failures.get(id(source), 0) < _MIN_FAILURES:
                return None
            at, error = self._last[id(source)]
            if self._clock() - at < _PAUSE_S:
                return error
            # The others wait for what this Series sees.
            self._last[id(source)] = self._clock(), error
            return None
