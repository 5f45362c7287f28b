"""What Dagster's own records take in a year of production, in SQLite or in Postgres.

Makes a mirror with as many Collections as TCIA has, measures what Dagster's records grow by with
each kind of run (processes of Dagster's own, as its daemon starts them) and with a tick of the
sensor (a real daemon), and multiplies: every day a refresh of all Collections, each hour one of a
24th of them, five changes that the sensor notices, 288 ticks, which are kept for a week. Then
copies the events of such a change until there are those of a year, and times the asset page's
query in a real web server.

    .venv/bin/python benchmarks/dagster_year.py
    .venv/bin/python benchmarks/dagster_year.py --collections 20 --days 30

The same in Postgres, on a temporary cluster, needs Debian's postgresql, and dagster-postgres, which
is in the environment of `make scale-out`:

    .venv-celery/bin/python benchmarks/dagster_year.py --postgres
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import yaml
from dagster_records import Growth, PostgresRecords, Records, SqliteRecords
from processes import BIN, timed
from years import Place, Size, opened

from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets.settings import Settings
from tcia_assets_tests.postgres_server import postgres

_RETENTION = yaml.safe_load(DAGSTER_YAML)["retention"]
HOURS, CHANGES, TICKS = 24, 5, 288
CLEANUP_DAYS: int = Settings.model_fields["cleanup_days"].default
TICK_DAYS: int = _RETENTION["sensor"]["purge_after_days"]["skipped"]
_CHANGED = "OTHER-000"
_TICK = "tick of the sensor"
_MEASURED_TICKS = 20
_PAGE = """
query Page($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions }
    assetPartitionStatuses { __typename
      ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } }
    assetMaterializations(limit: 100) { timestamp runId partition metadataEntries { label } }
    assetChecksOrError { ... on AssetChecks { checks {
      name executionForLatestMaterialization { status timestamp } } } }
  } }
}
"""


def growths(place: Place, records: Records, rounds: int) -> dict[str, tuple[float, Growth]]:
    """Return how often a day each kind of work is done, and what it adds on average."""
    first, last = place.size.first_and_last
    others = max(0, place.size.collections // HOURS - 1)
    part = ("OTHER-000", f"OTHER-{others:03d}")
    # The mirror was made beside Dagster, so these record what is in it.
    place.job("tcia_refresh", (first, last))
    place.job("tcia_update", (_CHANGED, _CHANGED))

    def mean(
        job: str, keys: tuple[str, str], prepare: Callable[[int], None] = lambda _number: None
    ) -> Growth:
        before = now = records.size()
        for number in range(rounds):
            prepare(number)
            place.job(job, keys)
            now = records.size()  # each time: it lets the space of dead rows be used again
        return now.since(before).times(1 / rounds)

    return {
        "refresh of all Collections, unchanged": (1, mean("tcia_refresh", (first, last))),
        "refresh of a 24th of them, unchanged": (HOURS, mean("tcia_refresh", part)),
        "update of a Collection with a Series that has changed, and its images": (
            CHANGES,
            mean(
                "tcia_update", (_CHANGED, _CHANGED), lambda number: _change_a_series(place, number)
            ),
        ),
        _TICK: (TICKS, _ticks(place, records)),
    }


def _change_a_series(place: Place, number: int) -> None:
    # Its number of images, since two submissions on one day look like one.
    change = {"collection": _CHANGED, "count": 1, "image_count": 2 + number}
    body = json.dumps(change).encode()
    url = f"http://127.0.0.1:{place.port}/_sandbox/revise"
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=30):
        pass


def _ticks(place: Place, records: Records) -> Growth:
    """Return what a tick adds, on average over some ticks of a daemon."""
    variables = place.selecting | {"DAGSTER_HOME": str(place.home), "TCIA_SENSOR_INTERVAL_S": "5"}
    module = ["-m", "tcia_assets.definitions"]
    timed([str(BIN / "dagster"), "sensor", "start", *module, "tcia_new_series"], variables)
    daemon = [str(BIN / "dagster-daemon"), "run", *module]
    # Runs that the sensor requests meanwhile are not of the ticks.
    begun, before = records.count_ticks(), records.size_of_ticks()
    with _running(daemon, variables):
        _wait(lambda: records.count_ticks() >= begun + _MEASURED_TICKS)
    ticks = records.count_ticks() - begun
    return records.size_of_ticks().since(before).times(1 / ticks)


@contextmanager
def _running(command: list[str], variables: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=variables, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(is_done: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_done():
            return
        time.sleep(0.5)
    raise SystemExit("nothing happened for five minutes")


# --- The asset page after a year ------------------------------------------------------------------


def page_seconds(place: Place, asset: str) -> float:
    """Return the median time of the asset page's query, from a web server of Dagster's own."""
    port = place.port + 1
    variables = place.selecting | {"DAGSTER_HOME": str(place.home)}
    command = [str(BIN / "dagster-webserver"), "-m", "tcia_assets.definitions", "-p", str(port)]
    with _running(command, variables):
        _wait(lambda: _answers(port))
        return statistics.median(_query(port, asset) for _ in range(5))


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
            return True
    except OSError:
        return False


def _query(port: int, asset: str) -> float:
    body = {"query": _PAGE, "variables": {"key": {"path": ["tcia", asset]}}}
    headers = {"Content-Type": "application/json"}
    request = Request(f"http://127.0.0.1:{port}/graphql", json.dumps(body).encode(), headers)
    began = time.monotonic()
    with urlopen(request, timeout=300) as response:
        answer = json.loads(response.read())
    seconds = time.monotonic() - began
    if "errors" in answer or "partitionStats" not in answer["data"]["assetNodeOrError"]:
        raise SystemExit(f"the web server answered {answer}")
    return seconds


# --- Printing -------------------------------------------------------------------------------------


def run(chosen: argparse.Namespace, folder: Path) -> None:
    size = Size(8 * chosen.collections, chosen.collections, 1, 1)
    with ExitStack() as stack:
        server = stack.enter_context(postgres(folder / "postgres.log")) if chosen.postgres else {}
        storage = yaml.safe_dump({"storage": {"postgres": {"postgres_db": server}}})
        dagster_yaml = DAGSTER_YAML + storage if server else None
        place = stack.enter_context(opened(size, folder / "mirror", chosen.port, dagster_yaml))
        home = place.home
        records = PostgresRecords(home, server) if server else SqliteRecords(home)
        begun = records.size()
        _print_growths(growths(place, records, chosen.rounds), begun, chosen.days)
        print(f"\n{size.collections} Collections; the asset page of `series`, before and after:")
        print(f"{page_seconds(place, 'series'):.2f} s", flush=True)
        records.add_copies(CHANGES * chosen.days, "series")
        print(f"{page_seconds(place, 'series'):.2f} s; {records.size().bytes:,.0f} bytes")


def _print_growths(found: dict[str, tuple[float, Growth]], begun: Growth, days: int) -> None:
    print("| | bytes | files | a day |\n|---|---|---|---|")
    print(f"| first refresh | {begun.bytes:,.0f} | {begun.files:.0f} | |")
    for name, (daily, growth) in found.items():
        print(f"| {name} | {growth.bytes:,.0f} | {growth.files:.2f} | {daily} |", flush=True)
    for some in (CLEANUP_DAYS, days):
        numbers = {name: daily * some for name, (daily, _) in found.items()}
        # Dagster's daemon deletes older ones, as our dagster.yaml says.
        numbers[_TICK] = TICKS * min(some, TICK_DAYS)
        grown = [found[name][1].times(number) for name, number in numbers.items()]
        whole = Growth(*(sum(values) for values in zip(*grown, strict=True)))
        print(f"| {some} days, extrapolated | {whole.bytes:,.0f} | {whole.files:,.0f} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    number = {"type": int, "metavar": "N"}
    parser.add_argument("--collections", default=141, help="Collections", **number)
    parser.add_argument("--days", default=365, help="days", **number)
    parser.add_argument("--rounds", default=5, help="how often each run is measured", **number)
    parser.add_argument("--postgres", action="store_true", help="in Postgres, not SQLite")
    parser.add_argument("--port", default=8048, help="of the sandbox; N + 1 is used too", **number)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcia-year-") as folder:
        run(chosen, Path(folder))


if __name__ == "__main__":
    main()
