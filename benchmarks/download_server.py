"""A local server that sends prepared replies from a folder, as fast as the system copies files.

HTTP/1.1 on loopback, with a thread per connection and `sendfile`. `downloads.py` makes the replies;
faults are the sandbox's. The zips are stored as they are sent, in chunks, so that sending one costs
hardly any processor time.

    FOLDER/answers/<endpoint>/<Collection>.json     rows; without a Collection: all.json
    FOLDER/answers/<endpoint>/<SeriesInstanceUID>.txt       replies by Series: its hash
    FOLDER/zips/<endpoint>/<SeriesInstanceUID>      the body in chunks, the last one included

    .venv/bin/python benchmarks/download_server.py FOLDER [--wait-ms 0] [--mbit 0]   prints its port
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import socketserver
import threading
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

SERVICES = "/nbia-api/services"
_TOKEN = {
    "access_token": "guest",
    "refresh_token": "guest",
    "expires_in": 7200,
    "refresh_expires_in": 7200,
    "scope": "",
}
# What is sent at once where the line is narrow; several connections share it.
_PIECE = 1 << 16


class Line:
    """So many bits a second, for all connections together; 0 is as many as there can be."""

    def __init__(self, mbit: float) -> None:
        self._bytes_per_s, self._free_at, self._lock = mbit * 1e6 / 8, 0.0, threading.Lock()

    def send(self, whole: BinaryIO, connection: socket.socket) -> None:
        if not self._bytes_per_s:
            connection.sendfile(whole)
            return
        left = os.fstat(whole.fileno()).st_size
        while left:
            size = min(left, _PIECE)
            self._wait(size)
            connection.sendfile(whole, whole.tell(), size)
            left -= size

    def _wait(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._free_at)
            self._free_at = turn + size / self._bytes_per_s
        time.sleep(turn - now)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, wait_s: float, line: Line) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.wait_s, self.line = wait_s, line
        self.answers = {
            (path.parent.name, path.stem): path.read_bytes() for path in folder.glob("answers/*/*")
        }
        self.zips = {(path.parent.name, path.name): path for path in folder.glob("zips/*/*")}

    def handle_error(self, *_: object) -> None:
        """Ignore a client that closes its connection early."""


class Connection(socketserver.StreamRequestHandler):
    server: Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            _, target, _ = line.decode("latin-1").split(" ", 2)
            form = self._form(self._headers())
            url = urlsplit(target)
            parameters = parse_qs(url.query) | parse_qs(form)
            self._answer(url.path, {k: v[0] for k, v in parameters.items()})

    def _headers(self) -> dict[str, str]:
        headers = {}
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _form(self, headers: dict[str, str]) -> str:
        return self.rfile.read(int(headers.get("content-length", 0))).decode()

    def _answer(self, path: str, query: dict[str, str]) -> None:
        endpoint = path.rpartition("/")[2]
        body = self.server.zips.get((endpoint, query.get("SeriesInstanceUID", "")))
        if path == f"{SERVICES}/oauth/token":  # for any client
            self._send("200 OK", json.dumps(_TOKEN).encode())
        elif body and (endpoint != "getImage" or query.get("IncludeMD5") == "Yes"):
            self._send_zip(body)
        else:
            names = ("SeriesInstanceUID", "Collection", "collectionName")
            about = next((query[name] for name in names if query.get(name)), "all")
            key = (endpoint, about)
            known = self.server.answers.get(key)
            problem = f"nothing is prepared for {path} {query}".encode()
            self._send("200 OK" if known else "500 Not prepared", known or problem)

    def _send(self, status: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _send_zip(self, body: Path) -> None:
        time.sleep(self.server.wait_s)
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with body.open("rb") as file:
            self.server.line.send(file, self.connection)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wait-ms", type=float, default=0, help="before a zip's first byte")
    parser.add_argument("--mbit", type=float, default=0, help="what the line takes a second")
    given = parser.parse_args()
    with Server(given.folder, given.wait_ms / 1000, Line(given.mbit)) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
