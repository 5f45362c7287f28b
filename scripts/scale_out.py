"""`make scale-out`: two shards on two machines without a common folder, one of them lost.

It starts Postgres for Dagster's storage, Redis, SeaweedFS as the object store, a slow sandbox,
Dagster's daemon and two Celery workers, all on this machine. Each worker has a data folder of its
own, as on a machine of its own, and each shard is a run of its own. One worker is killed with -9
halfway and its data folder removed, as if the machine had burnt down; Dagster's daemon ends the
run that waits for it, and the run is repeated. The sandbox's record of requests then shows whether
anything was fetched twice.

Needs Debian's redis-server and postgresql; `make scale-out` installs the rest. Takes at most ten
minutes, and ends all processes that it started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from scale_out_servers import (
    ACCOUNT,
    BIN,
    BUCKET,
    PATIENCE_S,
    Process,
    Servers,
    running,
    servers,
    text_of,
    wait_for,
)

from tcia_assets.images.run_limits import Shard
from tcia_assets.images.zip_files import series_of, stored_zips
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests import s3_servers

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "scale-out"
HOME = DATA / "dagster"
DEFINITIONS = ROOT / "examples" / "celery" / "definitions.py"
COLLECTION = "RIDER Lung CT"
MODALITIES = ["PR", "SR"]
# A machine each, with a data folder of its own: the one beside the warehouse, and two workers.
MAIN, WORKERS = "main", ("one", "two")
SHARDS = len(WORKERS)
CONNECTIONS = 2
# The sandbox delays each zip by this long, so that the worker is killed halfway.
SECONDS_A_SERIES = 1.0
# Dagster's daemon ends a run that lasts longer; for real runs this would be hours.
LONGEST_RUN_S = 90
DAGSTER_YAML = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "concurrency": {"pools": {"default_limit": 2, "granularity": "op"}},
    "run_monitoring": {
        "enabled": True,
        "poll_interval_seconds": 5,
        "free_slots_after_run_end_seconds": 5,
    },
}


def main() -> None:
    began = time.monotonic()
    # Without this, SIGTERM would leave the started processes running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    shutil.rmtree(DATA, ignore_errors=True)
    HOME.mkdir(parents=True)
    with ExitStack() as stack:
        site = started(stack)
        act(f"1. {SHARDS} runs, a shard each, on two machines without a common folder")
        with DagsterInstance.from_config(str(HOME)) as instance:
            show(stack, site, instance)
    print(f"\nDone in {time.monotonic() - began:.0f} s; the logs are in {DATA}.")


def show(stack: ExitStack, site: Site, instance: DagsterInstance) -> None:
    shards = shards_of_series(site)
    for shard in range(SHARDS):
        launch(stack, site, shard, f"run-{shard}")
    wait_for("both runs", lambda: all(run_of(instance, n) for n in range(SHARDS)))
    lost, other = (run_of(instance, n) for n in range(SHARDS))
    wait_for("both workers", lambda: worker_of(instance, lost) and worker_of(instance, other))
    for shard, run in enumerate((lost, other)):
        print(
            f"   run {short(run)}: shard {shard}, {len(shards[shard])} Series, "
            f"machine {worker_of(instance, run)}"
        )

    act("2. The machine of shard 0 is lost halfway: kill -9, and its data folder is removed")
    half = len(shards[0]) // 2
    wait_for("half of shard 0", lambda: len(stored(site) & shards[0]) >= half)
    machine = worker_of(instance, lost)
    site.workers[machine].kill()
    shutil.rmtree(folder_of(machine))
    site.look()
    kept = stored(site) & shards[0]
    print(f"   {len(kept)} of its {len(shards[0])} Series were in the bucket.")

    act(
        "3. The other shard continues; Dagster's daemon ends the run that waits for the dead worker"
    )
    wait_for("the other shard", lambda: status(instance, other) == DagsterRunStatus.SUCCESS)
    print(
        f"   run {short(other)}: {status(instance, other).value}, "
        f"{len(stored(site) & shards[1])} of {len(shards[1])} Series"
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
        f"on machine {worker_of(instance, again)}"
    )

    act("5. What is complete, and what was requested")
    judge(site, instance, shards, kept)


def judge(site: Site, instance: DagsterInstance, shards: list[set[str]], kept: set[str]) -> None:
    """Print the result; exit with 1 if anything was lost or fetched twice.

    Args:
        site: The site.
        instance: Dagster's records.
        shards: The Series of each shard.
        kept: Those that were in the bucket when their machine was lost.
    """
    everything = set().union(*shards)
    requested = Counter(site.look())
    twice = {uid: n for uid, n in requested.items() if n > 1}
    left = [p.name for p in DATA.glob("*/archives/**/.*") if p.is_file()]
    left += [p.name for p in DATA.glob("*/archives/**/*.journal")]
    slots = instance.event_log_storage.get_concurrency_info("tcia_images")
    wait_for("free slots", lambda: not claimed(instance))
    refreshed = tcia_assets(site, MAIN, "refresh", COLLECTION)
    verified = tcia_assets(site, MAIN, "verify", "--deep", "--audit")
    complete = complete_series(site)
    facts = {
        f"{len(stored(site))} of {len(everything)} Series are in the bucket, and the warehouse of "
        f"{MAIN}, which fetched none, has {len(complete)}": not refreshed
        and stored(site) == complete == everything,
        "tcia-assets verify --deep --audit finds no damage and no difference": verified == 0,
        f"{len(requested)} Series were requested, each once but {len(twice)} that were in "
        f"progress at the kill": set(requested) == everything
        and set(twice) <= shards[0] - kept
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


# --- The site -------------------------------------------------------------------------------------


@dataclass
class Site:
    """The servers, and the processes on the machines."""

    servers: Servers
    workers: dict[str, Process] = field(default_factory=dict)
    runs: list[Process] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)

    def settings(self, machine: str) -> dict[str, str]:
        """Return the settings of a machine: all have the bucket, and each its own data folder."""
        return {
            "TCIA_DIALECT": "nbia-v4",
            "TCIA_BASE_URL": f"{self.servers.archive}/nbia-api/services/v4",
            "TCIA_DATA_DIR": str(folder_of(machine)),
            "TCIA_ARCHIVES_URL": f"s3://{BUCKET}/tcia",
            "TCIA_MAX_CONNECTIONS": str(CONNECTIONS),
        }

    def environment(self, machine: str) -> dict[str, str]:
        """Return the environment of a machine, without the caller's settings.

        `dagster-celery` looks for `celery` on the path.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
        return kept | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore",
            "DAGSTER_HOME": str(HOME),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            **keys(self.servers),
            **self.settings(machine),
        }

    def look(self) -> list[str]:
        """Return the Series whose zips were requested so far, once per request."""
        last = call(f"{self.servers.archive}/_sandbox/requests")["last"]
        zips = [each for each in last if each["endpoint"].startswith("getImage")]
        self.seen |= {each["number"]: each["parameters"]["SeriesInstanceUID"] for each in zips}
        return list(self.seen.values())

    def warehouse(self, machine: str) -> Warehouse:
        return Warehouse.of(Settings.from_env(self.settings(machine)))


def folder_of(machine: str) -> Path:
    return DATA / machine


def keys(used: Servers) -> dict[str, str]:
    """Return the environment of the clients of the object store."""
    return {
        "AWS_ENDPOINT_URL": used.store,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": s3_servers.secret_of(ACCOUNT),
    }


def started(stack: ExitStack) -> Site:
    """Start all processes, and refresh the metadata of the Collection on each machine."""
    site = Site(stack.enter_context(servers(DATA)))
    os.environ.update(keys(site.servers))  # for what this script reads
    storage = {"storage": {"postgres": {"postgres_db": dict(site.servers.postgres)}}}
    (HOME / "dagster.yaml").write_text(yaml.safe_dump(DAGSTER_YAML | storage), encoding="utf-8")
    for machine in (MAIN, *WORKERS):
        if tcia_assets(site, machine, "refresh", COLLECTION):
            raise SystemExit(f"the metadata of {COLLECTION} could not be refreshed")
    # Two runs that meet a pool for the first time at once would both set its limit, and one fails.
    limit = [str(BIN / "dagster"), "instance", "concurrency", "set", "tcia_images", str(SHARDS)]
    subprocess.run(limit, env=site.environment(MAIN), check=True, stdout=subprocess.DEVNULL)
    call(f"{site.servers.archive}/_sandbox/requests/clear", {})
    slow = {"kind": "hang", "endpoint": "getImage", "times": 0, "seconds": SECONDS_A_SERIES}
    call(f"{site.servers.archive}/_sandbox/faults", slow)
    daemon: list[str | Path] = [BIN / "dagster-daemon", "run", "-f", DEFINITIONS]
    stack.enter_context(running("daemon", daemon, site.environment(MAIN), DATA))
    config = DATA / "celery.json"
    config.write_text(json.dumps({"execution": execution(site)}), encoding="utf-8")
    for name in WORKERS:
        site.workers[name] = stack.enter_context(worker(site, name, config))
    for name, process in site.workers.items():
        wait_for(f"worker {name}", lambda p=process: " ready." in text_of(p.log))
    return site


def worker(site: Site, name: str, config: Path) -> AbstractContextManager[Process]:
    command: list[str | Path] = [BIN / "dagster-celery", "worker", "start", "-n", name]
    command += ["-A", "dagster_celery.app", "-y", config]
    command += ["--", "--concurrency=1", "--disable-prefetch"]
    return running(f"worker-{name}", command, site.environment(name), DATA)


def execution(site: Site) -> dict[str, Any]:
    return {"config": {"broker": site.servers.broker, "backend": site.servers.broker}}


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
    site.runs.append(stack.enter_context(running(name, command, site.environment(MAIN), DATA)))


def tcia_assets(site: Site, machine: str, *arguments: str) -> int:
    print(f"   {machine:>4} $ tcia-assets {' '.join(arguments)}", flush=True)
    command = [str(BIN / "tcia-assets"), *arguments]
    done = subprocess.run(
        command, env=site.environment(machine), cwd=ROOT, check=False, timeout=PATIENCE_S
    )
    return done.returncode


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"content-type": "application/json"}), timeout=30) as response:
        return json.loads(response.read())


# --- The state --------------------------------------------------------------------------------


def shards_of_series(site: Site) -> list[set[str]]:
    """Return the selected Series of each shard."""
    chosen = "Collection = $1 AND list_contains($2, Modality)"
    return [
        uids_of(
            site,
            f"current_series WHERE {chosen} AND {Shard(index, SHARDS).condition}",
            [COLLECTION, MODALITIES],
        )
        for index in range(SHARDS)
    ]


def complete_series(site: Site) -> set[str]:
    """Return the Series that are complete in the warehouse beside which nothing was fetched."""
    return uids_of(
        site, "image_archives WHERE Collection = $1 AND status = 'complete'", [COLLECTION]
    )


def uids_of(site: Site, where: str, values: list[Any]) -> set[str]:
    rows = site.warehouse(MAIN).query(f"SELECT SeriesInstanceUID AS uid FROM {where}", values)
    return set(rows["uid"].to_pylist())


def stored(site: Site) -> set[str]:
    """Return the Series with a zip in the bucket, where only a verified one is put."""
    return {series_of(zip_) for zip_ in stored_zips(COLLECTION, site.warehouse(MAIN))}


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
