"""The servers of `make scale-out`, each started on this machine and ended with the script.

Postgres and Redis are Debian's packages, SeaweedFS is in a wheel; all listen on loopback only.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tcia_assets_tests import s3_servers
from tcia_assets_tests.postgres_server import postgres

BIN = Path(sys.executable).parent
PATIENCE_S = 300
# The account of the object store that all machines use.
ACCOUNT, BUCKET = "mirror", "zips"


@dataclass
class Process:
    """A process that this script started, with its children and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill it at once, as a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self.kill()


@dataclass(frozen=True)
class Servers:
    """Where the servers are: the sandbox, Redis, the object store, and Postgres by its fields."""

    archive: str
    broker: str
    store: str
    postgres: Mapping[str, object]


@contextmanager
def running(
    name: str,
    command: list[str | Path] | list[str],
    environment: Mapping[str, str],
    logs: Path,
) -> Iterator[Process]:
    """Run a process in the background, with its log in a folder; end it afterwards."""
    path = logs / f"{name}.log"
    with path.open("wb") as log:
        process = Process(
            subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ),
            path,
        )
        try:
            yield process
        finally:
            process.end()


@contextmanager
def servers(logs: Path) -> Iterator[Servers]:
    """Start all servers; their logs are in a folder."""
    demand("redis-server", "redis-server")
    with ExitStack() as stack:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        stack.enter_context(running("redis", command, os.environ, logs))
        wait_for("Redis", lambda: listens(port))
        sandbox: list[str | Path] = [BIN / "tcia-assets", "sandbox", "--port", "0"]
        archive = stack.enter_context(running("sandbox", sandbox, os.environ, logs))
        wait_for("the sandbox archive", lambda: printed_url(archive) != "")
        folder = logs / "seaweedfs"
        folder.mkdir()
        store = stack.enter_context(s3_servers.seaweedfs(folder, {ACCOUNT: ["Admin"]}))
        s3_servers.make_bucket(store, BUCKET, ACCOUNT)
        yield Servers(
            printed_url(archive),
            f"redis://127.0.0.1:{port}/0",
            store,
            stack.enter_context(postgres(logs / "postgres.log")),
        )


def demand(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise SystemExit(f"{program} is not installed; with Debian: apt-get install {package}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def printed_url(archive: Process) -> str:
    found = re.search(r"^Sandbox archive .* at (http\S+)$", text_of(archive.log), re.MULTILINE)
    return found[1] if found else ""


def wait_for(what: str, is_there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not appear within {PATIENCE_S} s; see the logs")
        time.sleep(0.5)
