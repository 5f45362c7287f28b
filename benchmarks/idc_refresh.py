"""A refresh from the installed index of the Imaging Data Commons: one Collection, and all.

Prints wall time, processor time and peak memory of a first refresh of all Collections in an empty
data folder, of a second one, of a run of Dagster's own, and of a refresh of LCTSC alone; each in a
process of its own. With `--scope all`, also of what others derived from TCIA's Series.

    .venv/bin/python benchmarks/idc_refresh.py [--scope all] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path

from full_refresh import ask, first_run_of_dagster, run_of_dagster
from processes import BIN, Cost, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--scope", choices=["tcia", "all"], default="tcia")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="tcia-benchmark-"))
    try:
        measure(work, arguments.rounds, arguments.scope)
    finally:
        shutil.rmtree(work)


def measure(work: Path, rounds: int, scope: str) -> None:
    measured: dict[str, list[Cost]] = {}
    for number in range(rounds):
        data = work / f"data-{number}"
        variables = environment(data, scope)
        costs = {
            "refresh --all": refresh(variables, "--all"),
            "again": refresh(variables, "--all"),
            "again, a run": run_of_dagster(data, variables),
            "first, a run": first_run_of_dagster(
                data, work / f"run-{number}", partial(environment, scope=scope)
            ),
            "refresh LCTSC": refresh(environment(work / f"one-{number}", scope), "LCTSC"),
        }
        for name, cost in costs.items():
            measured.setdefault(name, []).append(cost)
    for name, each in measured.items():
        seconds = statistics.median(cost.seconds for cost in each)
        cpu = statistics.median(cost.cpu_s for cost in each)
        peak = max(cost.peak_mb for cost in each)
        print(f"{name:14} {seconds:7.1f} s  {cpu:6.1f} CPU-s  {peak:6.0f} MB peak")
    found = json.loads(ask(work / "data-0"))
    print(f"{found['collections']} Collections, {found['series']} Series, scope {scope}")


def refresh(variables: dict[str, str], *arguments: str) -> Cost:
    return timed([str(BIN / "tcia-assets"), "refresh", *arguments], variables)


def environment(data: Path, scope: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    return kept | {"TCIA_SOURCE": "idc", "TCIA_IDC_SCOPE": scope, "TCIA_DATA_DIR": str(data)}


if __name__ == "__main__":
    main()
