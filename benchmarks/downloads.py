"""The same Series with this project, tcia_utils, nbiatoolkit, and curl followed by `unzip -t`.

One local server sends zips of real DICOM objects as the archive writes them (`download_server.py`):

    large        4 Series of about 240 MB, 500 objects each
    small        500 Series of about 1 MB, 4 objects each
    small-50ms   the same, where the archive thinks for 50 ms before it sends
    small-line   the same, over a line of 400 Mbit/s
    huge         one Series of 2.1 GB, 4,200 objects, beside seven of 60 MB: for memory, ours alone

Every client runs in processes of its own, into an empty folder, in turns. Prints, as Markdown, the
medians of wall time, of the wall time of the call alone (without start and imports), of processor
time and of peak memory, and how the ratios stand to the aims. Needs Linux, curl and unzip.

The zips (8 GB) and nbiatoolkit, whose requirements fit beside nobody's, are made once and kept
below `.benchmarks/`, which git ignores. What is downloaded goes to --scratch: memory
(/dev/shm) where there is enough, so that no disk is measured.

    .venv/bin/python benchmarks/downloads.py [--rounds 3] [--sets large small ...]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parent / ".benchmarks"
BIN = Path(sys.executable).parent
NBIATOOLKIT = "nbiatoolkit==1.3.1"
UIDS = "1.3.6.1.4.1.14519.5.2.1.9999"
CT = "1.2.840.10008.5.1.4.1.1.2"
NEEDED_IN_MEMORY = 6 << 30
SAMPLE_EVERY_S = 0.02
# Settings of ours; and what keeps a checkout from being compiled once, as installed packages are.
NOT_PASSED_ON = ("TCIA_", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Set:
    """Series that are downloaded together. `side` is the width of an object in pixels.

    The first may have a different number of objects than the rest. `clients` are those that
    download them, if not all. The server waits `wait_ms` before each first byte and sends `mbit`
    Mbit/s; 0 is without a limit.
    """

    name: str
    collection: str
    series: int
    objects: int
    side: int
    objects_of_first: int = 0
    wait_ms: int = 0
    mbit: int = 0
    clients: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return CACHE / "downloads" / f"{self.collection}-{self.series}x{self.objects}x{self.side}"

    def objects_in(self, place: int) -> int:
        return self.objects if place else self.objects_of_first or self.objects

    @property
    def uids(self) -> list[str]:
        return [f"{UIDS}.{self.objects}.{self.side}.{n}" for n in range(1, self.series + 1)]


OURS = ("command", "call")
BUT_THE_SLOWEST = (*OURS, "tcia_utils", "curl")
SETS = (
    Set("large", "Large", 4, 500, 720),
    Set("small", "Small", 500, 4, 512),
    Set("small-50ms", "Small", 500, 4, 512, wait_ms=50, clients=BUT_THE_SLOWEST),
    Set("small-line", "Small", 500, 4, 512, mbit=400, clients=BUT_THE_SLOWEST),
    Set("huge", "Huge", 8, 120, 720, objects_of_first=4200, clients=OURS),
)


@dataclass(frozen=True)
class Run:
    """What one download cost. `call_s` leaves out start and imports, where that is known."""

    wall_s: float
    cpu_s: float
    anonymous_mb: float
    peak_mb: float
    call_s: float

    def then(self, other: Run) -> Run:
        return Run(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.anonymous_mb, other.anonymous_mb),
            max(self.peak_mb, other.peak_mb),
            self.call_s + other.call_s,
        )


@dataclass(frozen=True)
class Bench:
    """Where a set is served, and where its Series go."""

    what: Set
    base: str
    scratch: Path
    warehouse: Path
    connections: int


Runs = dict[str, list[Run]]
Client = Callable[[Bench, Path], dict[str, Run]]


def main() -> None:
    names = [each.name for each in SETS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--connections", type=int, default=8, help="ours and curl's")
    parser.add_argument("--scratch", type=Path, help="where the downloads go")
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "JSON"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure_call(CHILDREN[given.child[0]], json.loads(given.child[1]))
        return
    demand_tools()
    prepare(each for each in SETS if each.name in given.sets)
    scratch = Path(tempfile.mkdtemp(prefix="tcia-benchmark-", dir=given.scratch or roomy()))
    print(
        f"{os.cpu_count()} cores, {given.connections} connections, medians of {given.rounds} "
        f"rounds in turns; downloads go to {scratch.parent} ({file_system(scratch)}); tcia_utils "
        f"{version('tcia_utils')}, {NBIATOOLKIT}. Anonymous is the memory that processes hold of "
        "their own; peak RSS counts mapped files too, such as libraries and the zips that ours "
        "reads in place. Made by\n\n"
        f"    {' '.join(['.venv/bin/python', 'benchmarks/downloads.py', *sys.argv[1:]])}",
        flush=True,
    )
    try:
        for each in SETS:
            if each.name in given.sets:
                compare(each, scratch, given.connections, given.rounds)
    finally:
        shutil.rmtree(scratch)


# --- What is measured -----------------------------------------------------------------------------


def compare(what: Set, scratch: Path, connections: int, rounds: int) -> None:
    clients = {name: CLIENTS[name] for name in what.clients or CLIENTS}
    if not nbiatoolkit_folder().exists():
        clients.pop("nbiatoolkit", None)
    with served(what) as base:
        bench = Bench(what, base, scratch, scratch / f"warehouse-{what.name}", connections)
        learn(bench)
        runs: Runs = {}
        for number in range(rounds):
            for client in turned(list(clients.values()), number):
                for name, run in in_an_empty_folder(client, bench).items():
                    runs.setdefault(name, []).append(run)
                    line = f"{what.name}, round {number + 1}: {name}: {run.wall_s:.2f} s"
                    print(line, file=sys.stderr, flush=True)
    order = [name for name in ROWS if name in runs]
    medians = {name: median(runs[name]) for name in order}
    print(table(what, medians))
    print(aims(what, medians), flush=True)


def in_an_empty_folder(client: Client, bench: Bench) -> dict[str, Run]:
    folder = bench.scratch / "run"
    folder.mkdir()
    try:
        return client(bench, folder)
    finally:
        shutil.rmtree(folder)


def turned(clients: list[Client], by: int) -> list[Client]:
    """Each round begins with another client: none has always the same predecessor's heat."""
    place = by % len(clients)
    return clients[place:] + clients[:place]


def by_command(bench: Bench, folder: Path) -> dict[str, Run]:
    data = folder / "data"
    shutil.copytree(bench.warehouse, data)
    tool = [sys.executable, "-m", "tcia_assets"]
    # The views name their folder, and this is another one than that in which they were made.
    measured([*tool, "query", "SELECT 1"], folder, settings(bench, data))
    run = measured([*tool, "fetch", bench.what.collection], folder, settings(bench, data))
    demand(len(list(data.rglob("*.zip"))), bench.what.series, "tcia-assets fetch", "zips")
    return {"`tcia-assets fetch`": run}


def by_call(bench: Bench, folder: Path) -> dict[str, Run]:
    data = folder / "data"
    shutil.copytree(bench.warehouse, data)
    run = in_a_child("fetch", bench, folder, data)
    demand(len(list(data.rglob("*.zip"))), bench.what.series, "archive.fetch", "zips")
    return {"`fetch_images`, no Dagster": run}


def download_alone(bench: Bench, folder: Path) -> dict[str, Run]:
    run = in_a_child("download", bench, folder, folder / "files")
    files = len(list((folder / "files").iterdir()))
    demand(files, bench.what.series, "Client.download", "zips")
    return {"of it the download (hashed, not verified)": run}


def by_tcia_utils(bench: Bench, folder: Path) -> dict[str, Run]:
    runs = {}
    for workers in (2, 10):
        into = folder / str(workers)
        runs[f"tcia_utils, {workers} workers"] = in_a_child(
            "tcia_utils", bench, folder, into, workers=workers
        )
        demand_objects(into, bench.what, "tcia_utils")
        shutil.rmtree(into)
    return runs


def by_nbiatoolkit(bench: Bench, folder: Path) -> dict[str, Run]:
    runs = {}
    for workers in (1, 2):
        into = folder / str(workers)
        # -S: only its own packages; those of this environment are too new for it.
        runs[f"nbiatoolkit, {workers} worker{'s' * (workers > 1)}"] = in_a_child(
            "nbiatoolkit",
            bench,
            folder,
            into,
            python=(sys.executable, "-S"),
            environment={"PYTHONPATH": str(nbiatoolkit_folder()), "TMPDIR": str(folder)},
            workers=workers,
        )
        demand_objects(into, bench.what, "nbiatoolkit")
        shutil.rmtree(into)
    return runs


def by_curl(bench: Bench, folder: Path) -> dict[str, Run]:
    """By curl alone; with `unzip -t` of one zip after the other; with two at once."""
    got = measured(curl(bench, folder, "{uid}.zip"), folder)
    zips = sorted(folder.glob("*.zip"))
    demand(len(zips), bench.what.series, "curl", "zips")
    listed = folder / "zips.txt"
    listed.write_text("\n".join(map(str, zips)))
    command = ["xargs", "--arg-file", str(listed), "-n", "1"]
    one = measured([*command, "-P", "1", "unzip", "-tqq"], folder)
    two = measured([*command, "-P", "2", "unzip", "-tqq"], folder)
    return {
        "`curl --parallel`": got,
        "curl, then `unzip -t`": got.then(one),
        "curl, then `unzip -t`, two at once": got.then(two),
    }


def server_alone(bench: Bench, folder: Path) -> dict[str, Run]:
    return {"`curl --parallel` to /dev/null": measured(curl(bench, folder, "/dev/null"), folder)}


def curl(bench: Bench, folder: Path, output: str) -> list[str]:
    config = folder / "curl.txt"
    url = f"{bench.base}/v4/getImage?IncludeMD5=Yes&SeriesInstanceUID="
    config.write_text(
        "".join(
            f'url = "{url}{uid}"\noutput = "{folder / output.format(uid=uid)}"\n'
            for uid in bench.what.uids
        )
    )
    options = ["--parallel", "--parallel-max", str(bench.connections), "--silent", "--fail"]
    return ["curl", *options, "--config", str(config)]


CLIENTS: dict[str, Client] = {
    "command": by_command,
    "tcia_utils": by_tcia_utils,
    "call": by_call,
    "curl": by_curl,
    "nbiatoolkit": by_nbiatoolkit,
    "download": download_alone,
    "server": server_alone,
}


def settings(bench: Bench, data: Path) -> dict[str, str]:
    return {
        "TCIA_BASE_URL": f"{bench.base}/v4",
        "TCIA_DATA_DIR": str(data),
        "TCIA_MAX_CONNECTIONS": str(bench.connections),
    }


def learn(bench: Bench) -> None:
    """Refresh our warehouse, from which we plan; the other clients get the UIDs as arguments."""
    command = [str(BIN / "tcia-assets"), "refresh", bench.what.collection]
    command += ["--max-size-requests", "0"]  # getSeries has the sizes
    measured(command, bench.scratch, settings(bench, bench.warehouse))


def demand(found: int, wanted: int, who: str, what: str) -> None:
    if found != wanted:
        raise SystemExit(f"{who}: {found} {what} where {wanted} were wanted")


def demand_objects(folder: Path, what: Set, who: str) -> None:
    found = sum(1 for _ in folder.rglob("*.dcm"))
    demand(found, what.series * what.objects, who, "DICOM files")


# --- How it is measured ---------------------------------------------------------------------------


def in_a_child(
    name: str,
    bench: Bench,
    folder: Path,
    into: Path,
    *,
    python: tuple[str, ...] = (sys.executable,),
    environment: dict[str, str] | None = None,
    workers: int = 0,
) -> Run:
    arguments = {
        "base": bench.base,
        "into": str(into),
        "uids": bench.what.uids,
        "collection": bench.what.collection,
        "workers": workers or bench.connections,
    }
    command = [*python, __file__, "--child", name, json.dumps(arguments)]
    return measured(command, folder, environment or {}, says_seconds=True)


def measured(
    command: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    *,
    says_seconds: bool = False,
) -> Run:
    """Run a command to its end; with `says_seconds`, its last line is the time of the call."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_PASSED_ON)}
    kept |= {"NO_PROXY": "127.0.0.1", "DAGSTER_DISABLE_TELEMETRY": "yes"} | (environment or {})
    with (folder / "output.txt").open("w+") as output, (folder / "errors.txt").open("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, env=kept, stdout=output, stderr=errors, cwd=folder)
        with peak_of(process.pid) as anonymous:
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        outputs = [Path(file.name).read_text() for file in (output, errors)]
    if process.returncode:
        raise SystemExit(
            f"{command[0]} ended with {process.returncode}:\n{''.join(outputs)[-2000:]}"
        )
    return Run(
        wall,
        usage.ru_utime + usage.ru_stime,
        anonymous[0] / 1e6,
        usage.ru_maxrss * 1024 / 1e6,
        float(outputs[0].splitlines()[-1]) if says_seconds else wall,
    )


@contextmanager
def peak_of(pid: int) -> Iterator[list[float]]:
    """Sample the anonymous memory of a process and its children; yields the largest sum so far."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_EVERY_S):
            peak[0] = max(peak[0], anonymous_bytes(family(pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(other for child in children for other in family(int(child)))]


def anonymous_bytes(pids: list[int]) -> int:
    # A forked child shares its parent's pages: with several, each page counts once.
    file, key = ("status", "RssAnon:") if len(pids) == 1 else ("smaps_rollup", "Pss_Anon:")
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    return total


@contextmanager
def served(what: Set) -> Iterator[str]:
    command = [sys.executable, str(HERE / "download_server.py"), str(what.folder)]
    command += ["--wait-ms", str(what.wait_ms), "--mbit", str(what.mbit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout  # it is a pipe
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/nbia-api/services"
        finally:
            process.terminate()


# --- The clients, each in its process -------------------------------------------------------------


def measure_call(child: Callable[[dict[str, Any]], Callable[[], None]], arguments: Any) -> None:
    call = child(arguments)
    began = time.perf_counter()
    call()
    print(f"\n{time.perf_counter() - began}")


def with_fetch(arguments: dict[str, Any]) -> Callable[[], None]:
    from tcia_assets.images.fetch import fetch_images  # noqa: PLC0415
    from tcia_assets.images.fetch_session import FetchSession  # noqa: PLC0415
    from tcia_assets.metadata.selection import Selection  # noqa: PLC0415
    from tcia_assets.sources import open_source  # noqa: PLC0415
    from tcia_assets.store.warehouse import Warehouse  # noqa: PLC0415

    def call() -> None:
        with open_source(our_settings(arguments)) as source:
            name = arguments["collection"]
            selection = Selection(collections=(name,))
            session, into = FetchSession(selection), Warehouse(Path(arguments["into"]))
            done = fetch_images(name, session, source, into)
        if set(done.totals.statuses) != {"complete"}:
            raise SystemExit(f"not all complete: {done.totals.statuses}")

    return call


def with_download(arguments: dict[str, Any]) -> Callable[[], None]:
    from tcia_assets.sources import Target  # noqa: PLC0415
    from tcia_assets.sources.nbia.client import Client  # noqa: PLC0415

    into = Path(arguments["into"])
    into.mkdir()

    def call() -> None:
        with (
            Client(our_settings(arguments)) as client,
            ThreadPoolExecutor(arguments["workers"]) as pool,
        ):
            list(
                pool.map(
                    lambda uid: client.download(
                        "getImage", Target(into / uid), SeriesInstanceUID=uid
                    ),
                    arguments["uids"],
                )
            )

    return call


def our_settings(arguments: dict[str, Any]) -> Any:
    from tcia_assets.settings import Settings  # noqa: PLC0415

    return Settings(
        base_url=f"{arguments['base']}/v4",
        data_dir=arguments["into"],
        max_connections=arguments["workers"],
    )


def with_tcia_utils(arguments: dict[str, Any]) -> Callable[[], None]:
    from tcia_utils import nbia  # noqa: PLC0415

    # It supports no other host than TCIA's.
    nbia.setApiUrl = lambda *_: f"{arguments['base']}/v4/"

    def call() -> None:
        nbia.downloadSeries(
            arguments["uids"],
            input_type="list",
            path=arguments["into"],
            hash="y",
            max_workers=arguments["workers"],
        )

    return call


def with_nbiatoolkit(arguments: dict[str, Any]) -> Callable[[], None]:
    from nbiatoolkit import NBIAClient  # noqa: PLC0415
    from nbiatoolkit.utils import NBIA_BASE_URLS  # noqa: PLC0415

    # Workers are forked and find the member by its value.
    base = NBIA_BASE_URLS.NBIA
    base._value_ = f"{arguments['base']}/"
    NBIA_BASE_URLS._value2member_map_[base._value_] = base

    def call() -> None:
        client = NBIAClient(log_level="ERROR")
        if not client.downloadSeries(
            arguments["uids"], downloadDir=arguments["into"], nParallel=arguments["workers"]
        ):
            raise SystemExit("nbiatoolkit reports a failure")

    return call


CHILDREN = {
    "fetch": with_fetch,
    "download": with_download,
    "tcia_utils": with_tcia_utils,
    "nbiatoolkit": with_nbiatoolkit,
}


# --- The report -----------------------------------------------------------------------------------

CALL, COMMAND = "`fetch_images`, no Dagster", "`tcia-assets fetch`"
# What each proves, in the order of the table.
ROWS = {
    COMMAND: "CRC, MD5, count, bytes, DICOM; recorded",
    CALL: "the same",
    "of it the download (hashed, not verified)": "SHA-256",
    "tcia_utils, 2 workers": "CRC",
    "tcia_utils, 10 workers": "CRC",
    "nbiatoolkit, 1 worker": "CRC, MD5",
    "nbiatoolkit, 2 workers": "CRC, MD5",
    "curl, then `unzip -t`": "CRC",
    "curl, then `unzip -t`, two at once": "CRC",
    "`curl --parallel`": "none",
    "`curl --parallel` to /dev/null": "none",
}


@dataclass(frozen=True)
class Aim:
    """How our figure should stand to another's, and in which sets."""

    of: str
    other: str
    bound: float
    sets: tuple[str, ...]

    @property
    def wanted(self) -> str:
        return f"at {'least' if self.of == 'Series/s' else 'most'} {self.bound}"


LARGE, SMALL = ("large",), ("small", "small-50ms", "small-line")
MOST_MB = 150
AIMS = (
    Aim("wall", "tcia_utils, 2 workers", 0.4, LARGE),
    Aim("wall", "tcia_utils, 10 workers", 0.4, LARGE),
    Aim("anonymous", "tcia_utils, 2 workers", 0.1, LARGE),
    Aim("anonymous", "tcia_utils, 10 workers", 0.1, LARGE),
    Aim("wall", "curl, then `unzip -t`", 1.0, LARGE + SMALL),
    Aim("wall", "curl, then `unzip -t`, two at once", 1.0, LARGE + SMALL),
    Aim("Series/s", "`curl --parallel`", 0.9, SMALL),
)


def median(runs: list[Run]) -> Run:
    fields = zip(*(vars(run).values() for run in runs), strict=True)
    return Run(*(statistics.median(values) for values in fields))


def table(what: Set, medians: dict[str, Run]) -> str:
    zips = [(what.folder / "zips" / "getImage" / uid).stat().st_size for uid in what.uids]
    raw = what.objects * what.side**2 * 2
    title = (
        f"\n### {what.name}: {what.series} Series of {zips[-1] / 1e6:.1f} MB "
        f"({what.objects} objects, {raw / 1e6:.1f} MB inflated)"
    )
    if what.objects_of_first:
        title += f", of which one has {zips[0] / 1e6:.0f} MB ({what.objects_of_first} objects)"
    if what.wait_ms:
        title += f", {what.wait_ms} ms before each first byte"
    if what.mbit:
        title += f", over a line of {what.mbit} Mbit/s"
    head = "client | wall | of it the call | CPU | anonymous | peak RSS | Series/s | MB/s | proves"
    lines = [title, "", f"| {head} |", "|---" * 9 + "|"]
    for name, run in medians.items():
        facts = (
            f"{run.wall_s:.2f} s | {run.call_s:.2f} s | {run.cpu_s:.2f} s | "
            f"{run.anonymous_mb:.0f} MB | {run.peak_mb:.0f} MB | "
            f"{what.series / run.call_s:.3g} | {sum(zips) / run.call_s / 1e6:.0f}"
        )
        lines.append(f"| {name} | {facts} | {ROWS[name]} |")
    return "\n".join(lines)


def aims(what: Set, medians: dict[str, Run]) -> str:
    """Our command against whole processes, our call against calls."""
    lines = ["", "| ratio | aim | the command | the call |", "|---" * 4 + "|"]
    for aim in AIMS:
        if aim.other in medians:
            pairs = (
                (medians[COMMAND], medians[COMMAND].wall_s / medians[aim.other].wall_s),
                (medians[CALL], medians[CALL].call_s / medians[aim.other].call_s),
            )
            shown = [verdict(aim, what, run, slower, medians[aim.other]) for run, slower in pairs]
            wanted = aim.wanted if what.name in aim.sets else ""
            lines.append(f"| {aim.of} / {aim.other} | {wanted} | {' | '.join(shown)} |")
    held = [medians[name].anonymous_mb for name in (COMMAND, CALL)]
    shown = [f"{mb:.0f} MB ({'met' if mb < MOST_MB else 'missed'})" for mb in held]
    lines.append(f"| anonymous | under {MOST_MB} MB | {' | '.join(shown)} |")
    return "\n".join(lines)


def verdict(aim: Aim, what: Set, ours: Run, slower: float, theirs: Run) -> str:
    ratios = {
        "wall": slower,
        "Series/s": 1 / slower,
        "anonymous": ours.anonymous_mb / theirs.anonymous_mb,
    }
    value = ratios[aim.of]
    if what.name not in aim.sets:
        return f"{value:.2f}"
    met = value >= aim.bound if aim.of == "Series/s" else value <= aim.bound
    return f"{value:.2f} ({'met' if met else 'missed'})"


# --- What is made once ----------------------------------------------------------------------------


def demand_tools() -> None:
    missing = [tool for tool in ("curl", "unzip", "xargs") if not shutil.which(tool)]
    if missing or not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit(f"this needs Linux with {', '.join(missing) or '/proc'}")


def prepare(sets: Iterable[Set]) -> None:
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    install_nbiatoolkit()
    for each in sets:
        if not (each.folder / "answers").exists():
            make(each)


def nbiatoolkit_folder() -> Path:
    return CACHE / NBIATOOLKIT


def install_nbiatoolkit() -> None:
    """Install it into a folder of its own; print if that fails, and leave it out."""
    folder = nbiatoolkit_folder()
    if folder.exists():
        return
    draft = CACHE / "nbiatoolkit.draft"
    shutil.rmtree(draft, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(draft)]
    done = subprocess.run([*command, NBIATOOLKIT], check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"**{NBIATOOLKIT} cannot be installed here, it is left out:** {done.stderr[-500:]}")
        return
    draft.rename(folder)


def make(what: Set) -> None:
    """Make the zips and rows of a set; the rows come last, and mark it as complete."""
    print(f"making {what.series} Series in {what.folder} ...", file=sys.stderr)
    shutil.rmtree(what.folder, ignore_errors=True)
    for endpoint in ("getImage", "getImageWithMD5Hash"):
        (what.folder / "zips" / endpoint).mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(make_series, [what] * what.series, range(what.series)))
    draft = what.folder / "answers.draft"
    (draft / "getMD5Hierarchy").mkdir(parents=True)
    for uid, (_, series_hash) in zip(what.uids, made, strict=True):
        (draft / "getMD5Hierarchy" / f"{uid}.txt").write_text(series_hash)
    for endpoint, rows in answers(what, [size for size, _ in made]).items():
        (draft / endpoint).mkdir(parents=True)
        for name in ("all", what.collection):
            (draft / endpoint / f"{name}.json").write_text(json.dumps(rows, separators=(",", ":")))
    draft.rename(what.folder / "answers")


def answers(what: Set, sizes: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that a refresh requests, by endpoint, in the form of nbia-v4."""
    collection, study = {"Collection": what.collection}, f"{UIDS}.{what.objects}.{what.side}.0"
    patient = {"PatientName": "Benchmark", "PatientSex": "O", **collection, "Authorized": 1}
    series = [
        {
            "SeriesInstanceUID": uid,
            "StudyInstanceUID": study,
            "Modality": "CT",
            "SeriesDate": "01-02-2020",
            "BodyPartExamined": "CHEST",
            "SeriesNumber": number,
            **collection,
            "PatientID": "Benchmark",
            "Manufacturer": "Benchmark",
            "ImageCount": what.objects_in(number - 1),
            "MaxSubmissionTimestamp": "01-02-2020",
            "LicenseName": "Creative Commons Attribution 4.0 International License",
            "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
            "DataDescriptionURI": "https://doi.org/10.7937/benchmark",
            "FileSize": size,
            "ReleasedStatus": "Yes",
            "DateReleased": "01-02-2020",
            "ThirdPartyAnalysis": "NO",
            "Authorized": 1,
        }
        for number, (uid, size) in enumerate(zip(what.uids, sizes, strict=True), start=1)
    ]
    seen = {"StudyDate": "01-02-2020", "SeriesCount": what.series, "PatientID": "Benchmark"}
    return {
        "getCollectionValues": [collection],
        "getCollectionDescriptions": [
            {"collectionName": what.collection, "description": "Benchmark", "id": 1}
        ],
        "getModalityValues": [{"Modality": "CT"}],
        "getBodyPartValues": [{"BodyPartExamined": "CHEST"}],
        "getManufacturerValues": [{"Manufacturer": "BENCHMARK"}],
        "getPatient": [{"PatientId": "Benchmark", "Phantom": "NO", **patient}],
        "getPatientStudy": [{"StudyInstanceUID": study, **seen, **patient}],
        "getSeries": series,
    }


def make_series(what: Set, place: int) -> tuple[int, str]:
    """Write the zips of a Series; return the bytes and the hash of its objects."""
    from tcia_assets.images.md5_hierarchy import combined_md5  # noqa: PLC0415
    from tcia_assets.sandbox.zip_stream import Entry  # noqa: PLC0415

    uid, images, hashes, total = what.uids[place], [], {}, 0
    for number in range(1, what.objects_in(place) + 1):
        whole, name = dicom_object(what, place, number), f"{number:08}.dcm"
        deflated = (zlib.crc32(whole), len(whole))
        images.append(Entry(name, [deflate(whole)], deflated=deflated))
        hashes[name] = hashlib.md5(whole, usedforsecurity=False).hexdigest()
        total += len(whole)
    lines = ["Filename,MD5Hash", *(f"{name},{md5}" for name, md5 in hashes.items()), ""]
    md5 = Entry("md5hashes.csv", ["\n".join(lines).encode()])
    terms = Entry("LICENSE", [f"Collection: {what.collection}\n".encode() * 20])
    write_chunked(what.folder / "zips" / "getImage" / uid, [terms, *images, md5])
    write_chunked(what.folder / "zips" / "getImageWithMD5Hash" / uid, [*images, md5])
    return total, combined_md5(hashes.values())


def write_chunked(path: Path, entries: list[Any]) -> None:
    """Write a zip as Java does, in Tomcat's chunks of 8 KiB."""
    from tcia_assets.sandbox.zip_stream import zip_chunks  # noqa: PLC0415

    held = bytearray()
    with path.open("wb") as file:
        for piece in zip_chunks(entries):
            held += piece
            whole = len(held) - len(held) % 8192
            for start in range(0, whole, 8192):
                file.write(b"2000\r\n%b\r\n" % bytes(held[start : start + 8192]))
            del held[:whole]
        if held:
            file.write(b"%x\r\n%b\r\n" % (len(held), bytes(held)))
        file.write(b"0\r\n\r\n")


def deflate(whole: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)  # Java's default level too
    return packer.compress(whole) + packer.flush()


def dicom_object(what: Set, place: int, number: int) -> bytes:
    """Return a CT slice that deflates to about 0.48, as those of TCIA do."""
    import pydicom  # noqa: PLC0415

    uid = what.uids[place]
    about = pydicom.Dataset()
    about.SOPClassUID, about.SOPInstanceUID = CT, f"{uid}.{number}"
    about.StudyInstanceUID = f"{UIDS}.{what.objects}.{what.side}.0"
    about.SeriesInstanceUID, about.Modality = uid, "CT"
    about.PatientName = about.PatientID = "Benchmark"
    about.StudyDate = about.SeriesDate = "20200102"
    about.SeriesNumber, about.InstanceNumber = place + 1, number
    about.ImagePositionPatient = [0, 0, number]
    about.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    about.PixelSpacing, about.SliceThickness = [0.7, 0.7], 1
    about.RescaleIntercept, about.RescaleSlope = -1024, 1
    about.Rows = about.Columns = what.side
    about.SamplesPerPixel, about.PhotometricInterpretation = 1, "MONOCHROME2"
    about.BitsAllocated, about.BitsStored, about.HighBit = 16, 12, 11
    about.PixelRepresentation = 0
    about.PixelData = pixels(what, place, number)
    about.file_meta = pydicom.dataset.FileMetaDataset()
    about.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = io.BytesIO()
    about.save_as(file, enforce_file_format=True)
    return file.getvalue()


def pixels(what: Set, place: int, number: int) -> bytes:
    """Return pixels of a body in air, with the noise of a scanner."""
    import numpy as np  # noqa: PLC0415

    side, chance = what.side, np.random.default_rng((place, number))
    y, x = np.mgrid[0:side, 0:side]
    away = np.hypot(x - side / 2, y - side / 2) / side
    body = np.where(away < 0.42, 1040 + 120 * np.sin((x + number) / 60) * np.cos(y / 45), 24)
    noise = np.where(away < 0.49, chance.normal(0, 30, (side, side)), 0)
    return bytes(np.clip(body + noise, 0, 4095).astype("<u2").tobytes())


def roomy() -> Path:
    """Memory where it holds all that a client unpacks, else the cache's disk."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > NEEDED_IN_MEMORY:
        return memory
    return CACHE


def file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format", "%T", str(folder)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
