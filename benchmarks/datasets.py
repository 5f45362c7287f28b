"""A dataset of 1,000 small Series: built by one process and by two, and built again.

Makes the Series once (phantoms of 20 slices of 64 x 64, each of a Patient of its own), as zips and
as the rows of a warehouse that has fetched them. Each build then runs in a process of its own, into
a data folder of its own, in turns; what a program needs to start and to import is no part of its
time. "Again" is the same build once more: nothing has changed, and all samples are in the store.
Prints medians of wall time, Series a second, how much of two cores was used, and the peak memory
(RSS) of the process that builds and of the largest of those that make samples. Needs Linux: these
are children of a server that nobody waits for, so `/proc` is looked at twenty times a second.

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
DECLARED = """\
title: Small Series
cohort: {modalities: [CT]}
split: {fractions: {train: 0.8, val: 0.1, test: 0.1}, salt: benchmark}
volume: {orientation: RAS, dtype: int16}
"""
WAYS = {"one process": 1, "two processes": 2}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        folder, workers = given.child
        print(json.dumps([build(Path(folder), int(workers)) for _ in ("first", "again")]))
        return
    if not Path("/proc/self/stat").exists():
        raise SystemExit("this needs Linux with /proc")
    compare(given.series, given.rounds)


# --- The parent -----------------------------------------------------------------------------------


def compare(series: int, rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as work:
        made = Path(work) / "made"
        make(made, series)
        print(f"{series:,} Series of {SLICES} slices of 64 x 64; ", end="")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n", flush=True)
        versions = set()
        for _ in range(rounds):
            for way, workers in WAYS.items():
                first, again = measured(made, Path(work) / "data", workers)
                versions |= {first.pop("version"), again.pop("version")}
                runs.setdefault(way, []).append(first)
                runs.setdefault("again, nothing changed", []).append(again)
    if len(versions) != 1:
        raise SystemExit(f"the builds differ: {versions}")
    report(runs, series)


def measured(made: Path, data: Path, workers: int) -> Any:
    """A build and the same again, as a process of its own tells of them."""
    shutil.copytree(made, data, copy_function=os.link)
    try:
        command = [sys.executable, __file__, "--child", str(data), str(workers)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    finally:
        shutil.rmtree(data)
    return json.loads(done.stdout)


def report(runs: dict[str, list[dict[str, float]]], series: int) -> None:
    print("| build | s | Series/s | processor s | of two cores | builder MB | maker MB |")
    print("|---|---|---|---|---|---|---|")
    for way, each in runs.items():
        found = {fact: statistics.median(run[fact] for run in each) for fact in each[0]}
        maker = f"{found['maker_mb']:.0f}" if found["maker_mb"] else ""
        share = found["processor_seconds"] / found["seconds"] / 2
        print(
            f"| {way} | {found['seconds']:.1f} | {series / found['seconds']:.0f} "
            f"| {found['processor_seconds']:.1f} | {share:.0%} "
            f"| {found['builder_mb']:.0f} | {maker} |"
        )


# --- The Series -----------------------------------------------------------------------------------


def make(root: Path, series: int) -> None:
    """A warehouse with Series that were all fetched."""
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
    life = {"first_seen_at": now, "changed_at": now, "missing_snapshots": 0}
    warehouse = Warehouse(root)
    for table, those in (
        (SERIES, [row | life for row in rows]),
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
    """Writes the zip of a Series, and says what the warehouse knows of it."""
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

    declaration, warehouse = parse_declaration(DECLARED, "small"), Warehouse(root)
    build.made_with(declaration)
    started = time.perf_counter()
    with watched() as seen:
        asked, _ = cohort_lock.freeze_cohort(
            declaration, warehouse, build.cohort_lock_path(warehouse, "small")
        )
        built = build.build(declaration, asked, warehouse, workers=workers)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": seen.processor_seconds,
        "builder_mb": seen.peak_mb[os.getpid()],
        "maker_mb": max((mb for pid, mb in seen.peak_mb.items() if pid not in seen.old), default=0),
        "version": built.version.version,
    }


@dataclass
class Seen:
    """What this process and its descendants have used: their last words, by their pid."""

    ticks: dict[int, int] = field(default_factory=dict)
    peak_mb: dict[int, float] = field(default_factory=dict)
    before: int = 0
    old: frozenset[int] = frozenset()

    @property
    def processor_seconds(self) -> float:
        return (sum(self.ticks.values()) - self.before) / TICKS

    def look(self) -> None:
        for pid in family(os.getpid()):
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:  # it has ended meanwhile
                continue
            # utime and stime, without its children's
            self.ticks[pid] = int(words[11]) + int(words[12])
            peak = next((line for line in lines if line.startswith("VmHWM:")), None)
            if peak:
                self.peak_mb[pid] = int(peak.split()[1]) * 1024 / 1e6


@contextmanager
def watched() -> Iterator[Seen]:
    seen, is_over = Seen(), threading.Event()
    # Of what came before, only this process's memory counts: it is still there.
    seen.look()
    seen.before, seen.old = sum(seen.ticks.values()), frozenset(seen.ticks)

    def watch() -> None:
        while not is_over.wait(0.05):
            seen.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()
        seen.look()


def family(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    except OSError:  # it has ended meanwhile
        pass
    return found


if __name__ == "__main__":
    main()
