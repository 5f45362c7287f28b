"""`make demo`: from an empty folder to a warehouse that Dagster keeps in step with an archive.

Six acts: the sandbox archive starts, all its metadata is refreshed, the images of one Collection
are fetched, a dataset to train on is built of them, Series that were held back are released and
Dagster's sensor notices and fetches them, and SQL answers questions. Everything is real but the
archive, which runs on this machine.
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
    }


def dagster_environment(url: str) -> dict[str, str]:
    return environment(url) | {"DAGSTER_HOME": str(DATA / "dagster")}


def main() -> None:
    began = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    with sandbox() as url:
        act("1. A local archive that speaks TCIA's API", f"It listens at {url}.")
        held = post(f"{url}/_sandbox/hold", {"collection": COLLECTION, "count": HELD_BACK})["uids"]
        act("2. All its metadata, as Dagster assets", "tcia-assets refresh --all")
        tcia_assets(url, "refresh", "--all")
        act(f"3. The images of {COLLECTION}, proven whole", f"tcia-assets fetch {COLLECTION}")
        tcia_assets(url, "fetch", COLLECTION)
        build_dataset(url)
        act("5. The archive releases Series, and Dagster's sensor notices", "dagster-daemon run")
        post(f"{url}/_sandbox/release", {"uids": held})
        with daemon(url):
            wait_for("the sensor's run", lambda: on_disk(held), seconds=180)
            wait_for("its checks", all_runs_ended, seconds=60)
        print(f"   {len(held)} released Series are in the warehouse and on disk.")
        act("6. Questions", "tcia-assets query ...")
        for question, sql in QUESTIONS.items():
            print(f"\n   {question}")
            tcia_assets(url, "query", sql)
        tcia_assets(url, "status")
    print(f"\nDone in {time.monotonic() - began:.0f} s. Where to look next:")
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


def act(title: str, how: str) -> None:
    print(f"\n\033[1m{title}\033[0m\n   $ {how}", flush=True)


def tcia_assets(url: str, *arguments: str) -> None:
    subprocess.run([BIN / "tcia-assets", *arguments], env=environment(url), cwd=ROOT, check=True)


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
    subprocess.run(
        [BIN / "dagster", "sensor", "start", "tcia_new_series", *workspace],
        env=dagster_environment(url),
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = [BIN / "dagster-daemon", "run", *workspace]
    with running("daemon", command, dagster_environment(url)):
        yield


def on_disk(uids: list[str]) -> bool:
    with duckdb.connect(str(DATA / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "SELECT count(*) FROM image_archives WHERE status = 'complete' "
            "AND list_contains($uids, SeriesInstanceUID)",
            {"uids": uids},
        ).fetchone()
    return bool(found) and found[0] == len(uids)


def all_runs_ended() -> bool:
    with DagsterInstance.from_config(str(DATA / "dagster")) as instance:
        return all(record.dagster_run.is_finished for record in instance.get_run_records())


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


def wait_for(what: str, is_there: object, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_there():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {seconds:.0f} s; see the logs in {DATA}")
        time.sleep(1)


if __name__ == "__main__":
    main()
