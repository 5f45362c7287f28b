"""A server on loopback that sends exactly the bytes that a test wants, and keeps what it was sent.

For what the sandbox archive does not do. Real sockets, one thread a connection, keep-alive.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: str
    target: str


@dataclass(frozen=True)
class Answer:
    """Bytes to send; then the connection is kept, closed, reset or left hanging.

    `tail` gives bytes to send after them, with a pause before each.
    """

    raw: bytes
    then: str = "keep"
    after_s: float = 0.0
    tail: Callable[[], Iterable[bytes]] = tuple
    pause_s: float = 0.0


Handler = Callable[[Asked], Answer]


def answer(
    body: bytes | str = b"",
    status: int = 200,
    *,
    promised: int | None = None,
    then: str = "keep",
    after_s: float = 0.0,
    **headers: str,
) -> Answer:
    """A whole answer; `promised` is the Content-Length where it is not the true one."""
    body = body.encode() if isinstance(body, str) else body
    length = len(body) if promised is None else promised
    lines = [f"HTTP/1.1 {status} It", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Answer("\r\n".join([*lines, "", ""]).encode() + body, then, after_s)


def chunked(*chunks: bytes, is_whole: bool = True, **headers: str) -> Answer:
    """A chunked answer, as downloads are; not whole, it lacks its last chunk."""
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    sent = b"".join(f"{len(c):x}\r\n".encode() + c + b"\r\n" for c in chunks)
    end = b"0\r\n\r\n" if is_whole else b""
    raw = "\r\n".join([*lines, "", ""]).encode() + sent + end
    return Answer(raw, "keep" if is_whole else "close")


RESET = Answer(b"", "reset")
HANGING = Answer(b"", "hang")


def in_turn(*answers: Answer) -> Handler:
    """The answers one after the other, the last of them forever."""
    left = list(answers)
    lock = threading.Lock()

    def handler(_asked: Asked) -> Answer:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return handler


class Scripted:
    """Serves a handler's answers while the context lasts."""

    def __init__(self, handler: Handler | Answer | Iterable[Answer]) -> None:
        if isinstance(handler, Answer):
            handler = in_turn(handler)
        self._handler: Handler = handler if callable(handler) else in_turn(*handler)
        self.asked: list[Asked] = []
        self.connections = self.most_at_once = self._at_once = 0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection:
            while asked := self._read(connection):
                with self._lock:
                    self.asked.append(asked)
                    self._at_once += 1
                    self.most_at_once = max(self.most_at_once, self._at_once)
                given = self._handler(asked)
                time.sleep(given.after_s)
                # Counted until it is sent: who has the answer may ask again at once.
                with self._lock:
                    self._at_once -= 1
                try:
                    connection.settimeout(None)
                    connection.sendall(given.raw)
                    self._send_tail(connection, given)
                    connection.settimeout(0.05)
                except OSError:
                    return
                if given.then == "hang":
                    self._over.wait(10)
                if given.then == "reset":
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if given.then != "keep":
                    return

    def _send_tail(self, connection: socket.socket, given: Answer) -> None:
        for piece in given.tail():
            if self._over.wait(given.pause_s):
                return
            connection.sendall(piece)

    def _read(self, connection: socket.socket) -> Asked | None:
        """The next request, or None at the end of the connection or of the server."""
        held = b""
        while b"\r\n\r\n" not in held:
            more = self._receive(connection)
            if not more:
                return None
            held += more
        head, _, body = held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        while len(body) < int(headers.get("Content-Length", 0)):
            body += self._receive(connection)
        parts = urlsplit(target)
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        return Asked(method, parts.path, query, headers, body.decode(), target)

    def _receive(self, connection: socket.socket) -> bytes:
        while not self._over.is_set():
            try:
                return connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                return b""
        return b""
