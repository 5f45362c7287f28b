"""What is told of a connection: the other end, TLS, the proxy, the server's clock and limits."""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tcia_assets.errors import ArchiveUnreachable
from tcia_assets.sources import Connection
from tcia_assets.sources.http.connection import without_user
from tcia_assets_tests.sources.conftest import HASTY, Serve, talking
from tcia_assets_tests.sources.scripted import HANGING, Scripted, answer

ROWS = '[{"Collection":"A"}]'


class _Plain(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ROWS)))
        self.end_headers()
        self.wfile.write(ROWS.encode())

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def http_server(
    context: ssl.SSLContext | None = None,
    handler: type[BaseHTTPRequestHandler] = _Plain,
) -> Iterator[int]:
    """Serve, with TLS if there is a context; yields the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def connected(url: str, speaks: str = "nbia-v4") -> Connection:
    with talking(url, speaks, pacing=HASTY) as client:
        return client.connect()


def test_any_answer_describes_the_connection(serve: Serve) -> None:
    server = serve(
        answer("gone", 410, Date="Thu, 26 Nov 2026 12:00:00 GMT", X_RateLimit_Limit="60")
    )
    found = connected(server.url)

    assert (found.host, found.address) == (f"127.0.0.1:{server.port}",) * 2
    assert (found.status, found.tls, found.certificate_until, found.proxy) == (410, "", None, "")
    assert found.server_time == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert found.limits == ("X-RateLimit-Limit: 60",)
    assert 0 < found.seconds < 5


def test_a_server_without_a_clock_has_none(serve: Serve) -> None:
    assert connected(serve(answer(ROWS)).url).server_time is None
    assert connected(serve(answer(ROWS, Date="noon")).url).server_time is None


def test_the_proxy_that_was_used_is_named_without_its_user(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer(ROWS))
    monkeypatch.setenv("HTTP_PROXY", f"http://jane:s3cr3t@127.0.0.1:{proxy.port}")
    found = connected("http://archive.invalid")

    assert (found.proxy, found.host) == (proxy.url, "archive.invalid")
    assert found.address == f"127.0.0.1:{proxy.port}"
    assert proxy.asked[0].target.startswith("http://archive.invalid/nbia-api/")


@pytest.mark.parametrize("url", ["http://jane@host:1/x", "http://jane:a@b@host:1/x"])
def test_users_and_passwords_are_left_out_of_urls(url: str) -> None:
    assert without_user(url) == "http://host:1/x"


def test_why_there_is_no_answer_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveUnreachable, match="no byte within the read time-out"):
        connected(serve(HANGING).url)
    with http_server() as port, pytest.raises(ArchiveUnreachable, match="no secure connection"):
        connected(f"https://127.0.0.1:{port}")
    with Scripted(answer(ROWS)) as closed:
        pass
    with pytest.raises(ArchiveUnreachable, match="the host refuses connections"):
        connected(closed.url)
    monkeypatch.setenv("HTTP_PROXY", closed.url)
    with pytest.raises(ArchiveUnreachable, match=r"the proxy .* cannot be reached"):
        connected("http://archive.invalid")


class _Tunnel(BaseHTTPRequestHandler):
    """A proxy for HTTPS, which connects to one port whatever it is asked for."""

    port = 0
    asked: ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            ends = {self.connection: server, server: self.connection}
            while True:
                for ready in select.select(list(ends), [], [], 5)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    ends[ready].sendall(data)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for localhost, for 20 days, which this process trusts."""
    if not shutil.which("openssl"):
        pytest.skip("makes a certificate with openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 20 -subj /CN=l"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *new.split(), *names, *files], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_tls_and_the_end_of_the_certificate_are_those_of_the_connection(
    certified: ssl.SSLContext,
) -> None:
    with http_server(certified) as port:
        found = connected(f"https://localhost:{port}")

    assert found.tls.startswith("TLSv1.") and found.proxy == ""
    assert found.certificate_until is not None
    days = (found.certificate_until - datetime.now(UTC)) / timedelta(days=1)
    assert 19 < days < 21


def test_https_goes_through_its_proxy_and_shows_the_certificate_of_the_host(
    certified: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server(certified) as port, http_server(handler=_Tunnel) as tunnel:
        _Tunnel.port = port
        monkeypatch.setenv("HTTPS_PROXY", f"http://jane:s3cr3t@127.0.0.1:{tunnel}")
        found = connected("https://localhost:443")

    assert (found.proxy, found.host) == (f"http://127.0.0.1:{tunnel}", "localhost:443")
    assert (found.address, _Tunnel.asked[0]) == (f"127.0.0.1:{tunnel}", "localhost:443")
    assert found.tls.startswith("TLSv1.") and found.certificate_until is not None
