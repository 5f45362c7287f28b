"""Serve the sandbox archive on loopback: in a thread for tests, or until interrupted."""

from __future__ import annotations

import ipaddress
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pyarrow as pa

from tcia_assets.catalog import DIALECTS, dialect
from tcia_assets.errors import MissingExtra, UsageError

try:
    import uvicorn

    from tcia_assets.sandbox import series_rows
    from tcia_assets.sandbox.app import TOKEN_PATH, App
    from tcia_assets.sandbox.archive import Archive
    from tcia_assets.sandbox.authentication import Authenticator
    from tcia_assets.sandbox.faults import Faults
    from tcia_assets.sandbox.idc.releases import Releases
    from tcia_assets.sandbox.idc.service import INDEX_BUCKET, INDEX_FOLDER
    from tcia_assets.sandbox.request_log import RequestLog
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("tcia_assets"):
        raise
    # A server, pydicom and numpy are only installed with the extra `sandbox`.
    raise MissingExtra(error.name, "sandbox", "the sandbox") from None

_START_TIMEOUT_SECONDS = 30.0
_BACKLOG = 512
_WRITE_FULL_CATALOGUE = """
import sys
import pyarrow.parquet
from tcia_assets.sandbox import series_rows
pyarrow.parquet.write_table(series_rows.from_idc_index(), sys.argv[1])
"""


class Sandbox:
    """A local source; as a context manager it serves in a thread.

    Args:
        rows: The catalogue to serve, or its Parquet file; by default this repository's small one.
        full: Serve every Series that TCIA publishes; needs idc-index-data.
        authenticator: The account and the API key that nbia-v2 and bindaas-v3 require.
        host: A loopback address.
        port: The TCP port; 0 chooses a free one.
        state: A file that keeps changes of the Series over restarts; one beside it keeps the
            releases of the Imaging Data Commons.

    Attributes:
        archive: The Series, and methods to change them.
        idc: The releases of the Imaging Data Commons, and methods to make the next ones.
        faults: The pending faults.
        requests: The requests received.
        authenticator: The account and its tokens.

    Raises:
        UsageError: The host is not a loopback address; synthetic data must not be public.
        MissingExtra: idc-index-data is not installed.
    """

    def __init__(
        self,
        rows: pa.Table | Path | None = None,
        *,
        full: bool = False,
        authenticator: Authenticator | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
    ) -> None:
        _check_loopback(host)
        self._socket = _bound(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        try:
            self.archive = _archive(rows, full=full, state=state)
        except BaseException:
            self._socket.close()
            raise
        self.authenticator = authenticator or Authenticator()
        self.faults, self.requests = Faults(), RequestLog()
        kept = state.with_name(f"{state.stem}_idc.parquet") if state else None
        self.idc = Releases(self.archive, file=kept)
        app = App(self.archive, self.authenticator, self.faults, self.requests, self.idc)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL of the server, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def token_url(self) -> str:
        """The URL of the token endpoint."""
        return f"{self.url}{TOKEN_PATH}"

    def base_url(self, dialect_name: str = "nbia-v4") -> str:
        """Return the base URL of a dialect, as `TCIA_BASE_URL` takes it."""
        return f"{self.url}{urlsplit(dialect(dialect_name).base_url).path}"

    @property
    def idc_base_url(self) -> str:
        """The URL of the buckets, as `TCIA_IDC_BASE_URL` takes it."""
        return f"{self.url}/{{bucket}}"

    @property
    def idc_index_url(self) -> str:
        """The URL of the current index release, as `TCIA_IDC_INDEX` takes it."""
        return f"{self.url}/{INDEX_BUCKET}/current/{INDEX_FOLDER}"

    def reset(self) -> None:
        """Restore the state at the start: the catalogue, no faults, an empty request log."""
        self.archive.reset()
        self.idc.reset()
        self.faults.clear()
        self.requests.clear()

    def run(self) -> None:
        """Serve until interrupted or terminated. Call it in the main thread."""
        stop = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: stop.set())
        with self:
            stop.wait()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="tcia-sandbox",
            daemon=True,
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_TIMEOUT_SECONDS / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join()
        self.close()

    def close(self) -> None:
        """Close the socket and the archive."""
        self._socket.close()
        self.idc.close()
        self.archive.close()


def serve(
    host: str = "127.0.0.1",
    port: int = 8042,
    *,
    full: bool = False,
    state: Path | None = None,
    write_line: Callable[[str], object] = print,
) -> None:
    """Print the URLs and serve until interrupted.

    Args:
        host: A loopback address.
        port: The TCP port; 0 chooses a free one.
        full: Serve every Series that TCIA publishes.
        state: A file that keeps changes of the Series over restarts.
        write_line: Writes a line of the description.
    """
    sandbox = Sandbox(full=full, host=host, port=port, state=state)
    for line in description(sandbox):
        write_line(line)
    sys.stdout.flush()
    sandbox.run()


def description(sandbox: Sandbox) -> list[str]:
    """Return the lines that explain how to use the sandbox: URLs, accounts, settings."""
    account = sandbox.authenticator
    notes = {
        "nbia-v2": f"token from {sandbox.token_url}, {account.username} / {account.password}",
        "bindaas-v3": f"api_key {account.api_key}",
    }
    lines = [f"Sandbox archive of synthetic images at {sandbox.url}"]
    for each in DIALECTS:
        note = notes.get(each.name)
        lines += [
            f"  {each.name:<11} {sandbox.base_url(each.name)}{f'   ({note})' if note else ''}"
        ]
    return [
        *lines,
        f"  {'control':<11} {sandbox.url}/_sandbox/state",
        "To use it instead of the real archive:",
        "export TCIA_DIALECT=nbia-v4",
        f"export TCIA_BASE_URL={sandbox.base_url('nbia-v4')}",
        "Or as the Imaging Data Commons:",
        "export TCIA_SOURCE=idc",
        f"export TCIA_IDC_BASE_URL={sandbox.idc_base_url}",
        f"export TCIA_IDC_INDEX={sandbox.idc_index_url}",
    ]


def _archive(rows: pa.Table | Path | None, *, full: bool, state: Path | None) -> Archive:
    if full:
        return _full_archive(state)
    return Archive(series_rows.load() if rows is None else rows, state=state)


def _full_archive(state: Path | None) -> Archive:
    """Read the catalogue in a subprocess, so that its memory is returned to the system."""
    if find_spec("idc_index_data") is None:
        raise MissingExtra("idc_index_data", "full", "the full catalogue")
    with tempfile.TemporaryDirectory(prefix="tcia-sandbox-") as folder:
        file = Path(folder) / "catalogue.parquet"
        command = [sys.executable, "-c", _WRITE_FULL_CATALOGUE, str(file)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if made.returncode:
            last = made.stderr.strip().splitlines()[-1:]
            raise UsageError(f"the full catalogue cannot be read: {' '.join(last)}")
        return Archive(file, state=state)


def _check_loopback(host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(f"the sandbox serves on loopback only, not on {host!r}; use 127.0.0.1")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)  # now: a client may connect as soon as it has the URL
    except OSError as error:
        bound.close()
        raise UsageError(f"{host}:{port} cannot be used: {error.strerror}") from error
    return bound
