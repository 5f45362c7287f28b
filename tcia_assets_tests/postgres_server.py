"""Postgres on loopback, on a cluster that lasts as long as a block; needs Debian's postgresql."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS = 60.0
_READY = "ready to accept connections"


@contextmanager
def postgres(log: Path) -> Iterator[dict[str, str | int]]:
    """Start Postgres with its log in a file; yields `postgres_db` as in dagster.yaml."""
    port, password = _free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        cluster = _make_cluster(folder, password)
        options = ["-D", cluster, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        with _running([*_command("postgres"), *options], log):
            yield {
                "hostname": "127.0.0.1",
                "port": port,
                "username": "dagster",
                "password": password,
                "db_name": "postgres",
                # Without it, SQLAlchemy 2.1 looks for psycopg 3, which dagster-postgres lacks.
                "scheme": "postgresql+psycopg2",
            }


def _make_cluster(folder: str, password: str) -> str:
    """Make an empty cluster in a folder, with a password; return its path."""
    secret = Path(folder, "password")
    secret.write_text(password, encoding="ascii")
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")
    cluster = f"{folder}/cluster"
    initdb = [*_command("initdb"), "-D", cluster, "-U", "dagster", "-A", "scram-sha-256"]
    subprocess.run(
        [*initdb, f"--pwfile={secret}", "--no-sync"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    return cluster


def _command(program: str) -> list[str]:
    """Return the command of one of Postgres' programs, which refuse to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = str(found[-1]) if found else shutil.which(program)
    if path is None:
        raise SystemExit("Postgres is not installed; with Debian: apt-get install postgresql")
    return ["runuser", "-u", "postgres", "--", path] if os.geteuid() == 0 else [path]


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log)
        yield
    finally:
        # To all of its group: `runuser` is the one that was started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while _READY not in log.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"Postgres does not start: {log.read_text(errors='replace')}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
