"""Per-read deadlines: a socket timeout restarts with every byte, so it cannot bound a slow body.

A `Deadline` belongs to one request; the `Watchdog`'s thread shuts down the sockets of those that
are late, which wakes the threads that wait for them. Reads of a body follow the speed of the
connection, so that a slow but steady one is not taken for a stalled one.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

# The watchdog looks this many times per timeout.
_LOOKS_PER_TIMEOUT = 20
# A slow connection must fill a read in time, to show that it is alive; so its reads are small.
# Beyond 1 MiB, larger reads are no faster.
SMALLEST_READ, LARGEST_READ = 1 << 14, 1 << 20
# Bytes that must arrive within the time of one slow read, at most: a connection that was fast and
# drops to 9 kB/s in the middle of a large read is still alive.
_SLOW_READ_BYTES = 1 << 19
_FAST_S, _SLOW_S = 0.1, 1.0
_SOCKET_BUFFER = 1 << 18

_thread = threading.local()


def next_size(size: int, seconds: float) -> int:
    """Return how many bytes to read next, after a read of `size` bytes took `seconds`.

    >>> next_size(1 << 14, 0.01), next_size(1 << 19, 0.01), next_size(1 << 19, 7.0)
    (65536, 1048576, 131072)
    """
    if seconds < _FAST_S:
        return min(LARGEST_READ, size * 4)
    return max(SMALLEST_READ, size // 4) if seconds > _SLOW_S else size


def longest_s(size: int, slowest_read_s: float) -> float:
    """Return the time limit of a read: `slowest_read_s`, and up to twice that for the largest.

    >>> longest_s(1 << 14, 60.0), longest_s(1 << 20, 60.0)
    (60.0, 120.0)
    """
    return slowest_read_s * max(1.0, size / _SLOW_READ_BYTES)


class Deadline:
    """The time by which the next bytes of one request must arrive."""

    def __init__(self, longest_answer_s: float) -> None:
        self.longest_answer_s = longest_answer_s
        self.has_expired = False
        # Written without a lock: it does no harm if the watchdog sees a value one look too late.
        self._at = inf
        self._socket: Any = None

    @property
    def socket(self) -> Any:
        """The socket over which the request was sent; None before that."""
        return self._socket

    def start(self, used: Any) -> None:
        """Start the time for an answer; the request was sent over the socket `used`."""
        self._socket = used
        self._at = time.monotonic() + self.longest_answer_s
        if self.has_expired:
            self.expire()

    def read(
        self, response: requests.Response, size: int, limit_s: float, *, decode: bool = True
    ) -> bytes:
        """Read `size` bytes of the body, fewer at its end; b"" at the end or once expired."""
        self._at = time.monotonic() + limit_s
        chunk: bytes = response.raw.read(size, decode_content=decode)
        return chunk

    def suspend(self) -> None:
        """Stop the time: nothing is expected to arrive."""
        self._at = inf

    def expire(self) -> None:
        """Wake the thread that waits for bytes, as if the server had closed the connection."""
        self.has_expired = True
        if self._socket is None:
            return
        # On a duplicate: shutting down a TLS socket itself would change it while it is read.
        with (
            suppress(OSError),
            socket.fromfd(self._socket.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)

    def expire_if_late(self, now: float) -> None:
        if now > self._at:
            self.expire()


class Watchdog:
    """Expire deadlines that have passed. Its thread runs only while there are deadlines."""

    def __init__(self, longest_answer_s: float, longest_read_s: float) -> None:
        self._longest_answer_s = longest_answer_s
        self._pause_s = min(longest_answer_s, longest_read_s) / _LOOKS_PER_TIMEOUT
        self._lock = threading.Lock()
        self._deadlines: set[Deadline] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def deadline(self) -> Iterator[Deadline]:
        """Watch the request that the calling thread sends while the context lasts."""
        deadline, outer = Deadline(self._longest_answer_s), getattr(_thread, "deadline", None)
        with self._lock:
            self._deadlines.add(deadline)
            # After a fork the thread object exists, but the thread does not run.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tcia-watchdog", daemon=True)
                self._thread.start()
        _thread.deadline = deadline
        try:
            yield deadline
        finally:
            _thread.deadline = outer
            with self._lock:
                self._deadlines.discard(deadline)

    def expire_all(self) -> None:
        """Expire all deadlines that exist now."""
        with self._lock:
            for deadline in self._deadlines:
                deadline.expire()

    def _run(self) -> None:
        while True:
            time.sleep(self._pause_s)
            with self._lock:
                if not self._deadlines:
                    self._thread = None
                    return
                for deadline in self._deadlines:
                    deadline.expire_if_late(time.monotonic())


class WatchedAdapter(HTTPAdapter):
    """A pool of connections that report their socket to the deadline of the calling thread."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager: Any = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _WideResponse(http.client.HTTPResponse):
    """Read the socket by 256 KiB: with http.client's 8 KiB, a body costs a fifth more CPU."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp: Any = sock.makefile("rb", _SOCKET_BUFFER)

    def read(self, amt: int | None = None) -> bytes:
        """Read into one buffer where the body is chunked; http.client would join many."""
        if amt is None or not self.chunked:
            return super().read(amt)
        piece = bytearray(amt)
        del piece[self.readinto(piece) :]
        return piece  # type: ignore[return-value] # used like bytes


class _ReportingConnection(HTTPConnection):
    response_class = _WideResponse

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        deadline: Deadline | None = getattr(_thread, "deadline", None)
        if deadline is not None:
            deadline.start(self.sock)
        return super().getresponse()


class _HttpsConnection(_ReportingConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _ReportingConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


_POOLS = {"http": _HttpPool, "https": _HttpsPool}
