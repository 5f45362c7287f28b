"""Reading 230,000 Series: this package against `json.loads` and `pa.Table.from_pylist`.

Writes one reply of nbia-v4's getSeries (about 190 MB of JSON: the sandbox's real rows, repeated
with other UIDs, in no order) and reads it in processes of their own, in turns: with
`tcia_assets.wire` and `conform`, which end in a table whose kinds, nulls, keys and order are
checked, and with the two calls of Python, which leave days as texts and check nothing. Prints the
medians of wall time, processor time and peak memory (RSS), and the ratios.

    .venv/bin/python benchmarks/reading.py [--rows 230000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

# What is measured, and the project's aim as a part of what Python's two calls need.
FACTS = {
    "seconds": 1 / 4,
    "processor_seconds": None,
    "peak_mb": 1 / 2,
    "peak_over_imports_mb": 1 / 2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=230_000, help="Series in the reply")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "BODY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.child:
        compare(given.rows, given.rounds)
    elif given.child[0] == "write":
        write_reply(Path(given.child[1]), given.rows)
    else:
        measure(READERS[given.child[0]], Path(given.child[1]))


# --- The parent, which stays small: its memory would count as its children's ---------------------


def compare(rows: int, rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    with tempfile.TemporaryDirectory(prefix="tcia-benchmark-") as folder:
        body = Path(folder) / "getSeries.json"
        in_a_process("write", body, rows)
        print(f"{rows:,} Series, {body.stat().st_size / 1e6:,.0f} MB of JSON")
        for _ in range(rounds):
            for name, measured in runs.items():
                measured.append(json.loads(in_a_process(name, body, rows)))
    report(runs)


def in_a_process(what: str, body: Path, rows: int) -> str:
    command = [sys.executable, __file__, "--rows", str(rows), "--child", what, str(body)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    print(f"{'median of':21}" + "".join(f"{name:>13}" for name in runs) + "    ratio      aim")
    for fact, aim in FACTS.items():
        ours, theirs = (statistics.median(m[fact] for m in measured) for measured in runs.values())
        wanted = f"{aim:9.2f}" if aim else ""
        print(f"{fact:21}{ours:13.2f}{theirs:13.2f}{ours / theirs:9.2f}{wanted}")


# --- The children: each imports only what it needs ------------------------------------------------


def write_reply(body: Path, rows: int) -> None:
    from tcia_assets.sandbox.server import Sandbox  # noqa: PLC0415

    with Sandbox() as sandbox, urlopen(f"{sandbox.base_url()}/getSeries") as answer:
        real = json.load(answer)
    places = list(range(rows))
    random.Random(rows).shuffle(places)
    with body.open("w", encoding="utf-8") as file:
        separator = "["
        for place in places:
            uid = f"1.3.6.1.4.1.14519.5.2.1.{10**39 + 7919 * place}"
            row = real[place % len(real)] | {"SeriesInstanceUID": uid}
            text = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
            file.write(separator + text.replace("/", "\\/"))
            separator = ","
        file.write("]")


def with_tcia_assets() -> Callable[[Path], int]:
    from tcia_assets.catalog import dialect  # noqa: PLC0415
    from tcia_assets.metadata.listing import LISTED  # noqa: PLC0415
    from tcia_assets.sources.nbia import wire  # noqa: PLC0415
    from tcia_assets.store.conform import conform  # noqa: PLC0415

    spoken = dialect("nbia-v4")

    def read(body: Path) -> int:
        rows = wire.read(body, spoken.endpoint("getSeries"), spoken.value_format)
        return int(conform(LISTED, rows.table).num_rows)

    return read


def with_python() -> Callable[[Path], int]:
    import pyarrow as pa  # noqa: PLC0415

    from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, dialect  # noqa: PLC0415

    whole = {"count", "size", "whole", "flag"}
    schema = pa.schema(
        [
            (name, pa.int64() if COLUMNS_BY_WIRE_NAME[name].kind.name in whole else pa.string())
            for name in dialect("nbia-v4").endpoint("getSeries").columns
        ]
    )

    def read(body: Path) -> int:
        rows = json.loads(body.read_bytes())
        return int(pa.Table.from_pylist(rows, schema=schema).num_rows)

    return read


READERS = {"tcia_assets": with_tcia_assets, "python": with_python}


def measure(reader: Callable[[], Callable[[Path], int]], body: Path) -> None:
    read = reader()
    before, busy, started = peak_mb(), time.process_time(), time.perf_counter()
    rows = read(body)
    facts = {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - busy,
        "peak_mb": peak_mb(),
        "peak_over_imports_mb": peak_mb() - before,
    }
    print(json.dumps(facts))


def peak_mb() -> float:
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
