"""`make demo`: from an empty folder to a mirror that Dagster keeps current.

It has seven parts: start the sandbox, refresh all metadata, fetch the images of one Collection,
build a dataset for training, query the warehouse with SQL, simulate a day, and mirror the same
Collection from the Imaging Data Commons. On the day Series are released, there is an outage, and
one Series is revised, one moved and one withdrawn, while Dagster's daemon runs. Only the archives
are a sandbox, on this machine; everything else is real.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import duckdb
from dagster import DagsterInstance

from tcia_assets import load_dataset

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "demo"
BIN = Path(sys.executable).parent
IDC_DATA = DATA / "idc"
# What the archive of the demo serves, and where; `make dev` serves the same again.
STATE = DATA / "archive.parquet"
PORT = DATA / "archive.port"
COLLECTION = "LCTSC"
HELD_BACK = 2
DATASET = "lung_ct"
SAMPLES = """
    SELECT part, state, count(DISTINCT patient) AS patients, count(*) AS samples,
           list(DISTINCT reason) FILTER (reason IS NOT NULL) AS reasons
    FROM read_parquet('{file}') LEFT JOIN unnest(reasons) AS r(reason) ON true
    GROUP BY part, state ORDER BY part, state
"""
COMPARED = """
    SELECT count(nbia.md5), count(idc.md5), count(*) FILTER (nbia.md5 NOTNULL AND idc.md5 NOTNULL),
           count(*) FILTER (nbia.md5 = idc.md5)
    FROM read_parquet($nbia) AS nbia FULL JOIN read_parquet($idc) AS idc
        USING (SeriesInstanceUID, SOPInstanceUID)
"""
MOVES = ("Vestibular-Schwannoma-SEG", "Vestibular-Schwannoma-MC-RC")
WITHDRAWS = "VICTRE"
QUERIES = {
    "What is there?": """
        SELECT Collection, count(DISTINCT PatientID) AS patients, count(*) AS series,
               sum(ImageCount)::BIGINT AS images,
               string_agg(DISTINCT Modality, ' ' ORDER BY Modality) AS modalities
        FROM current_series GROUP BY Collection ORDER BY Collection
    """,
    "Which patients are in two Collections?": """
        SELECT PatientID, list(Collection ORDER BY Collection) AS collections
        FROM patients GROUP BY PatientID HAVING count(*) > 1 ORDER BY PatientID LIMIT 5
    """,
    "Which CT Series on disk have contours or a segmentation in their Study?": """
        SELECT ct.PatientID, ct.ImageCount, other.Modality AS target, a.verified_by
        FROM current_series ct
        JOIN current_series other USING (StudyInstanceUID)
        JOIN image_archives a ON a.SeriesInstanceUID = ct.SeriesInstanceUID
        WHERE ct.Modality = 'CT' AND other.Modality IN ('SEG', 'RTSTRUCT')
          AND a.status = 'complete'
        ORDER BY ALL LIMIT 5
    """,
}


def environment(url: str) -> dict[str, str]:
    """Return the environment of a command, with no other settings than the demo's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    return kept | {
        "TCIA_DIALECT": "nbia-v4",
        "TCIA_BASE_URL": f"{url}/nbia-api/services/v4",
        "TCIA_DATA_DIR": str(DATA),
        "TCIA_IMAGE_SELECTION": f"{{collections: [{COLLECTION}]}}",
        # A day takes a minute here: three listings count, without hours between them.
        "TCIA_WITHDRAWAL_HOURS": "0",
        "TCIA_IDC_BASE_URL": f"{url}/{{bucket}}",
        "TCIA_IDC_INDEX": f"{url}/idc-index-data-artifacts/current/release_artifacts",
    }


def dagster_environment(url: str) -> dict[str, str]:
    return environment(url) | {"DAGSTER_HOME": str(DATA / "dagster")}


def main() -> None:
    started = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    with sandbox() as url:
        heading("1. A local archive with TCIA's API", f"It listens at {url}.")
        held = change_sandbox(url, "hold", collection=COLLECTION, count=HELD_BACK)
        heading("2. All its metadata, as Dagster assets", "tcia-assets refresh --all")
        tcia_assets(url, "refresh", "--all")
        heading(f"3. The images of {COLLECTION}, verified", f"tcia-assets fetch {COLLECTION}")
        tcia_assets(url, "fetch", COLLECTION)
        build_dataset(url)
        heading("5. Queries", "tcia-assets query ...")
        for question, sql in QUERIES.items():
            print(f"\n   {question}")
            tcia_assets(url, "query", sql)
        heading("6. A day at the archive, while Dagster's sensor runs", "dagster-daemon run")
        began = datetime.now(UTC)
        with daemon(url):
            simulate_day(url, held)
        print("\n   What happened, from the change history:", flush=True)
        tcia_assets(url, "changes", "--since", f"{began:%Y-%m-%dT%H:%M:%S}")
        tcia_assets(url, "status")
        mirror_from_idc(url)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Where to look next:")
    print("   make dev                                the Dagster UI on this data and archive")
    print(f"   duckdb {DATA / 'warehouse.duckdb'}      or any DuckDB client, read-only")
    print(f"   ls {DATA / 'archives'}                  the zips, byte for byte as served")
    print("   README.md                               the real archive, the plugin, the tables")


def build_dataset(url: str) -> None:
    """Build the declared dataset from the Series on disk, and show how to use it."""
    heading("4. A dataset for training", f"tcia-assets dataset build {DATASET}")
    tcia_assets(url, "dataset", "build", DATASET)
    folder = DATA / "datasets" / DATASET
    print("\n   Its samples; those whose contours are not released yet are dropped:")
    tcia_assets(url, "query", SAMPLES.format(file=folder / "latest" / "samples.parquet"))
    place = folder.relative_to(ROOT)
    samples = load_dataset(folder, "train")
    sample = samples[0]
    print("   In Python:  from tcia_assets import load_dataset")
    print(f'               samples = load_dataset("{place}", "train")')
    print(f"               samples[0].voxels   {sample.voxels.dtype} {sample.voxels.shape}, z y x")
    print(f"               samples[0].labels   of {', '.join(samples.labels.values())}")
    print(f"   To look at: {place}/latest/contact_sheet.png, and README.md beside it")
    update = f"TCIA_DATA_DIR={DATA.relative_to(ROOT)} tcia-assets dataset build {DATASET} --update"
    print(f"   To build it again with new Series: {update}", flush=True)


def simulate_day(url: str, held: list[str]) -> None:
    """Change the archive, and wait until the mirror has followed."""
    print_event("In the morning", f"{len(held)} Series of {COLLECTION} are released")
    change_sandbox(url, "release", uids=held)
    wait_for("the sensor's run", lambda: on_disk(held), seconds=180)
    print_result("the sensor noticed it: they are in the warehouse, and their images on disk")

    print_event("At noon", "the archive is failing, and answers with status 503")
    change_sandbox(url, "faults", kind="status", times=0)
    wait_for("the sensor's skip message", lambda: "the source failed" in skip_reason(), seconds=60)
    print_result(f"the sensor skips its tick: {skip_reason().partition(': ')[0]}")
    change_sandbox(url, "faults/clear")

    print_event(
        "In the afternoon",
        "one Series is revised, one moved and one withdrawn, without a new release date",
    )
    [revised] = change_sandbox(url, "revise", uids=fetched(limit=1))
    [moved] = change_sandbox(url, "move", collection=MOVES[0], count=1, to=MOVES[1])
    [withdrawn] = change_sandbox(url, "withdraw", collection=WITHDRAWS, count=1)
    wait_for("the sensor's runs", all_runs_ended, seconds=60)
    print_result(
        "only complete listings show it; the schedule tcia_compare requests each once a day.\n"
        "      A Series is withdrawn once three listings lack it and a request for it finds\n"
        "      nothing. To have three days in a minute, refresh three times now:"
    )
    for _ in range(3):
        print("   $ tcia-assets refresh --all", flush=True)
        tcia_assets(url, "refresh", "--all", quiet=True)
    wait_for("the new images", lambda: has_event("refetched", revised), seconds=120)
    wait_for("the end of the day", all_runs_ended, seconds=60)
    for uid, event in ((moved, "moved"), (withdrawn, "withdrawn")):
        wait_for(f"{event} in the history", lambda u=uid, e=event: has_event(e, u), seconds=1)
    print_result("the sensor fetched the revised images again")


def mirror_from_idc(url: str) -> None:
    """Mirror the Collection from the buckets of the IDC, and prove that it is the same."""
    release = post(f"{url}/_sandbox/idc/publish", {})["release"]
    command = f"TCIA_SOURCE=idc TCIA_DATA_DIR={IDC_DATA.relative_to(ROOT)} tcia-assets"
    heading(f"7. {COLLECTION} from the Imaging Data Commons", f"{command} refresh {COLLECTION}")
    print(f"   Its release {release} has what the archive has now.", flush=True)
    idc = {"TCIA_SOURCE": "idc", "TCIA_DATA_DIR": str(IDC_DATA)}
    tcia_assets(url, "refresh", COLLECTION, **idc)
    print(f"   $ {command} fetch {COLLECTION}", flush=True)
    tcia_assets(url, "fetch", COLLECTION, **idc)
    print("\n   Is it the same? NBIA's hashes and those of the buckets, without an image byte:")
    verify = ("verify", COLLECTION, "--against", "nbia", "--against", "idc")
    print(f"   $ tcia-assets {' '.join(verify)}", flush=True)
    tcia_assets(url, *verify)
    counts = compare_mirrors()
    print(
        f"   Objects on disk in both mirrors: {counts['both']}, with equal MD5: {counts['equal']}."
    )
    if set(counts.values()) != {counts["both"]}:
        raise SystemExit(f"the mirrors of {COLLECTION} differ: {counts}")


def compare_mirrors() -> dict[str, int]:
    """Return how many objects of the Collection are in each mirror, in both, and equal."""
    tables = {"nbia": DATA, "idc": IDC_DATA}
    files = {
        name: str(folder / "warehouse" / "images" / COLLECTION / "*.parquet")
        for name, folder in tables.items()
    }
    with duckdb.connect() as connection:
        row = connection.execute(COMPARED, files).fetchone() or ()
    return dict(zip(("nbia", "idc", "both", "equal"), row, strict=True))


def print_event(hour: str, what: str) -> None:
    print(f"\n   \033[1m{hour}\033[0m: {what}.", flush=True)


def print_result(what: str) -> None:
    print(f"   -> {what}", flush=True)


def heading(title: str, how: str) -> None:
    print(f"\n\033[1m{title}\033[0m\n   $ {how}", flush=True)


def tcia_assets(url: str, *arguments: str, quiet: bool = False, **settings: str) -> None:
    output = subprocess.DEVNULL if quiet else None
    command = [BIN / "tcia-assets", *arguments]
    chosen = environment(url) | settings
    subprocess.run(command, env=chosen, cwd=ROOT, check=True, stdout=output)


@contextmanager
def sandbox(port: int = 0) -> Iterator[str]:
    """Run the demo's archive, on a free port by default; yields its URL."""
    # SIGTERM must run the `finally` blocks that end the processes started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [BIN / "tcia-assets", "sandbox", "--port", str(port), "--state", STATE]
    with running("sandbox", command, dict(os.environ)) as process:
        url = printed_url(process, DATA / "sandbox.log")
        PORT.write_text(url.rpartition(":")[2], encoding="utf-8")
        wait_for("the sandbox archive", lambda: answers(f"{url}/nbia-api/services/up"), seconds=60)
        yield url


def printed_url(process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> str:
    """Return the URL that the sandbox prints once it listens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None  # before the log is read, which is complete then
        text = log.read_text(encoding="utf-8", errors="replace")
        if has_ended:
            last = "".join(text.strip().splitlines()[-1:])
            raise SystemExit(f"the sandbox archive ended with {process.returncode}: {last}")
        if found := re.search(r"^Sandbox archive .* at (http\S+)$", text, flags=re.MULTILINE):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"the sandbox archive did not start within {seconds:.0f} s; see {log}")


@contextmanager
def running(
    name: str, command: list[Path | str], settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in the background, with its log in the data folder, and end it."""
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=settings,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def daemon(url: str) -> Iterator[None]:
    """Run Dagster's daemon on the plugin's workspace, with the sensor switched on."""
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    settings = dagster_environment(url) | {"TCIA_SENSOR_INTERVAL_S": "5"}
    subprocess.run(
        [BIN / "dagster", "sensor", "start", "tcia_new_series", *workspace],
        env=settings,
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [BIN / "dagster-daemon", "run", *workspace]
    with running("daemon", command, settings):
        yield


def column(statement: str, parameters: dict[str, object]) -> list[str]:
    with duckdb.connect(str(DATA / "warehouse.duckdb"), read_only=True) as connection:
        return [value for (value,) in connection.execute(statement, parameters).fetchall()]


def on_disk(uids: list[str]) -> bool:
    return set(uids) <= set(fetched())


def fetched(limit: int = 1000) -> list[str]:
    return column(
        "SELECT SeriesInstanceUID FROM image_archives WHERE status = 'complete' "
        "ORDER BY archive_bytes LIMIT $limit",
        {"limit": limit},
    )


def has_event(event: str, uid: str) -> bool:
    where = "event = $event AND SeriesInstanceUID = $uid"
    statement = f"SELECT event FROM series_changes WHERE {where}"
    return bool(column(statement, {"event": event, "uid": uid}))


def all_runs_ended() -> bool:
    with DagsterInstance.from_config(str(DATA / "dagster")) as instance:
        return all(record.dagster_run.is_finished for record in instance.get_run_records())


def skip_reason() -> str:
    """Return why the last tick of the sensor requested no run; "" if it did."""
    with DagsterInstance.from_config(str(DATA / "dagster")) as instance:
        states = instance.all_instigator_state()
        [state] = [each for each in states if each.instigator_name == "tcia_new_series"]
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    return (ticks[0].tick_data.skip_reason or "") if ticks else ""


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as response:
            return bool(response.read())
    except OSError:
        return False


def post(url: str, body: dict[str, object]) -> dict[str, list[str]]:
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def change_sandbox(url: str, change: str, **body: object) -> list[str]:
    """Change the sandbox's Series, and return the UIDs of the Series concerned."""
    return (post(f"{url}/_sandbox/{change}", body) or {}).get("uids", [])


def wait_for(what: str, is_done: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise SystemExit(
                f"{what} did not happen within {seconds:.0f} s; see the logs in {DATA}"
            )
        time.sleep(1)


if __name__ == "__main__":
    main()
