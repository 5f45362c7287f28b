"""One day in the life of an archive, followed by Dagster's own daemon, which is killed in between.

The daemon is `dagster-daemon run`: what `dagster dev` starts beside its web server, with the same
code server, run queue and run processes. Sensor and schedule are on. The archive's day: Series are
released, one is revised without a new release date, one moves, one is withdrawn, and there is an
outage. In the middle the daemon and all that it started are killed, while a run is at work.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES, SERIES_CHANGES
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL

OTHER = "QIN LUNG CT"
BIN = Path(sys.executable).parent
MODULE = ["-m", "tcia_assets.definitions"]
# Much longer than each takes; together less than three minutes where nothing is wrong.
LONGEST_WAIT_S = 300.0  # on a machine with much else to do; else a few
DAGSTER_YAML = """
telemetry: {enabled: false}
nux: {enabled: false}
sensors: {use_threads: true, num_workers: 4}
run_monitoring: {enabled: true}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}
"""


class Day:
    """The archive, the mirror, and Dagster in a home of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path, selected: Sequence[str]) -> None:
        self.sandbox, self.archive = sandbox, sandbox.archive
        self.home, self.data = folder / "home", folder / "data"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(DAGSTER_YAML)
        self.warehouse = Warehouse(self.data)
        self.environment = os.environ | {
            "DAGSTER_HOME": str(self.home),
            "TCIA_BASE_URL": sandbox.base_url(),
            "TCIA_DATA_DIR": str(self.data),
            "TCIA_COLLECTIONS": f"{SMALL},{OTHER}",
            "TCIA_IMAGE_SELECTION": json.dumps({"series": selected}),
            # A day in a minute: all is compared at each full minute, and three lists without a
            # Series are enough however soon they come.
            "TCIA_SENSOR_INTERVAL_S": "5",
            "TCIA_COMPARE_HOURS": "1",
            "TCIA_COMPARE_CRON": "* * * * *",
            "TCIA_WITHDRAWAL_HOURS": "0",
        }

    def switch_on(self) -> None:
        """The sensor and the schedule, as a person does it."""
        commands = (("sensor", "start", "tcia_new_series"), ("schedule", "start", "tcia_compare"))
        started = [
            subprocess.Popen(
                [BIN / "dagster", *command, *MODULE],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for command in commands
        ]
        for process in started:
            said, _ = process.communicate(timeout=LONGEST_WAIT_S)
            assert process.returncode == 0, said.decode()

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Dagster's daemon; at the end it and all that it started are killed."""
        with dg.DagsterInstance.from_config(str(self.home)):
            pass  # the first to open a home makes its files; two at once would meet there
        with (self.home / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [BIN / "dagster-daemon", "run", *MODULE],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            kill_whole(process)

    def waits_for(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONGEST_WAIT_S
        while not is_so():
            assert time.monotonic() < deadline, f"{what} did not come\n{self._log()}"
            time.sleep(0.3)

    def _log(self) -> str:
        return (self.home / "daemon.log").read_text(errors="replace")[-6000:]

    # --- What the mirror knows --------------------------------------------------------------------

    def events(self) -> Counter[tuple[str, str, str]]:
        """SeriesInstanceUID, Collection and event of each row of the history."""
        rows = self.warehouse.read(
            SERIES_CHANGES, columns=["SeriesInstanceUID", "Collection", "event"]
        )
        return Counter(tuple(row.values()) for row in rows.to_pylist())

    def told(self, uid: str, event: str) -> bool:
        return any((u, e) == (uid, event) for u, _, e in self.events())

    def has_images(self, *uids: str) -> bool:
        rows = self.warehouse.read(IMAGE_ARCHIVES, columns=["SeriesInstanceUID", "status"])
        done = {r["SeriesInstanceUID"] for r in rows.to_pylist() if r["status"] == "complete"}
        return set(uids) <= done

    def sensor_said(self, words: str) -> bool:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            [state] = [
                each
                for each in instance.all_instigator_state()
                if each.instigator_name == "tcia_new_series"
            ]
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=3)
        return any(words in (tick.tick_data.skip_reason or "") for tick in ticks)

    def runs_at_work(self) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            return [run for run in instance.get_runs() if not run.is_finished]

    def objects(self, uid: str) -> set[str]:
        """The SHA-256 of each object of a Series, as the archive has it now."""
        facts = self.archive.find(uid)
        assert facts is not None
        return {hashlib.sha256(body).hexdigest() for _, body in self.archive.objects(facts)}

    def objects_here(self, uid: str) -> set[str]:
        """The SHA-256 of each object in a Series' zip."""
        [row] = self.warehouse.query(
            "SELECT path FROM image_archives WHERE SeriesInstanceUID = $uid", {"uid": uid}
        ).to_pylist()
        with zipfile.ZipFile(self.data / row["path"]) as archive:
            names = [name for name in archive.namelist() if name.endswith(".dcm")]
            return {hashlib.sha256(archive.read(name)).hexdigest() for name in names}


def kill_whole(process: subprocess.Popen[bytes]) -> None:
    """As `kill -9` of a process and of all that it started: code server, runs, their helpers."""
    whole = [psutil.Process(process.pid)]
    whole += whole[0].children(recursive=True)
    for each in whole:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait(10)
    _, alive = psutil.wait_procs(whole[1:], timeout=10)
    assert not alive


def uids(sandbox: Sandbox, collection: str, modality: str) -> list[str]:
    rows = sandbox.archive.rows(
        "SELECT SeriesInstanceUID AS uid FROM archive.series "
        "WHERE Collection = ? AND Modality = ? ORDER BY uid",
        [collection, modality],
    )
    return [row["uid"] for row in rows]


def asked_for(sandbox: Sandbox, collection: str, until_now: int) -> bool:
    """Whether a list of the Collection was asked for after so many requests."""
    asked = [
        seen for seen in list(sandbox.requests.last)[until_now:] if seen.endpoint == "getSeries"
    ]
    return any(seen.parameters.get("Collection") == collection for seen in asked)


def downloads(sandbox: Sandbox) -> Counter[str]:
    """How often the zip of each Series was asked for."""
    zips = [seen for seen in sandbox.requests.last if seen.endpoint.startswith("getImage")]
    return Counter(seen.parameters["SeriesInstanceUID"] for seen in zips)


def listed(sandbox: Sandbox) -> set[tuple[str, ...]]:
    rows = sandbox.archive.rows(
        "SELECT SeriesInstanceUID AS uid, Collection, Modality, ImageCount, DateReleased, "
        "MaxSubmissionTimestamp::DATE AS day FROM archive.series "
        f"WHERE Collection IN ('{SMALL}', '{OTHER}')"
    )
    return {tuple(map(str, row.values())) for row in rows}


def mirrored(warehouse: Warehouse) -> set[tuple[str, ...]]:
    rows = warehouse.query(
        "SELECT SeriesInstanceUID, Collection, Modality, ImageCount, DateReleased, "
        "MaxSubmissionTimestamp::DATE AS day FROM current_series"
    ).to_pylist()
    return {tuple(map(str, row.values())) for row in rows}


@pytest.mark.slow
def test_after_a_day_with_an_outage_and_a_kill_the_mirror_is_exactly_right(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    revised, moved, first, second = uids(sandbox, SMALL, "RTSTRUCT")[:4]
    [withdrawn] = uids(sandbox, OTHER, "SEG")[:1]
    unselected = uids(sandbox, OTHER, "CT")[:3]
    selected = (revised, moved, first, second, withdrawn)
    day = Day(sandbox, tmp_path, selected)
    day.archive.hold([first, second, *unselected])
    before = {uid: collection for uid, collection, *_ in listed(sandbox)}
    kept = {uid: day.objects(uid) for uid in selected if uid != revised}

    with day.daemon():
        day.switch_on()
        day.waits_for("the first images", lambda: day.has_images(revised, moved, withdrawn))
        day.archive.release([first, unselected[0]])
        day.waits_for("the released images", lambda: day.has_images(first))
        day.waits_for("the released Series", lambda: day.told(unselected[0], "added"))

        # None of these has a new release date: only a comparison sees them.
        day.archive.revise([revised])
        day.archive.move([moved], to=OTHER)
        day.archive.withdraw([withdrawn])
        # Killed while a run waits for the archive's answer.
        until_now = len(sandbox.requests)
        sandbox.faults.add(Fault("hang", "getSeries", collection=SMALL, seconds=30))
        day.archive.release([second])
        day.waits_for("a run", lambda: asked_for(sandbox, SMALL, until_now))
    killed = {run.run_id for run in day.runs_at_work()}
    assert killed

    sandbox.faults.clear()
    sandbox.faults.add(Fault("status", times=0))
    with day.daemon():
        day.waits_for("an answer of the sensor", lambda: day.sensor_said("the source failed"))
        sandbox.faults.clear()
        for uid in unselected[1:]:
            day.archive.release([uid])
            day.waits_for("a Series without images", lambda uid=uid: day.told(uid, "added"))
        day.waits_for("the images released before the kill", lambda: day.has_images(second))
        day.waits_for("the move", lambda: day.told(moved, "moved"))
        day.waits_for("the new images", lambda: day.told(revised, "refetched"))
        day.waits_for("the withdrawal", lambda: day.told(withdrawn, "withdrawn"))
        day.waits_for(
            "the end of all runs", lambda: {run.run_id for run in day.runs_at_work()} <= killed
        )

    assert mirrored(day.warehouse) == listed(sandbox)
    assert day.objects_here(revised) == day.objects(revised)
    assert {uid: day.objects_here(uid) for uid in kept} == kept
    assert downloads(sandbox) == Counter([*selected, revised])
    assert day.events() == Counter(
        [(uid, collection, "added") for uid, collection in before.items()]
        + [(uid, SMALL, "added") for uid in (first, second)]
        + [(uid, OTHER, "added") for uid in unselected]
        + [(uid, SMALL, "fetched") for uid in (revised, moved, first, second)]
        + [(withdrawn, OTHER, "fetched")]
        + [(revised, SMALL, "changed"), (revised, SMALL, "refetched")]
        + [(moved, SMALL, "missing"), (moved, SMALL, "moved"), (moved, OTHER, "added")]
        + [(withdrawn, OTHER, "missing"), (withdrawn, OTHER, "withdrawn")]
    )
    [change] = day.warehouse.query(
        "SELECT changed_columns, before, after FROM series_changes WHERE event = 'changed'"
    ).to_pylist()
    assert change["changed_columns"] == ["MaxSubmissionTimestamp"]
    assert json.loads(change["before"])["fingerprint"] != json.loads(change["after"])["fingerprint"]
    assert day.warehouse.read(SERIES).num_rows == len(before) + 6
