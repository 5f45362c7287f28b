"""What Dagster's own records take in a year of production.

Makes a mirror with as many Collections as TCIA has, measures what Dagster's home grows by with each
kind of run (processes of Dagster's own, as its daemon starts them) and with a tick of the sensor (a
real daemon), and multiplies: every day a refresh of all Collections, each hour one of a 24th of
them, five changes that the sensor notices, 288 ticks. Then copies the events of the night's run
until the home has those of a year, and times the asset page's query in a real web server.

    .venv/bin/python benchmarks/dagster_year.py
    .venv/bin/python benchmarks/dagster_year.py --collections 20 --days 30
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from processes import BIN, timed
from years import LARGEST, Place, Size, opened, size_of

HOURS, CHANGES, TICKS = 24, 5, 288
_MEASURED_TICKS = 20
_PAGE = """
query Page($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions }
    assetPartitionStatuses { __typename
      ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }
    assetMaterializations(limit: 100) { timestamp runId partition metadataEntries { label } }
    assetChecksOrError { ... on AssetChecks { checks {
      name executionForLatestMaterialization { status timestamp } } } }
  } }
}
"""


class Growth(NamedTuple):
    """What Dagster's home grows by."""

    bytes: float
    files: float

    def times(self, number: float) -> Growth:
        """Return this growth a number of times."""
        return Growth(self.bytes * number, self.files * number)


def growths(place: Place) -> dict[str, tuple[float, Growth]]:
    """Return how often a day each kind of work is done, and what it adds."""
    first, last = place.size.first_and_last
    others = max(0, place.size.collections // HOURS - 1)
    part = ("OTHER-000", f"OTHER-{others:03d}")
    return {
        "refresh of all Collections": (1, _run(place, "tcia_refresh", (first, last))),
        "refresh of a 24th of them": (HOURS, _run(place, "tcia_refresh", part)),
        "update of one Collection": (CHANGES, _run(place, "tcia_update", (LARGEST, LARGEST))),
        "tick of the sensor": (TICKS, _ticks(place)),
    }


def _run(place: Place, job: str, keys: tuple[str, str]) -> Growth:
    before = size_of(place.home)
    place.job(job, keys)
    return _since(before, place.home)


def _since(before: tuple[int, int], folder: Path) -> Growth:
    return Growth(*(new - old for new, old in zip(size_of(folder), before, strict=True)))


def _ticks(place: Place) -> Growth:
    """Return what a tick adds, on average over some ticks of a daemon."""
    variables = place.selecting | {"DAGSTER_HOME": str(place.home), "TCIA_SENSOR_INTERVAL_S": "5"}
    module = ["-m", "tcia_assets.definitions"]
    timed([str(BIN / "dagster"), "sensor", "start", *module, "tcia_new_series"], variables)
    daemon = [str(BIN / "dagster-daemon"), "run", *module]
    # Runs that the sensor requests meanwhile are not of the ticks.
    ticked = place.home / "schedules"
    begun, before = _count_ticks(place.home), size_of(ticked)
    with _running(daemon, variables):
        _wait(lambda: _count_ticks(place.home) >= begun + _MEASURED_TICKS)
    ticks = _count_ticks(place.home) - begun
    return _since(before, ticked).times(1 / ticks)


def _count_ticks(home: Path) -> int:
    with closing(sqlite3.connect(home / "schedules" / "schedules.db")) as ticks:
        found: int = ticks.execute("SELECT count(*) FROM job_ticks").fetchone()[0]
    return found


@contextmanager
def _running(command: list[str], variables: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=variables, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(is_done: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_done():
            return
        time.sleep(0.5)
    raise SystemExit("nothing happened for five minutes")


# --- The asset page after a year ------------------------------------------------------------------


def add_copies(home: Path, copies: int) -> None:
    """Copy the events of the run that has most, as other runs, into the index of all events."""
    with closing(sqlite3.connect(home / "history" / "runs" / "index.db")) as index, index:
        names = [row[1] for row in index.execute("PRAGMA table_info(event_logs)")]
        kept = ", ".join(name for name in names if name not in {"id", "run_id"})
        (run,) = index.execute(
            "SELECT run_id FROM event_logs GROUP BY run_id ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        index.executemany(
            f"INSERT INTO event_logs (run_id, {kept}) "
            f"SELECT ?, {kept} FROM event_logs WHERE run_id = ? ORDER BY id",
            ((f"copy-{number}", run) for number in range(copies)),
        )


def page_seconds(place: Place, asset: str) -> float:
    """Return the median time of the asset page's query, from a web server of Dagster's own."""
    port = place.port + 1
    variables = place.selecting | {"DAGSTER_HOME": str(place.home)}
    command = [str(BIN / "dagster-webserver"), "-m", "tcia_assets.definitions", "-p", str(port)]
    with _running(command, variables):
        _wait(lambda: _answers(port))
        return statistics.median(_query(port, asset) for _ in range(5))


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
            return True
    except OSError:
        return False


def _query(port: int, asset: str) -> float:
    body = {"query": _PAGE, "variables": {"key": {"path": ["tcia", asset]}}}
    headers = {"Content-Type": "application/json"}
    request = Request(f"http://127.0.0.1:{port}/graphql", json.dumps(body).encode(), headers)
    began = time.monotonic()
    with urlopen(request, timeout=300) as response:
        answer = json.loads(response.read())
    seconds = time.monotonic() - began
    if "errors" in answer or "partitionStats" not in answer["data"]["assetNodeOrError"]:
        raise SystemExit(f"the web server answered {answer}")
    return seconds


# --- Printing -------------------------------------------------------------------------------------


def run(chosen: argparse.Namespace, folder: Path) -> None:
    size = Size(8 * chosen.collections, chosen.collections, 1, 1)
    with opened(size, folder / "mirror", chosen.port) as place:
        begun = size_of(place.home)
        found = growths(place)
        print("| | bytes | files | a day |\n|---|---|---|---|")
        for name, (daily, growth) in found.items():
            print(f"| {name} | {growth.bytes:,.0f} | {growth.files:.2f} | {daily} |", flush=True)
        each_day = [growth.times(daily) for daily, growth in found.values()]
        a_day = Growth(*(sum(values) for values in zip(*each_day, strict=True)))
        whole = a_day.times(chosen.days)
        print(f"| first refresh | {begun[0]:,} | {begun[1]} | |")
        print(f"| {chosen.days} days, extrapolated | {whole.bytes:,.0f} | {whole.files:,.0f} | |")
        print(f"\n{size.collections} Collections; the asset page of `series`, before and after:")
        print(f"{page_seconds(place, 'series'):.2f} s", flush=True)
        # A night's refresh, and as much again in 24 parts.
        add_copies(place.home, 2 * chosen.days)
        print(f"{page_seconds(place, 'series'):.2f} s; {size_of(place.home)[0]:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    number = {"type": int, "metavar": "N"}
    parser.add_argument("--collections", default=141, help="Collections", **number)
    parser.add_argument("--days", default=365, help="days", **number)
    parser.add_argument("--port", default=8048, help="of the sandbox; N + 1 is used too", **number)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcia-year-") as folder:
        run(chosen, Path(folder))


if __name__ == "__main__":
    main()
