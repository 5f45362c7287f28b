"""A refresh of the whole catalogue against curl: 141 Collections, about 530,000 Series.

Serves the whole catalogue from the sandbox (extra `full`), refreshes all of it once into an empty
data folder, then downloads the same replies with one curl process, one after the other. Prints wall
time and peak memory of each, their ratio, and what a second refresh costs.

    .venv/bin/python benchmarks/full_refresh.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import duckdb

BIN = Path(sys.executable).parent
PORT = 8043
BASE = f"http://127.0.0.1:{PORT}/nbia-api/services/v4"
BY_COLLECTION = (
    "getModalityValues",
    "getBodyPartValues",
    "getManufacturerValues",
    "getPatient",
    "getPatientStudy",
    "getSeries",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    rounds = parser.parse_args().rounds
    work = Path(tempfile.mkdtemp(prefix="tcia-benchmark-"))
    try:
        with sandbox(work):
            measure(work, rounds)
    finally:
        shutil.rmtree(work)


def measure(work: Path, rounds: int) -> None:
    ours, again, curls = [], [], []
    for number in range(rounds):
        data = work / f"data-{number}"
        ours.append(refresh(data))
        again.append(refresh(data))
        curls.append(curl(work, urls(data)))
    found = json.loads(ask(work / "data-0"))
    floor = statistics.median(seconds for seconds, _ in curls)
    for name, runs in (("refresh", ours), ("refresh again", again), ("curl", curls)):
        seconds = statistics.median(s for s, _ in runs)
        peak = max(mb for _, mb in runs)
        print(
            f"{name:14} {seconds:7.1f} s  {peak:6.0f} MB peak  {seconds / floor:5.2f} x curl"
            f"  (aim for refresh: {1.3 * floor + 15:.1f} s, 700 MB)"
        )
    print(f"{found['collections']} Collections, {found['series']} Series")


@contextmanager
def sandbox(work: Path) -> Iterator[None]:
    command = [BIN / "tcia-assets", "sandbox", "--full", "--port", str(PORT)]
    with (work / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_up(process)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_up(process: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        try:
            with urlopen(f"http://127.0.0.1:{PORT}/nbia-api/services/up", timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(1)
    raise SystemExit("the sandbox did not come up")


def refresh(data: Path) -> tuple[float, float]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    environment = kept | {"TCIA_BASE_URL": BASE, "TCIA_DATA_DIR": str(data)}
    return timed([str(BIN / "tcia-assets"), "refresh", "--all"], environment)


def curl(work: Path, requested: list[str]) -> tuple[float, float]:
    config = work / "curl.txt"
    config.write_text("".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in requested))
    return timed(["curl", "--silent", "--fail", "--config", str(config)], dict(os.environ))


def urls(data: Path) -> list[str]:
    """Return the URLs that the refresh requested."""
    collections = column(data, "SELECT Collection FROM collections")
    uids = column(data, "SELECT SeriesInstanceUID FROM series_sizes")
    requested = [f"{BASE}/getCollectionValues?format=json"] * 2
    requested += [
        f"{BASE}/{name}?Collection={quote(c)}&format=json"
        for c in collections
        for name in BY_COLLECTION
    ]
    requested += [
        f"{BASE}/getCollectionDescriptions?collectionName={quote(c)}" for c in collections
    ]
    return requested + [f"{BASE}/getSeriesSize?SeriesInstanceUID={u}&format=json" for u in uids]


def column(data: Path, statement: str) -> list[str]:
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        return [value for (value,) in connection.execute(statement).fetchall()]


def ask(data: Path) -> str:
    return column(
        data,
        "SELECT to_json({collections: count(DISTINCT Collection), series: count(*)})::VARCHAR "
        "FROM series",
    )[0]


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and peak MB of one process."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    process.returncode = 0
    return time.monotonic() - began, usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
