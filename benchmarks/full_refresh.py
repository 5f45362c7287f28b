"""A refresh of the whole catalogue against curl: 141 Collections, about 530,000 Series.

Serves the whole catalogue from the sandbox (extra `full`), refreshes all of it once into an empty
data folder, then downloads the same replies with one curl process, one after the other. Prints wall
time, processor time and peak memory of each, their ratio, and what a second refresh costs: from the
command line, and as a run of Dagster's own, in a process like those that its daemon starts. Such a
run also refreshes all of it for the first time, and the command one Collection that is unchanged.
Then the HTML catalogue is written, twice, without images.

    .venv/bin/python benchmarks/full_refresh.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import duckdb
from processes import BIN, Cost, timed, timed_job, wait_until_up

from tcia_assets.defs.dagster_home import open_instance

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
    measured: dict[str, list[Cost]] = {}
    calls = {
        "refresh": refresh,
        "refresh again": refresh,
        "again, a run": run_again,
        "first, a run": run_first,
        "one Collection": refresh_one,
        "catalogue": write_catalogue,
        "catalogue again": write_catalogue,
        "curl": curl,
    }
    for number in range(rounds):
        for name, call in calls.items():
            measured.setdefault(name, []).append(call(work / f"data-{number}"))
    found = json.loads(ask(work / "data-0"))
    floor = statistics.median(cost.seconds for cost in measured["curl"])
    for name, costs in measured.items():
        seconds = statistics.median(cost.seconds for cost in costs)
        cpu = statistics.median(cost.cpu_s for cost in costs)
        peak = max(cost.peak_mb for cost in costs)
        print(
            f"{name:15} {seconds:7.1f} s  {cpu:6.1f} CPU-s  {peak:6.0f} MB peak  "
            f"{seconds / floor:5.2f} x curl"
        )
    print(f"{found['collections']} Collections, {found['series']} Series")


@contextmanager
def sandbox(work: Path) -> Iterator[None]:
    command = [BIN / "tcia-assets", "sandbox", "--full", "--port", str(PORT)]
    with (work / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_up(process, PORT)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def refresh(data: Path) -> Cost:
    return timed([str(BIN / "tcia-assets"), "refresh", "--all"], environment(data))


def run_again(data: Path) -> Cost:
    return run_of_dagster(data, environment(data))


def run_first(data: Path) -> Cost:
    """Refresh all Collections into an empty folder by Dagster's own command."""
    return first_run_of_dagster(data, data.with_name(f"{data.name}-run"), environment)


def first_run_of_dagster(
    known: Path, data: Path, environment_of: Callable[[Path], dict[str, str]]
) -> Cost:
    """Refresh all Collections of a known folder into an empty one, by Dagster's own command."""
    with dg.DagsterInstance.from_config(str(known / "dagster")) as instance:
        keys = instance.get_dynamic_partitions("tcia_collections")
    with open_instance(data) as instance:
        instance.add_dynamic_partitions("tcia_collections", [*keys])
    return run_of_dagster(data, environment_of(data))


def refresh_one(data: Path) -> Cost:
    """Refresh one small Collection: what is above it is the cost of the others."""
    return timed([str(BIN / "tcia-assets"), "refresh", "LCTSC"], environment(data))


def write_catalogue(data: Path) -> Cost:
    """Write the HTML catalogue of all Collections."""
    return timed([str(BIN / "tcia-assets"), "catalogue"], environment(data))


def run_of_dagster(data: Path, variables: dict[str, str]) -> Cost:
    """Refresh all Collections by Dagster's own command, with the partitions that there are."""
    with dg.DagsterInstance.from_config(str(data / "dagster")) as instance:
        keys = instance.get_dynamic_partitions("tcia_collections")
    return timed_job("tcia_refresh", (keys[0], keys[-1]), data / "dagster", variables)


def environment(data: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    return kept | {"TCIA_BASE_URL": BASE, "TCIA_DATA_DIR": str(data)}


def curl(data: Path) -> Cost:
    config = data / "curl.txt"
    config.write_text("".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in urls(data)))
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


if __name__ == "__main__":
    main()
