"""The processes of the demonstration: each has a log in its folder, and ends with its block."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tcia_assets.demo.control import is_up
from tcia_assets.errors import TciaError

TCIA_ASSETS = (sys.executable, "-m", "tcia_assets")
DAGSTER = (sys.executable, "-m", "dagster")
# It has no module of its own that may be named.
DAGSTER_DAEMON = str(Path(sys.executable).with_name("dagster-daemon"))

_LISTENS = re.compile(r"^Sandbox archive .* at (http\S+)$", flags=re.MULTILINE)
_START_SECONDS, _END_SECONDS = 60, 20


@contextmanager
def running(
    folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in the background, with its log in a folder, and end it with all it started.

    Args:
        folder: The folder, in which it also runs.
        name: Name of the log, `<name>.log`.
        command: The command.
        environment: Its whole environment.
    """
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - commands of this package and of Dagster
            command,
            env=dict(environment),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def sandbox(folder: Path, state: Path, port: int = 0) -> Iterator[str]:
    """Run a sandbox, and yield its URL once it answers.

    Args:
        folder: Folder of its log.
        state: File that keeps changes of its Series.
        port: Its port; 0 for any free one.

    Raises:
        TciaError: It does not start.
    """
    command = [*TCIA_ASSETS, "sandbox", "--port", str(port), "--state", str(state)]
    with running(folder, "sandbox", command, os.environ) as process:
        url = _printed_url(process, folder / "sandbox.log")
        wait_for("the sandbox", lambda: is_up(url), seconds=_START_SECONDS, logs=folder)
        yield url


def _printed_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the URL that the sandbox prints once it listens."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None  # before the log is read, which is complete then
        text = log.read_text(encoding="utf-8", errors="replace")
        if has_ended:
            last = "".join(text.strip().splitlines()[-1:])
            raise TciaError(f"the sandbox ended with {process.returncode}: {last}")
        if found := _LISTENS.search(text):
            return found[1]
        time.sleep(0.1)
    raise TciaError(f"the sandbox did not start within {_START_SECONDS} s; see {log}")


def wait_for(what: str, is_done: Callable[[], bool], *, seconds: float, logs: Path) -> None:
    """Wait until something is done.

    Raises:
        TciaError: It was not, within so many seconds; names the folder of the logs.
    """
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TciaError(f"{what} did not happen within {seconds:.0f} s; see the logs in {logs}")
        time.sleep(1)
