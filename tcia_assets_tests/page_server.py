"""A server that answers each request with the same page.

As the web page of a store does, the login of a network, or a reverse proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PAGE = b"<!doctype html><html><body>Welcome</body></html>"
PAGE_HEADERS = {"ETag": '"page"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}


@contextmanager
def page_server(
    status: int, headers: Mapping[str, str], *, head_status: int | None = None
) -> Iterator[str]:
    """Answer each request with this status and these headers; yields the URL.

    HEAD may have a status of its own.
    """

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            is_head = self.command == "HEAD"
            self.send_response(head_status if is_head and head_status else status)
            for name, value in {**headers, "content-length": str(len(PAGE))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not is_head:
                self.wfile.write(PAGE)

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
