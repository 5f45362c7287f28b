"""Ends what would never end: a socket's time-out begins anew with each byte that drips in.

What belongs here: how a thread that waits for bytes is woken from outside, and when. What does not:
what its caller is told (`transport.py`).
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
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

# How often is looked, per time-out.
_LOOKS = 20
# The size of a read follows the line: a slow one must give its bytes, and show that it lives, in
# time. Beyond a MiB larger reads are no faster.
SMALLEST_READ, LARGEST_READ = 1 << 14, 1 << 20
# What has to come in the time of one slow read, at most: a line that was fast and drops to 9 kB/s
# in the middle of a large read is honest still.
_DUE = 1 << 19
_QUICK_S, _SLOW_S = 0.1, 1.0
_SOCKET_BUFFER = 1 << 18

_mine = threading.local()


def next_size(size: int, seconds: float) -> int:
    """How many bytes to read next, after reading `size` took so long.

    >>> next_size(1 << 14, 0.01), next_size(1 << 19, 0.01), next_size(1 << 19, 7.0)
    (65536, 1048576, 131072)
    """
    if seconds < _QUICK_S:
        return min(LARGEST_READ, size * 4)
    return max(SMALLEST_READ, size // 4) if seconds > _SLOW_S else size


def longest_s(size: int, slowest_read_s: float) -> float:
    """How long a read of `size` bytes may take: the setting, and twice that for the largest.

    >>> longest_s(1 << 14, 60.0), longest_s(1 << 20, 60.0)
    (60.0, 120.0)
    """
    return slowest_read_s * max(1.0, size / _DUE)


class Line:
    """The way that the bytes of one request come; `is_cut` once it was cut from this side."""

    def __init__(self, longest_answer_s: float) -> None:
        self.longest_answer_s = longest_answer_s
        self.is_cut = False
        # Written without a lock: a look that comes too early or too late by one changes nothing.
        self._deadline = inf
        self._socket: Any = None

    def connected(self, end: Any) -> None:
        """A request was sent over that socket; now its answer is waited for."""
        self._socket = end
        self._deadline = time.monotonic() + self.longest_answer_s
        if self.is_cut:
            self.cut()

    def read(
        self, response: requests.Response, size: int, longest_s: float, *, decode: bool = True
    ) -> bytes:
        """The next bytes of the body: `size` of them but at its end; b"" is the end, or a cut."""
        self._deadline = time.monotonic() + longest_s
        chunk: bytes = response.raw.read(size, decode_content=decode)
        return chunk

    def rest(self) -> None:
        """Nothing is waited for."""
        self._deadline = inf

    def cut(self) -> None:
        """Wakes the thread that waits for bytes, as if the other side had closed."""
        self.is_cut = True
        if self._socket is None:
            return
        # Of a twin, since the shutdown of a TLS socket would change it under the reader's hands.
        with (
            suppress(OSError),
            socket.fromfd(self._socket.fileno(), socket.AF_INET, socket.SOCK_STREAM) as twin,
        ):
            twin.shutdown(socket.SHUT_RDWR)

    def cut_if_late(self, at: float) -> None:
        if at > self._deadline:
            self.cut()


class Watch:
    """Cuts the lines that are late. Its thread is there only while there are lines."""

    def __init__(self, longest_answer_s: float, longest_read_s: float) -> None:
        self._longest_answer_s = longest_answer_s
        self._pause_s = min(longest_answer_s, longest_read_s) / _LOOKS
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def line(self) -> Iterator[Line]:
        """The line of the request that the calling thread sends while the context lasts."""
        line, outer = Line(self._longest_answer_s), getattr(_mine, "line", None)
        with self._lock:
            self._lines.add(line)
            # After a fork there is a thread that does not live.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="tcia-watch", daemon=True)
                self._thread.start()
        _mine.line = line
        try:
            yield line
        finally:
            _mine.line = outer
            with self._lock:
                self._lines.discard(line)

    def cut_all(self) -> None:
        """Cuts all lines that there are."""
        with self._lock:
            for line in self._lines:
                line.cut()

    def _look(self) -> None:
        while True:
            time.sleep(self._pause_s)
            with self._lock:
                if not self._lines:
                    self._thread = None
                    return
                for line in self._lines:
                    line.cut_if_late(time.monotonic())


class Pool(HTTPAdapter):
    """A pool of connections that tell the line of their thread which socket they use."""

    def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*given, **named)
        pool.ConnectionCls = _Https if pool.scheme == "https" else _Http
        return pool


class _WideResponse(http.client.HTTPResponse):
    """Reads its socket by a quarter of a MiB; by http.client's 8 KiB a body costs a fifth more."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp.close()
        self.fp: Any = sock.makefile("rb", _SOCKET_BUFFER)

    def read(self, amt: int | None = None) -> bytes:
        """In place where the body comes in chunks, which http.client would collect, then join."""
        if amt is None or not self.chunked:
            return super().read(amt)
        piece = bytearray(amt)
        del piece[self.readinto(piece) :]
        return piece  # type: ignore[return-value] # of bytes whoever reads a body asks no more


class _Telling(HTTPConnection):
    response_class = _WideResponse

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        line: Line | None = getattr(_mine, "line", None)
        if line is not None:
            line.connected(self.sock)
        return super().getresponse()


class _Http(_Telling):
    pass


class _Https(_Telling, HTTPSConnection):
    pass
