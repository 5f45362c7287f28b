"""What was asked of the sandbox: counts, the last requests, and how many ran at once."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

_REMEMBERED = 10_000


@dataclass(frozen=True)
class LoggedRequest:
    """A request, with our name of the endpoint: "token" for tokens, "" for an unknown path."""

    number: int
    dialect: str
    endpoint: str
    parameters: Mapping[str, str]


class RequestLog:
    """Counts requests; safe to use from many threads.

    >>> request_log = RequestLog()
    >>> with request_log.record("nbia-v4", "getSeries", {"Collection": "LIDC-IDRI"}):
    ...     request_log.in_flight
    1
    >>> request_log["getSeries"], request_log.most_at_once, len(request_log)
    (1, 1, 1)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self.counts: Counter[str] = Counter()
            self.last: deque[LoggedRequest] = deque(maxlen=_REMEMBERED)
            self.most_at_once = self.in_flight
            self._number = 0

    @contextmanager
    def record(self, dialect: str, endpoint: str, parameters: Mapping[str, str]) -> Iterator[int]:
        """Counts a request, which runs until the block ends; gives its number."""
        secret = {"password", "refresh_token", "api_key"}
        shown = {k: "..." if k in secret else v for k, v in parameters.items()}
        with self._lock:
            self._number = number = self._number + 1
            self.counts[endpoint] += 1
            self.last.append(LoggedRequest(number, dialect, endpoint, shown))
            self.in_flight += 1
            self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            yield number
        finally:
            with self._lock:
                self.in_flight -= 1

    def __getitem__(self, endpoint: str) -> int:
        """How often an endpoint was asked, by our name of it, over all dialects."""
        return self.counts[endpoint]

    def __len__(self) -> int:
        """How many requests there were."""
        return self.counts.total()

    def summary(self) -> dict[str, Any]:
        with self._lock:
            return {
                "total": self.counts.total(),
                "counts": dict(self.counts),
                "most_at_once": self.most_at_once,
                "last": [asdict(seen) for seen in list(self.last)[-100:]],
            }
