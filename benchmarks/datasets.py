"""Build a dataset of 1,000 small Series with one process and with two, and build it again.

The Series are generated once (phantoms of 20 slices of 64 x 64, one per patient), as zips and as
rows of a warehouse that has fetched them. Each build runs several times, in turns, in a process and
a data folder of its own. Starting Python and importing modules is not counted. "Again" repeats the
build when nothing has changed and all samples exist. Prints medians of wall time, Series per
second, the use of two cores, and the peak memory (RSS) of the building process and of its largest
worker. Needs Linux: the workers are children of a fork server, so `/proc` is read twenty times a
second.

    .venv/bin/python benchmarks/datasets.py [--series 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

SLICES = 20
COLLECTION = "Benchmark"
DECLARATION = """\
title: Small Series
cohort: {modalities: [CT]}
split: {fractions: {train: 0.8, val: 0.1, test: 0.1}, salt: benchmark}
volume: {orientation: RAS, dtype: int16}
"""
BUILDS = {"one process": 1, "two processes": 2}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each build")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, workers = arguments.child
        print(json.dumps([build(Path(folder), int(workers)) for _ in ("first", "again")]))
        return
    if not Path("/proc/self/stat").exists():
        raise SystemExit("this benchmark needs Linux with /proc")
    compare(arguments.series, arguments.rounds)


# --- The parent process ---------------------------------------------------------------------------


def compare(series: int, rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as work:
        source = Path(work) / "source"
        generate(source, series)
        print(f"{series:,} Series of {SLICES} slices of 64 x 64; ", end="")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n", flush=True)
        versions = set()
        for _ in range(rounds):
            for name, workers in BUILDS.items():
                first, again = run_child(source, Path(work) / "data", workers)
                versions |= {first.pop("version"), again.pop("version")}
                runs.setdefault(name, []).append(first)
                runs.setdefault("again, nothing changed", []).append(again)
    if len(versions) != 1:
        raise SystemExit(f"the builds differ: {versions}")
    report(runs, series)


def run_child(source: Path, data: Path, workers: int) -> Any:
    """Run a build and its repetition in a child process; return the figures of both."""
    shutil.copytree(source, data, copy_function=os.link)
    try:
        command = [sys.executable, __file__, "--child", str(data), str(workers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    finally:
        shutil.rmtree(data)
    return json.loads(done.stdout)


def report(runs: dict[str, list[dict[str, float]]], series: int) -> None:
    print("| build | s | Series/s | processor s | of two cores | builder MB | worker MB |")
    print("|---|---|---|---|---|---|---|")
    for name, each in runs.items():
        median = {figure: statistics.median(run[figure] for run in each) for figure in each[0]}
        worker = f"{median['worker_mb']:.0f}" if median["worker_mb"] else ""
        share = median["processor_seconds"] / median["seconds"] / 2
        print(
            f"| {name} | {median['seconds']:.1f} | {series / median['seconds']:.0f} "
            f"| {median['processor_seconds']:.1f} | {share:.0%} "
            f"| {median['builder_mb']:.0f} | {worker} |"
        )


# --- The Series -----------------------------------------------------------------------------------


def generate(root: Path, series: int) -> None:
    """Create a warehouse in which all Series are fetched."""
    import pyarrow as pa  # noqa: PLC0415

    from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES  # noqa: PLC0415
    from tcia_assets.store.conform import conform  # noqa: PLC0415
    from tcia_assets.store.warehouse import Warehouse  # noqa: PLC0415

    folder = root / "archives" / COLLECTION
    folder.mkdir(parents=True)
    rows = [row_of(number) for number in range(series)]
    with ProcessPoolExecutor() as pool:
        fetched = list(pool.map(partial(zipped, folder), rows, chunksize=20))
    now = datetime.now(UTC)
    history = {"first_seen_at": now, "changed_at": now, "missing_snapshots": 0}
    warehouse = Warehouse(root)
    for table, those in (
        (SERIES, [row | history for row in rows]),
        (IMAGE_ARCHIVES, fetched),
    ):
        warehouse.write(table, conform(table, pa.Table.from_pylist(those)), COLLECTION)


def row_of(number: int) -> dict[str, Any]:
    return {
        "SeriesInstanceUID": f"1.2.826.0.1.3680043.8.498.{number + 1}",
        "StudyInstanceUID": f"1.2.826.0.1.3680043.8.499.{number + 1}",
        "Collection": COLLECTION,
        "PatientID": f"P{number:05}",
        "Modality": "CT",
        "BodyPartExamined": "CHEST",
        "Manufacturer": "Phantoms",
        "ImageCount": SLICES,
        "LicenseName": "Creative Commons Attribution 4.0 International License",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "DataDescriptionURI": "https://doi.org/10.7937/benchmark",
        "fingerprint": f"{number:032x}",
    }


def zipped(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Write the zip of a Series and return its manifest row."""
    from tcia_assets.sandbox.phantom import objects  # noqa: PLC0415

    uid = row["SeriesInstanceUID"]
    path = folder / f"{uid}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for number, (_, content) in enumerate(objects(row), start=1):
            file.writestr(f"1-{number:03}.dcm", content)
    return {
        "SeriesInstanceUID": uid,
        "Collection": COLLECTION,
        "status": "complete",
        "path": path.relative_to(folder.parents[1]).as_posix(),
        "archive_bytes": path.stat().st_size,
        "image_count": SLICES,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "fingerprint": row["fingerprint"],
    }


# --- A build --------------------------------------------------------------------------------------


def build(root: Path, workers: int) -> dict[str, Any]:
    from tcia_assets.datasets import build, cohort_lock  # noqa: PLC0415
    from tcia_assets.datasets.declaration import parse_declaration  # noqa: PLC0415
    from tcia_assets.store.warehouse import Warehouse  # noqa: PLC0415

    declaration, warehouse = parse_declaration(DECLARATION, "small"), Warehouse(root)
    build.made_with(declaration)
    started = time.perf_counter()
    with measure_usage() as usage:
        asked, _ = cohort_lock.freeze_cohort(
            declaration, warehouse, cohort_lock.cohort_lock_path(warehouse, "small")
        )
        built = build.build(declaration, asked, warehouse, workers=workers)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": usage.processor_seconds,
        "builder_mb": usage.peak_mb[os.getpid()],
        "worker_mb": max(
            (mb for pid, mb in usage.peak_mb.items() if pid not in usage.old), default=0
        ),
        "version": built.version.version,
    }


@dataclass
class Usage:
    """The last figures of this process and of each of its descendants, by pid."""

    ticks: dict[int, int] = field(default_factory=dict)
    peak_mb: dict[int, float] = field(default_factory=dict)
    before: int = 0
    old: frozenset[int] = frozenset()

    @property
    def processor_seconds(self) -> float:
        return (sum(self.ticks.values()) - self.before) / TICKS

    def update(self) -> None:
        for pid in process_tree(os.getpid()):
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:  # the process has ended
                continue
            # utime and stime, without its children's
            self.ticks[pid] = int(words[11]) + int(words[12])
            peak = next((line for line in lines if line.startswith("VmHWM:")), None)
            if peak:
                self.peak_mb[pid] = int(peak.split()[1]) * 1024 / 1e6


@contextmanager
def measure_usage() -> Iterator[Usage]:
    usage, is_over = Usage(), threading.Event()
    # What was used before is not counted, except the memory of this process.
    usage.update()
    usage.before, usage.old = sum(usage.ticks.values()), frozenset(usage.ticks)

    def poll() -> None:
        while not is_over.wait(0.05):
            usage.update()

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        yield usage
    finally:
        is_over.set()
        poller.join()
        usage.update()


def process_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += process_tree(int(child))
    except OSError:  # the process has ended
        pass
    return found


if __name__ == "__main__":
    main()
