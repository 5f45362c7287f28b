"""A proxy on loopback in front of an S3 server, which does to requests what networks do."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

_ERROR = "<Error><Code>{code}</Code><Message>{message}</Message></Error>"


@dataclass(frozen=True)
class Request:
    """A request that has passed."""

    method: str
    path: str

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "list-type=2" in self.path


@dataclass
class Fault:
    """What happens to the next requests that fit.

    `kind` is "cut" (the connection ends within the body of the request), "unanswered" (the server
    does what is asked, and the answer is lost), "status" (an answer with this status and code), or
    "before" (`happens` is called, then the request passes).
    """

    kind: str
    fits: Callable[[Request], bool]
    times: int = 1
    status: int = 403
    code: str = "AccessDenied"
    message: str = "Access Denied."
    happens: Callable[[], object] = lambda: None


@dataclass
class Proxy:
    """The proxy's URL, the requests that it has seen, and its faults."""

    url: str = ""
    seen: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def reset(self) -> None:
        self.seen.clear()
        self.faults.clear()

    def fault_of(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.fits(request):
                fault.times -= 1
                return fault
        return None


def is_put(name: str = "") -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and name in request.path


@contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server at this URL."""
    site = Proxy()

    class Handler(_Handler):
        target = urlsplit(server).netloc
        proxy = site

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        site.url = f"http://127.0.0.1:{listener.server_port}"
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield site
        finally:
            listener.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    proxy: Proxy

    def _pass(self) -> None:
        request = Request(self.command, self.path)
        self.proxy.seen.append(request)
        fault = self.proxy.fault_of(request)
        size = int(self.headers.get("content-length") or 0)
        if fault and fault.kind == "cut":
            self.rfile.read(size // 2)
            self._end()
            return
        body = self.rfile.read(size)
        if fault and fault.kind == "status":
            text = _ERROR.format(code=fault.code, message=fault.message).encode()
            self._answer(fault.status, {"content-type": "application/xml"}, text)
            return
        if fault and fault.kind == "before":
            fault.happens()
        status, headers, content = self._forward(body)
        if fault and fault.kind == "unanswered":
            self._end()
            return
        self._answer(status, headers, content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815 - http.server's names

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        known = {name.lower(): value for name, value in headers.items()}
        known.pop("transfer-encoding", None)
        if self.command != "HEAD":
            known["content-length"] = str(len(content))
        for name, value in known.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _end(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Log nothing."""
