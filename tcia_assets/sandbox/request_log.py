"""The requests that the sandbox received: counts, the latest, and how many ran at once."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

_KEPT = 10_000


@dataclass(frozen=True)
class LoggedRequest:
    """A request. `endpoint` is our name of it, "token" for tokens, "" for an unknown path."""

    number: int
    dialect: str
    endpoint: str
    parameters: Mapping[str, str]


class RequestInFlight:
    """A request that is being served.

    Args:
        number: Its number in the log.
        on_end: Is called once, at the end.
    """

    def __init__(self, number: int, on_end: Callable[[], None]) -> None:
        self.number = number
        self._on_end, self._is_over = on_end, False

    def end(self) -> None:
        """Count the request no more; a second call does nothing."""
        if not self._is_over:
            self._is_over = True
            self._on_end()


class RequestLog:
    """Counts and keeps requests; safe to use from many threads.

    Attributes:
        counts: Requests by our name of the endpoint, over all dialects.
        last: The latest requests, oldest first.
        in_flight: Requests whose replies are not sent yet, except for the last part.
        most_at_once: The largest `in_flight` since the log was cleared.

    >>> log = RequestLog()
    >>> with log.record("nbia-v4", "getSeries", {"Collection": "LIDC-IDRI"}):
    ...     log.in_flight
    1
    >>> log["getSeries"], log.most_at_once, len(log)
    (1, 1, 1)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self.counts: Counter[str] = Counter()
            self.last: deque[LoggedRequest] = deque(maxlen=_KEPT)
            self.most_at_once = self.in_flight
            self._number = 0

    @contextmanager
    def record(
        self, dialect: str, endpoint: str, parameters: Mapping[str, str]
    ) -> Iterator[RequestInFlight]:
        """Record a request that is in flight until the block ends, unless it is ended before."""
        secret = {"password", "refresh_token", "api_key"}
        shown = {k: "..." if k in secret else v for k, v in parameters.items()}
        with self._lock:
            self._number = number = self._number + 1
            self.counts[endpoint] += 1
            self.last.append(LoggedRequest(number, dialect, endpoint, shown))
            self.in_flight += 1
            self.most_at_once = max(self.most_at_once, self.in_flight)
        request = RequestInFlight(number, self._end)
        try:
            yield request
        finally:
            request.end()

    def _end(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def __getitem__(self, endpoint: str) -> int:
        """Return the number of requests to an endpoint, by our name of it, over all dialects."""
        return self.counts[endpoint]

    def __len__(self) -> int:
        """Return the number of all requests."""
        return self.counts.total()

    def summary(self) -> dict[str, Any]:
        """Return the counts and the last 100 requests, for JSON."""
        with self._lock:
            return {
                "total": self.counts.total(),
                "counts": dict(self.counts),
                "most_at_once": self.most_at_once,
                "last": [asdict(each) for each in list(self.last)[-100:]],
            }
