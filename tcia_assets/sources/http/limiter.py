"""Adaptive concurrency limit (AIMD): as many requests at the same time as the server can take.

`Limit` is the rule, without a clock; `ConcurrencyLimiter` holds threads back. Which failures mean
"too many requests" is for the caller to say.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from tcia_assets.errors import Stopped

# The limit grows by one after this many successes per slot.
_SUCCESSES_PER_SLOT = 2
# A response is slow if it takes longer than this, and this many times the best recent one.
_NEVER_SLOW_S, _TIMES_THE_BEST = 1.0, 4.0
# One slow response may be due to its request; this many in a row are due to the server.
_SLOW_IN_A_ROW = 5
_RECENT_S = 300.0


class Limit:
    """The number of requests that may run at the same time: from 1 to `most`, at first `most`.

    It is halved when the server shows that it is overloaded; lowered by a tenth (at least one, and
    never below half of `most`) when its responses become slow; raised by one after two successes
    per slot. Only a request that was sent after the last cut can cause another one: the others
    report the overload that the cut has already answered.
    """

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self._successes = 0
        self._cut_at = -inf
        self._latencies: dict[str, _Latency] = {}

    def succeeded(self) -> None:
        """Count a request whose response was received completely."""
        self._successes += 1
        if self._successes >= _SUCCESSES_PER_SLOT * self.now:
            self.now = min(self.most, self.now + 1)
            self._successes = 0

    def overloaded(self, sent_at: float, at: float) -> None:
        """Count a request that the server refused as one too many, or did not answer."""
        self._cut(max(1, self.now // 2), sent_at, at)

    def responded(self, kind: str, seconds: float, sent_at: float, at: float) -> None:
        """Count the time to the first byte; it is compared with responses of the same `kind`."""
        latency = self._latencies.setdefault(kind, _Latency(at))
        latency.add(seconds, at)
        lowered = self.now - max(1, self.now // 10)
        if latency.is_slow and lowered >= self.most / 2:
            self._cut(lowered, sent_at, at)

    def _cut(self, to: int, sent_at: float, at: float) -> None:
        if sent_at > self._cut_at:
            self.now, self._cut_at, self._successes = to, at, 0


class _Latency:
    """Seconds to the first byte, of one kind of response: the recent best and the last few."""

    def __init__(self, at: float) -> None:
        self._since, self._best, self._best_before = at, inf, inf
        self._last: deque[float] = deque(maxlen=_SLOW_IN_A_ROW)

    def add(self, seconds: float, at: float) -> None:
        if at - self._since > _RECENT_S:
            self._since, self._best_before, self._best = at, self._best, inf
        self._best = min(self._best, seconds)
        self._last.append(seconds)

    @property
    def is_slow(self) -> bool:
        best = min(self._best, self._best_before)
        tolerated = max(_NEVER_SLOW_S, _TIMES_THE_BEST * best)
        return len(self._last) == _SLOW_IN_A_ROW and min(self._last) > tolerated


class ConcurrencyLimiter:
    """Give each request a slot; without a free one, threads wait in the order of their arrival.

    A thread that holds a slot must not take a second one: it could wait for itself.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = Limit(most), clock
        self._lock = threading.Lock()
        self._waiting: deque[Slot] = deque()
        self._taken = 0
        self._is_stopped = False

    @property
    def limit(self) -> int:
        """The number of slots now."""
        return self._limit.now

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Hold a slot while the context lasts; waits for one. Raises Stopped after `stop`."""
        slot = Slot(self)
        try:
            self._acquire(slot)
            yield slot
        finally:
            self._release(slot)

    def stop(self) -> None:
        """End all waiting and grant no further slots; those that are held stay valid."""
        with self._lock:
            self._is_stopped = True
            for slot in self._waiting:
                slot.turn.set()

    def update(self, change: Callable[[Limit, float], None]) -> None:
        """Change the limit, under the lock; `change` gets it and the time."""
        with self._lock:
            change(self._limit, self._clock())
            self._grant()

    def _acquire(self, slot: Slot) -> None:
        with self._lock:
            if self._is_stopped:
                raise Stopped
            self._waiting.append(slot)
            self._grant()
        if not slot.is_held:
            slot.turn.wait()
        if self._is_stopped:
            raise Stopped

    def _release(self, slot: Slot) -> None:
        with self._lock:
            if slot.is_held:
                self._taken -= 1
            elif slot in self._waiting:
                self._waiting.remove(slot)
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self._taken < self._limit.now and not self._is_stopped:
            slot = self._waiting.popleft()
            self._taken += 1
            slot.sent_at, slot.is_held = self._clock(), True
            slot.turn.set()


class Slot:
    """Permission to run one request. Its holder reports how the request went."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self.turn = threading.Event()
        self.is_held, self.sent_at = False, inf

    def responded(self, kind: str, seconds: float) -> None:
        """Report the time to the first byte of a response of that kind."""
        self._limiter.update(lambda limit, at: limit.responded(kind, seconds, self.sent_at, at))

    def succeeded(self) -> None:
        """Report that the response was received completely."""
        self._limiter.update(lambda limit, _at: limit.succeeded())

    def overloaded(self) -> None:
        """Report that the server refused the request as one too many, or did not answer."""
        self._limiter.update(lambda limit, at: limit.overloaded(self.sent_at, at))
