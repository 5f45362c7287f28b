"""What a tick of the sensor costs where 530,000 Series are known.

Serves the whole catalogue from the sandbox (extra `full`), refreshes the Collections and Series of
all of it into .benchmarks/ticks (once; later calls reuse it), holds ten Series back, and lets the
sensor look in a process of its own: with no news, with the ten released, and with all images
selected and none fetched. Prints wall time of the tick, peak memory of the whole process (Dagster's
imports included), requests, and what the tick answered.

    .venv/bin/python benchmarks/ticks.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import dagster as dg

from tcia_assets import TciaResource, build_definitions, catalog
from tcia_assets.defs import sensors
from tcia_assets.defs.names import Names
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / ".benchmarks" / "ticks"
PORT = 8044
URL = f"http://127.0.0.1:{PORT}"
# The largest Collection, and four that lie apart; two Series of each.
NEWS = "NLST"
OTHERS = ("LIDC-IDRI", "CMB-CRC", "TCGA-LUAD", "CPTAC-CCRCC")
EVERYTHING = "{where: 'true'}"
AIM_S, AIM_MB, AIM_REQUESTS = 5, 300, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--child", choices=("build", "tick"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "build":
        build()
    elif given.child == "tick":
        tick()
    else:
        measure(given.rounds)


# --- The parent -----------------------------------------------------------------------------------


def measure(rounds: int) -> None:
    with sandbox():
        held = [
            uid
            for name, count in ((NEWS, 2), *((name, 2) for name in OTHERS))
            for uid in post("hold", {"collection": name, "count": count})["uids"]
        ]
        if not (DATA / "built").is_file():
            shutil.rmtree(DATA, ignore_errors=True)
            in_a_process("build", "")
        print("| | tick | peak memory | requests | runs requested |\n|---|---|---|---|---|")
        show("no news", rounds, "")
        post("release", {"uids": held})
        show(f"{len(held)} news", rounds, "")
        show(f"{len(held)} news, all images selected, none here", rounds, EVERYTHING)
    print(f"\naim: {AIM_S} s, {AIM_MB} MB, {AIM_REQUESTS} requests")


def show(what: str, rounds: int, selection: str) -> None:
    runs = []
    for _ in range(rounds):
        post("requests/clear", {})
        cost = json.loads(in_a_process("tick", selection))
        runs.append(cost | {"requests": get("requests")["total"]})
    seconds = statistics.median(run["seconds"] for run in runs)
    peak = max(run["peak_mb"] for run in runs)
    last = runs[-1]
    print(
        f"| {what} | {seconds:.2f} s | {peak:.0f} MB, {last['imports_mb']:.0f} of it imports "
        f"| {last['requests']} | {last['runs']} |",
        flush=True,
    )
    print(f"  {last['result']}", file=sys.stderr)


def in_a_process(what: str, selection: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    environment = kept | {
        "TCIA_BASE_URL": f"{URL}/nbia-api/services/v4",
        "TCIA_DATA_DIR": str(DATA),
        "TCIA_IMAGE_SELECTION": selection,
    }
    command = [sys.executable, __file__, "--child", what]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@contextmanager
def sandbox() -> Iterator[None]:
    command = [
        Path(sys.executable).parent / "tcia-assets",
        "sandbox",
        "--full",
        "--port",
        str(PORT),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                get("state")
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the sandbox did not come up") from None
                time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def get(path: str) -> dict[str, object]:
    with urlopen(f"{URL}/_sandbox/{path}", timeout=60) as response:
        return json.loads(response.read())


def post(path: str, body: dict[str, object]) -> dict[str, list[str]]:
    request = Request(f"{URL}/_sandbox/{path}", json.dumps(body).encode())
    with urlopen(request, timeout=60) as response:
        return json.loads(response.read()) or {}


# --- The children ---------------------------------------------------------------------------------


def build() -> None:
    """All Collections and their Series, as a refresh stores them, without Dagster's events."""
    settings, at = Settings.from_env(), datetime.now(UTC)
    warehouse = Warehouse(settings.root)
    with open_source(settings) as source:
        refresh(catalog.COLLECTIONS, "", source, warehouse, at, ProbeBudget(0))
        for name in warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist():
            refresh(catalog.SERIES, name, source, warehouse, at, ProbeBudget(0))
    warehouse.ensure_views()
    (DATA / "built").touch()


def tick() -> None:
    """Run one tick on an instance that has the partitions; print its cost as JSON."""
    build_definitions()  # a code location has built them too
    with dg.DagsterInstance.ephemeral() as instance:
        tcia = TciaResource()
        with tcia.yield_for_execution(dg.build_init_resource_context()) as opened:
            keys = opened.warehouse.keys(catalog.SERIES)
            instance.add_dynamic_partitions("tcia_collections", keys)
            imports_mb, began = peak_mb(), time.monotonic()
            outcome = sensors.tick(instance, opened, Names())
            seconds = time.monotonic() - began
    if isinstance(outcome, dg.SkipReason):
        runs, result = 0, str(outcome.skip_message)
    else:
        runs = len(outcome.run_requests or [])
        result = ", ".join(str(r.partition_key) for r in outcome.run_requests or [])
    cost = {"seconds": seconds, "peak_mb": peak_mb(), "imports_mb": imports_mb}
    print(json.dumps(cost | {"runs": runs, "result": result}))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
