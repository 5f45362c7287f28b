"""How many requests may be under way at once: as many as the archive bears, and no more.

What belongs here: the rule (`Limit`, which is told the time) and who goes next (`Gate`, which locks
and waits). What does not: the requests, and which failures mean "too many" (`transport.py`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from tcia_assets.errors import Stopped

# The limit grows by one when each of its places has given that many good answers.
_ROUNDS = 2
# Slow is an answer that takes this many times as long as the best one of late, and more than this.
_TIMES_THE_BEST, _NEVER_SLOW_S = 4.0, 1.0
# One slow answer tells of its question, so many in a row of the archive.
_IN_A_ROW = 5
_OF_LATE_S = 300.0


class Limit:
    """The number of requests that may be under way, from 1 to `most`; it begins at `most`.

    Halved where the archive shows that it is overrun; less by a tenth (at least one, and never
    below half of `most`) where its answers become slow; raised by one after two rounds of good
    answers. Only what was sent after the last cut cuts again: the rest tells what is known already.
    """

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self._good = 0
        self._cut_at = -inf
        self._latencies: dict[str, _Latency] = {}

    def good(self) -> None:
        """A request went well to its last byte."""
        self._good += 1
        if self._good >= _ROUNDS * self.now:
            self.now = min(self.most, self.now + 1)
            self._good = 0

    def failed(self, sent_at: float, at: float) -> None:
        """The archive refused a request for being too much, or let it hang, or cut it."""
        self._cut(max(1, self.now // 2), sent_at, at)

    def answered(self, kind: str, seconds: float, sent_at: float, at: float) -> None:
        """The first byte came after that time; only answers of one `kind` are compared."""
        latency = self._latencies.setdefault(kind, _Latency(at))
        latency.add(seconds, at)
        gently = self.now - max(1, self.now // 10)
        if latency.is_slow and gently >= self.most / 2:
            self._cut(gently, sent_at, at)

    def _cut(self, to: int, sent_at: float, at: float) -> None:
        if sent_at > self._cut_at:
            self.now, self._cut_at, self._good = to, at, 0


class _Latency:
    """The seconds to the first byte of one kind of answer: the best of late, and the last ones."""

    def __init__(self, at: float) -> None:
        self._since, self._best, self._best_before = at, inf, inf
        self._last: deque[float] = deque(maxlen=_IN_A_ROW)

    def add(self, seconds: float, at: float) -> None:
        if at - self._since > _OF_LATE_S:
            self._since, self._best_before, self._best = at, self._best, inf
        self._best = min(self._best, seconds)
        self._last.append(seconds)

    @property
    def is_slow(self) -> bool:
        best = min(self._best, self._best_before)
        bearable = max(_NEVER_SLOW_S, _TIMES_THE_BEST * best)
        return len(self._last) == _IN_A_ROW and min(self._last) > bearable


class Gate:
    """Lets in as many threads as its limit says; the others wait, first come, first served.

    A thread that is in must not ask for a second place: it could wait for itself.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = Limit(most), clock
        self._lock = threading.Lock()
        self._waiting: deque[Place] = deque()
        self._under_way = 0
        self._is_over = False

    @property
    def limit(self) -> int:
        """How many may be in at once, now."""
        return self._limit.now

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place while the context lasts; waits for one. Raises Stopped once `stop` was called."""
        place = Place(self)
        try:
            self._enter(place)
            yield place
        finally:
            self._leave(place)

    def stop(self) -> None:
        """Ends all waiting, and lets nobody in any more; who is in stays until they leave."""
        with self._lock:
            self._is_over = True
            for place in self._waiting:
                place.turn.set()

    def note(self, fact: Callable[[Limit, float], None]) -> None:
        """Lets the limit know something, and the time."""
        with self._lock:
            fact(self._limit, self._clock())
            self._admit()

    def _enter(self, place: Place) -> None:
        with self._lock:
            if self._is_over:
                raise Stopped
            self._waiting.append(place)
            self._admit()
        if not place.is_in:
            place.turn.wait()
        if self._is_over:
            raise Stopped

    def _leave(self, place: Place) -> None:
        with self._lock:
            if place.is_in:
                self._under_way -= 1
            elif place in self._waiting:
                self._waiting.remove(place)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._under_way < self._limit.now and not self._is_over:
            place = self._waiting.popleft()
            self._under_way += 1
            place.sent_at, place.is_in = self._clock(), True
            place.turn.set()


class Place:
    """What one thread has of a gate; it says how its request went."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.turn = threading.Event()
        self.is_in, self.sent_at = False, inf

    def answered(self, kind: str, seconds: float) -> None:
        """The answer of that kind began after so many seconds."""
        self._gate.note(lambda limit, at: limit.answered(kind, seconds, self.sent_at, at))

    def good(self) -> None:
        """The answer came to its end."""
        self._gate.note(lambda limit, _at: limit.good())

    def failed(self) -> None:
        """The archive was overrun, or fell silent."""
        self._gate.note(lambda limit, at: limit.failed(self.sent_at, at))
