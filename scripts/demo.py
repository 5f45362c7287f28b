"""`make demo`: from an empty folder to a warehouse that Dagster keeps in step with an archive.

Six acts: the sandbox archive starts, all its metadata is refreshed, the images of one Collection
are fetched, a dataset to train on is built of them, SQL answers questions, and then a day passes at
the archive: Series are released, there is an outage, one Series is revised, one moves, one is
withdrawn, while Dagster's daemon looks on. Everything is real but the archive, which runs on this
machine.
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
from collections.abc import Iterator
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
COLLECTION = "LCTSC"
HELD_BACK = 2
DATASET = "lung_ct"
SAMPLES = """
    SELECT part, state, count(DISTINCT patient) AS patients, count(*) AS samples,
           list(DISTINCT reason) FILTER (reason IS NOT NULL) AS reasons
    FROM read_parquet('{file}') LEFT JOIN unnest(reasons) AS told(reason) ON true
    GROUP BY part, state ORDER BY part, state
"""
MOVES = ("Vestibular-Schwannoma-SEG", "Vestibular-Schwannoma-MC-RC")
WITHDRAWS = "VICTRE"
QUESTIONS = {
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
    """Only the demo's settings. The command line keeps Dagster's home in the data folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TCIA_", "DAGSTER_"))}
    return kept | {
        "TCIA_DIALECT": "nbia-v4",
        "TCIA_BASE_URL": f"{url}/nbia-api/services/v4",
        "TCIA_DATA_DIR": str(DATA),
        "TCIA_IMAGE_SELECTION": f"{{collections: [{COLLECTION}]}}",
        # A day must pass in a minute: three lists count, however soon they follow each other.
        "TCIA_WITHDRAWAL_HOURS": "0",
    }


def dagster_environment(url: str) -> dict[str, str]:
    return environment(url) | {"DAGSTER_HOME": str(DATA / "dagster")}


def main() -> None:
    started = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    with sandbox() as url:
        act("1. A local archive that speaks TCIA's API", f"It listens at {url}.")
        held = sandbox_is_told(url, "hold", collection=COLLECTION, count=HELD_BACK)
        act("2. All its metadata, as Dagster assets", "tcia-assets refresh --all")
        tcia_assets(url, "refresh", "--all")
        act(f"3. The images of {COLLECTION}, proven whole", f"tcia-assets fetch {COLLECTION}")
        tcia_assets(url, "fetch", COLLECTION)
        build_dataset(url)
        act("5. Questions", "tcia-assets query ...")
        for question, sql in QUESTIONS.items():
            print(f"\n   {question}")
            tcia_assets(url, "query", sql)
        act("6. A day passes at the archive, and Dagster's sensor is on", "dagster-daemon run")
        began = datetime.now(UTC)
        with daemon(url):
            a_day(url, held)
        print("\n   What happened, as the warehouse tells it:", flush=True)
        tcia_assets(url, "changes", "--since", f"{began:%Y-%m-%dT%H:%M:%S}")
        tcia_assets(url, "status")
    print(f"\nDone in {time.monotonic() - started:.0f} s. Where to look next:")
    print("   make dev                                the Dagster UI on this data")
    print(f"   duckdb {DATA / 'warehouse.duckdb'}      or any DuckDB client, read-only")
    print(f"   ls {DATA / 'archives'}                  the zips, byte for byte as served")
    print("   README.md                               the real archive, the plugin, the tables")


def build_dataset(url: str) -> None:
    """What can be trained on, of the Series that are on disk by now, as its file declares it."""
    act("4. A dataset to train on", f"tcia-assets dataset build {DATASET}")
    tcia_assets(url, "dataset", "build", DATASET)
    folder = DATA / "datasets" / DATASET
    print("\n   Who is in it; dropped are those whose contours the archive still holds back:")
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
    print(f"   With what comes next: {update}", flush=True)


def a_day(url: str, held: list[str]) -> None:
    """What happens at the archive, and how the mirror follows."""
    told("In the morning", f"{len(held)} Series of {COLLECTION} are released")
    sandbox_is_told(url, "release", uids=held)
    wait_for("the sensor's run", lambda: on_disk(held), seconds=180)
    followed("the sensor noticed: they are in the warehouse, their images on disk")

    told("At noon", "the archive is out of order, and answers 503")
    sandbox_is_told(url, "faults", kind="status", times=0)
    wait_for("the sensor's answer", lambda: "could not be asked" in sensor_says(), seconds=60)
    followed(f"the sensor skips: {sensor_says().partition(': ')[0]}")
    sandbox_is_told(url, "faults/clear")

    told(
        "In the afternoon",
        "one Series is revised, one moves, one is withdrawn: no release date says so",
    )
    [revised] = sandbox_is_told(url, "revise", uids=fetched(limit=1))
    [moved] = sandbox_is_told(url, "move", collection=MOVES[0], count=1, to=MOVES[1])
    [withdrawn] = sandbox_is_told(url, "withdraw", collection=WITHDRAWS, count=1)
    wait_for("the sensor's runs", all_runs_ended, seconds=60)
    followed(
        "only whole lists show it; the schedule tcia_compare asks for each once a day.\n"
        "      Three of them, and then the archive's word on the one Series, make a withdrawal.\n"
        "      To have three days in a minute, they are asked for here:"
    )
    for _ in range(3):
        print("   $ tcia-assets refresh --all", flush=True)
        tcia_assets(url, "refresh", "--all", quiet=True)
    wait_for("the new images", lambda: happened("refetched", revised), seconds=120)
    wait_for("the end of the day", all_runs_ended, seconds=60)
    for uid, event in ((moved, "moved"), (withdrawn, "withdrawn")):
        wait_for(f"{event} in the history", lambda u=uid, e=event: happened(e, u), seconds=1)
    followed("the sensor fetched the revised images again")


def told(hour: str, what: str) -> None:
    print(f"\n   \033[1m{hour}\033[0m: {what}.", flush=True)


def followed(what: str) -> None:
    print(f"   -> {what}", flush=True)


def act(title: str, how: str) -> None:
    print(f"\n\033[1m{title}\033[0m\n   $ {how}", flush=True)


def tcia_assets(url: str, *arguments: str, quiet: bool = False) -> None:
    output = subprocess.DEVNULL if quiet else None
    command = [BIN / "tcia-assets", *arguments]
    subprocess.run(command, env=environment(url), cwd=ROOT, check=True, stdout=output)


@contextmanager
def sandbox() -> Iterator[str]:
    """A sandbox archive of our own, at its URL: on a fixed port might be somebody else's."""
    # So that what runs beside this process ends with it, however it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [BIN / "tcia-assets", "sandbox", "--port", "0"]
    with running("sandbox", command, dict(os.environ)) as process:
        url = printed_url(process, DATA / "sandbox.log")
        wait_for("the sandbox archive", lambda: answers(f"{url}/nbia-api/services/up"), seconds=60)
        yield url


def printed_url(process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> str:
    """The URL that the sandbox prints once its port is its own."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        has_ended = process.poll() is not None  # asked first: what it said last is in the log then
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
    """A process in the background with its log in the data folder; ended by its pid, always."""
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
    """Dagster's own daemon on the plugin's workspace, with the sensor switched on."""
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


def happened(event: str, uid: str) -> bool:
    where = "event = $event AND SeriesInstanceUID = $uid"
    statement = f"SELECT event FROM series_changes WHERE {where}"
    return bool(column(statement, {"event": event, "uid": uid}))


def all_runs_ended() -> bool:
    with DagsterInstance.from_config(str(DATA / "dagster")) as instance:
        return all(record.dagster_run.is_finished for record in instance.get_run_records())


def sensor_says() -> str:
    """Why the sensor requested nothing, the last time; "" where it did."""
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


def sandbox_is_told(url: str, what: str, **body: object) -> list[str]:
    """The UIDs that a change at the archive concerns."""
    return (post(f"{url}/_sandbox/{what}", body) or {}).get("uids", [])


def wait_for(what: str, is_there: object, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_there():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:.0f} s; see the logs in {DATA}")
        time.sleep(1)


if __name__ == "__main__":
    main()
