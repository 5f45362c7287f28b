"""`make scale-out`: two shards on two Celery workers, one of them killed, and nothing is lost.

It starts Redis, a slow sandbox, Dagster's daemon and two workers, all on this machine. Each shard
is a run of its own. One worker is killed with -9 halfway, as by a power cut; Dagster's daemon ends
the run that waits for it, and the run is repeated. The sandbox's record of requests then shows
whether anything was fetched twice. Needs Debian's redis-server and the package dagster-celery
(`make scale-out` installs the latter). Takes at most ten minutes, and ends all processes that it
started.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import duckdb
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from tcia_assets.images.run_limits import Shard

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "scale-out"
HOME = DATA / "dagster"
BIN = Path(sys.executable).parent
DEFINITIONS = ROOT / "examples" / "celery" / "definitions.py"
COLLECTION = "RIDER Lung CT"
MODALITIES = ["PR", "SR"]
SHARDS = 2
CONNECTIONS = 2
# The sandbox delays each zip by this long, so that the worker is killed halfway.
SECONDS_A_SERIES = 1.0
# Dagster's daemon ends a run that lasts longer; for real runs this would be hours.
LONGEST_RUN_S = 90
PATIENCE_S = 300
DAGSTER_YAML = """\
telemetry: {enabled: false}
nux: {enabled: false}
concurrency:
  pools: {default_limit: 2, granularity: op}
run_monitoring:
  enabled: true
  poll_interval_seconds: 5
  free_slots_after_run_end_seconds: 5
"""


def main() -> None:
    began = time.monotonic()
    demand_redis()
    # Without this, SIGTERM would leave the started processes running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    shutil.rmtree(DATA, ignore_errors=True)
    HOME.mkdir(parents=True)
    (HOME / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    with ExitStack() as stack:
        site = started(stack)
        act(f"1. {SHARDS} runs, a shard each, on two workers")
        with DagsterInstance.from_config(str(HOME)) as instance:
            show(stack, site, instance)
    print(f"\nDone in {time.monotonic() - began:.0f} s; the logs are in {DATA}.")


def show(stack: ExitStack, site: Site, instance: DagsterInstance) -> None:
    shards = shards_of_series()
    for shard in range(SHARDS):
        launch(stack, site, shard, f"run-{shard}")
    wait_for("both runs", lambda: all(run_of(instance, n) for n in range(SHARDS)))
    lost, other = (run_of(instance, n) for n in range(SHARDS))
    wait_for("both workers", lambda: worker_of(instance, lost) and worker_of(instance, other))
    for shard, run in enumerate((lost, other)):
        print(
            f"   run {short(run)}: shard {shard}, {len(shards[shard])} Series, "
            f"worker {worker_of(instance, run)}"
        )

    act("2. kill -9 for the worker of shard 0, halfway")
    half = len(shards[0]) // 2
    wait_for("half of shard 0", lambda: len(on_disk() & shards[0]) >= half)
    site.workers[worker_of(instance, lost)].kill()
    site.look()
    print(f"   {len(on_disk() & shards[0])} of its {len(shards[0])} Series were on disk.")

    act(
        "3. The other shard continues; Dagster's daemon ends the run that waits for the dead worker"
    )
    wait_for("the other shard", lambda: status(instance, other) == DagsterRunStatus.SUCCESS)
    print(
        f"   run {short(other)}: {status(instance, other).value}, "
        f"{len(on_disk() & shards[1])} of {len(shards[1])} Series"
    )
    wait_for("the end of the lost run", lambda: status(instance, lost) == DagsterRunStatus.FAILURE)
    site.runs[0].kill()  # it still waits
    print(f"   run {short(lost)}: {status(instance, lost).value}, after {LONGEST_RUN_S} s")

    act("4. The run of shard 0 is repeated")
    launch(stack, site, 0, "run-0-again")
    wait_for("the repeated run", lambda: run_of(instance, 0, besides=lost) is not None)
    again = run_of(instance, 0, besides=lost)
    wait_for("its success", lambda: status(instance, again) == DagsterRunStatus.SUCCESS)
    print(
        f"   run {short(again)}: {status(instance, again).value} "
        f"on worker {worker_of(instance, again)}"
    )

    act("5. What is complete, and what was requested")
    judge(site, instance, shards)


def judge(site: Site, instance: DagsterInstance, shards: list[set[str]]) -> None:
    """Print the result; exit with 1 if anything was lost or fetched twice."""
    everything = set().union(*shards)
    requested = Counter(site.look())
    twice = {uid: n for uid, n in requested.items() if n > 1}
    left = [p.name for p in (DATA / "archives").rglob(".*") if p.is_file()]
    left += [p.name for p in (DATA / "archives").rglob("*.journal")]
    slots = instance.event_log_storage.get_concurrency_info("tcia_images")
    wait_for("free slots", lambda: not claimed(instance))
    verified = tcia_assets(site, "verify", "--deep", "--audit")
    facts = {
        f"{len(on_disk())} of {len(everything)} Series are complete": on_disk() == everything,
        "tcia-assets verify --deep --audit finds no damage and no difference": verified == 0,
        f"{len(requested)} Series were requested, each once but {len(twice)} that were in "
        f"progress at the kill": set(requested) == everything
        and set(twice) <= shards[0]
        and len(twice) <= CONNECTIONS
        and max(requested.values()) <= 2,  # noqa: PLR2004
        f"leftover drafts, claims and journals: {left or 'none'}": not left,
        f"occupied slots of the pool: {claimed(instance)} of {slots.slot_count}": not claimed(
            instance
        ),
    }
    for fact, holds in facts.items():
        print(f"   {'yes' if holds else 'NO '}  {fact}")
    if not all(facts.values()):
        raise SystemExit("Something was lost or fetched twice.")


def act(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m", flush=True)


# --- Processes ------------------------------------------------------------------------------------


@dataclass
class Process:
    """A process that this script started, with its children and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill it at once, as a power cut does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self.kill()


@dataclass
class Site:
    """The URLs and processes of one demonstration."""

    url: str
    broker: str
    workers: dict[str, Process] = field(default_factory=dict)
    runs: list[Process] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of child processes, without the caller's TCIA_* and DAGSTER_* settings.

        `dagster-celery` looks for `celery` on the path.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
        return kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore",
            "DAGSTER_HOME": str(HOME),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "TCIA_DIALECT": "nbia-v4",
            "TCIA_BASE_URL": f"{self.url}/nbia-api/services/v4",
            "TCIA_DATA_DIR": str(DATA),
            "TCIA_MAX_CONNECTIONS": str(CONNECTIONS),
        }

    def look(self) -> list[str]:
        """Return the Series whose zips were requested so far, once per request."""
        last = call(f"{self.url}/_sandbox/requests")["last"]
        zips = [each for each in last if each["endpoint"].startswith("getImage")]
        self.seen |= {each["number"]: each["parameters"]["SeriesInstanceUID"] for each in zips}
        return list(self.seen.values())


def started(stack: ExitStack) -> Site:
    """Start all processes, and refresh the metadata of the Collection."""
    port = free_port()
    plain = dict(os.environ)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    stack.enter_context(running("redis", command, plain))
    wait_for("Redis", lambda: listens(port))
    archive = stack.enter_context(
        running("sandbox", [BIN / "tcia-assets", "sandbox", "--port", "0"], plain)
    )
    wait_for("the sandbox archive", lambda: printed_url(archive) != "")
    site = Site(printed_url(archive), f"redis://127.0.0.1:{port}/0")
    if tcia_assets(site, "refresh", COLLECTION):
        raise SystemExit(f"the metadata of {COLLECTION} could not be refreshed")
    call(f"{site.url}/_sandbox/requests/clear", {})
    slow = {"kind": "hang", "endpoint": "getImage", "times": 0, "seconds": SECONDS_A_SERIES}
    call(f"{site.url}/_sandbox/faults", slow)
    daemon: list[str | Path] = [BIN / "dagster-daemon", "run", "-f", DEFINITIONS]
    stack.enter_context(running("daemon", daemon, site.environment))
    config = DATA / "celery.json"
    config.write_text(json.dumps({"execution": execution(site)}), encoding="utf-8")
    for name in ("one", "two"):
        worker: list[str | Path] = [BIN / "dagster-celery", "worker", "start", "-n", name]
        worker += [
            "-A",
            "dagster_celery.app",
            "-y",
            config,
            "--",
            "--concurrency=1",
            "--disable-prefetch",
        ]
        site.workers[name] = stack.enter_context(
            running(f"worker-{name}", worker, site.environment)
        )
    for name, process in site.workers.items():
        wait_for(f"worker {name}", lambda p=process: " ready." in text_of(p.log))
    return site


def execution(site: Site) -> dict[str, Any]:
    return {"config": {"broker": site.broker, "backend": site.broker}}


def launch(stack: ExitStack, site: Site, shard: int, name: str) -> None:
    """Start a run of a shard, in a process of its own that waits for the workers."""
    chosen = {"collections": [COLLECTION], "modalities": MODALITIES}
    config = DATA / f"{name}.json"
    ops = {"selection": chosen, "shards": SHARDS, "shard": shard}
    config_content = {"execution": execution(site), "ops": {"tcia_image_archives": {"config": ops}}}
    config.write_text(json.dumps(config_content), encoding="utf-8")
    tags = {
        "dagster/partition": COLLECTION,
        "dagster/max_runtime": str(LONGEST_RUN_S),
        "shard": str(shard),
    }
    command: list[str | Path] = [BIN / "dagster", "job", "execute", "-f", DEFINITIONS]
    command += ["-j", "tcia_images_celery", "-c", config, "--tags", json.dumps(tags)]
    site.runs.append(stack.enter_context(running(name, command, site.environment)))


def tcia_assets(site: Site, *arguments: str) -> int:
    print(f"   $ tcia-assets {' '.join(arguments)}", flush=True)
    command = [str(BIN / "tcia-assets"), *arguments]
    done = subprocess.run(command, env=site.environment, cwd=ROOT, check=False, timeout=PATIENCE_S)
    return done.returncode


@contextmanager
def running(
    name: str, command: list[str | Path] | list[str], environment: dict[str, str]
) -> Iterator[Process]:
    """Run a process in the background, with its log in the data folder; end it afterwards."""
    path = DATA / f"{name}.log"
    with path.open("wb") as log:
        process = Process(
            subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ),
            path,
        )
        try:
            yield process
        finally:
            process.end()


def demand_redis() -> None:
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed; with Debian: apt-get install redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def printed_url(archive: Process) -> str:
    found = re.search(r"^Sandbox archive .* at (http\S+)$", text_of(archive.log), re.MULTILINE)
    return found[1] if found else ""


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"content-type": "application/json"}), timeout=30) as response:
        return json.loads(response.read())


def wait_for(what: str, is_there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not appear within {PATIENCE_S} s; see the logs in {DATA}")
        time.sleep(0.5)


# --- The state --------------------------------------------------------------------------------


def shards_of_series() -> list[set[str]]:
    """Return the selected Series of each shard."""
    with duckdb.connect(str(DATA / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT SeriesInstanceUID FROM current_series "
            "WHERE Collection = $1 AND list_contains($2, Modality)",
            [COLLECTION, MODALITIES],
        ).fetchall()
    uids = {row[0] for row in rows}
    return [{u for u in uids if Shard(index, SHARDS).contains(u)} for index in range(SHARDS)]


def on_disk() -> set[str]:
    """Return the Series whose zip has its final name, which only a verified zip gets."""
    return {path.stem for path in (DATA / "archives").glob("*/*.zip")}


def run_of(
    instance: DagsterInstance, shard: int, besides: DagsterRun | None = None
) -> DagsterRun | None:
    """Return the run of a shard, or None if it is not recorded yet."""
    found = instance.get_runs(RunsFilter(tags={"shard": str(shard)}))
    others = [run for run in found if besides is None or run.run_id != besides.run_id]
    return others[0] if others else None


def status(instance: DagsterInstance, run: DagsterRun) -> DagsterRunStatus:
    known = instance.get_run_by_id(run.run_id)
    if known is None:
        raise SystemExit(f"run {run.run_id} is gone")
    return known.status


def worker_of(instance: DagsterInstance, run: DagsterRun) -> str:
    """Return the worker that has taken the run's first step; "" if none has."""
    for entry in instance.all_logs(run.run_id):
        data = entry.dagster_event.event_specific_data if entry.dagster_event else None
        named = getattr(data, "metadata", {}).get("Celery worker")
        if named is not None:
            return str(named.value).partition("@")[0]
    return ""


def claimed(instance: DagsterInstance) -> int:
    """Return the number of occupied slots of the pool."""
    return instance.event_log_storage.get_concurrency_info("tcia_images").active_slot_count


def short(run: DagsterRun) -> str:
    return run.run_id[:8]


if __name__ == "__main__":
    main()
