"""Runs that are killed or stopped at any moment, or run at the same time: every zip is complete.

Child processes are forked from a server that has imported what a fetch needs, except those that run
the command line itself.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tcia_assets.images.fetch import fetch_images
from tcia_assets.images.fetch_session import FetchSession
from tcia_assets.images.journal import journals_in
from tcia_assets.images.run_limits import Shard
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.disks import read_only, resize, small_disk
from tcia_assets_tests.images.outcomes import OUTCOMES
from tcia_assets_tests.images.place import COLLECTION, QUICK, Place, images_in

SERIES = 16
KILLS = 50
PATIENCE_S = 60
INTERRUPTED = 3


def fetch(data_dir: str, base_url: str, index: int = 0, count: int = 1) -> None:
    """Run a fetch in its own process; SIGTERM interrupts it, as in a step of Dagster."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(base_url=base_url, data_dir=data_dir)
    selection = Selection(collections=(COLLECTION,))
    try:
        with open_source(settings, pacing=QUICK) as source:
            warehouse = Warehouse(Path(data_dir))
            fetch_images(
                COLLECTION, FetchSession(selection, Shard(index, count)), source, warehouse
            )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def started(place: Place, *shard: int) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tcia_assets_tests.images.test_crash"])
    arguments = (str(place.data_dir), place.settings.base_url, *shard)
    child = context.Process(target=fetch, args=arguments)
    child.start()
    return child


def ended(child: BaseProcess) -> int:
    child.join(PATIENCE_S)
    assert child.exitcode is not None, "the child does not end"
    return child.exitcode


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition is never met"
        time.sleep(0.01)


# --- Killed -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fetch_killed_at_random_moments_leaves_complete_zips_and_goes_on(wide: Place) -> None:
    """Half of the kills are SIGTERM, which may also come at any moment."""
    wide.sandbox.archive.hold(wide.uids[SERIES:])
    # A listing that lacks most known Series would be refused, so none is known.
    shutil.rmtree(wide.data_dir / "warehouse")
    wide.spoil("zip_short", *wide.uids[::4])
    for _ in range(2):
        revise(wide)
        begun = time.monotonic()
        assert ended(started(wide)) == 0
        # The second run, which has nothing left to import, is measured.
        longest_life_s = time.monotonic() - begun
    wide.demand_complete()
    seed = random.randrange(10**6)
    chance, killed = random.Random(seed), 0
    print(f"seed {seed}, {longest_life_s:.1f} s for a whole run")

    for number in range(KILLS):
        # Mostly all bytes change first; otherwise the run goes on where the last one ended.
        if chance.random() < 0.8:
            revise(wide)
        child = started(wide)
        child.join(chance.uniform(0, longest_life_s))
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGTERM if number % 2 else signal.SIGKILL)
            killed += 1
        ended(child)
        assert {uid for uid in wide.uids if len(images_in(wide.zip(uid))) == 2} == set(wide.uids)
        on_disk = {row["path"] for row in wide.rows.values() if row["path"]}
        assert on_disk == {f"archives/RIDER%20Lung%20CT/{uid}.zip" for uid in wide.uids}
    assert killed >= KILLS / 2, "most runs must be killed while they work"

    wide.refresh()
    assert ended(started(wide)) == 0
    wide.demand_complete()


def journaled(place: Place) -> bool:
    return any(journal.stat().st_size for journal in journals_in(place.folder))


def revise(place: Place) -> None:
    place.revise(*place.uids)
    place.refresh()


def test_an_interrupted_fetch_does_not_wait_and_keeps_what_is_complete(place: Place) -> None:
    kept, *hanging = place.uids
    place.spoil("hang", *hanging, seconds=600)
    child = started(place)
    # The row may be written a moment after the zip.
    wait_until(lambda: place.zip(kept).exists() and journaled(place))
    wait_until(lambda: place.sandbox.requests.in_flight == len(hanging))
    os.kill(int(child.pid or 0), signal.SIGTERM)

    assert ended(child) == INTERRUPTED
    assert "SIGTERM" in OUTCOMES
    place.demand_sound()
    # A Series that was stopped has not failed.
    assert list(place.rows) == [kept]
    place.sandbox.faults.clear()
    assert ended(started(place)) == 0
    place.demand_complete()


# --- Runs at the same time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shards",
    [
        pytest.param([(0, 1), (0, 1)], id="same", marks=pytest.mark.slow),
        pytest.param([(0, 1), (0, 2), (1, 2)], id="overlapping", marks=pytest.mark.slow),
    ],
)
def test_runs_at_the_same_time_fetch_each_series_once(
    wide: Place, shards: list[tuple[int, int]]
) -> None:
    assert "Two runs at once" in OUTCOMES
    children = [started(wide, *shard) for shard in shards]

    assert [ended(child) for child in children] == [0] * len(shards)
    assert wide.asked("getImage") == wide.uids
    wide.demand_complete()


# --- The command line ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_line_goes_on_after_sigkill_and_sigterm(place: Place) -> None:
    kept, *hanging = place.uids
    place.spoil("hang", *hanging, seconds=600)
    for sign in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(
            COMMAND,
            env=environment(place),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            # With its row: a zip without one, after a kill in between, is adopted by a later run.
            wait_until(lambda: any(p.stat().st_size for p in journals_in(place.folder)))
            wait_until(lambda: place.sandbox.requests.in_flight == len(hanging))
            process.send_signal(sign)
            said, _ = process.communicate(timeout=PATIENCE_S)
        print(sign, process.returncode, said)
        assert process.returncode != 0
        assert place.asked("getImage").count(kept) == 1
        wait_until(lambda: place.sandbox.requests.in_flight == 0)
    place.demand_sound()
    assert list(place.rows) == [kept]
    place.sandbox.faults.clear()
    done = command_line(place)

    assert done.returncode == 0, done.stderr
    assert place.asked("getImage").count(kept) == 1
    place.demand_complete()


@pytest.mark.slow
def test_the_command_line_reports_what_the_disk_refuses(place: Place, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        small = Place(place.sandbox, disk)
        small.refresh()
        done = command_line(small)
        assert done.returncode == 2
        OUTCOMES["Plan that the disk cannot hold"].demand_said_in(done.stderr)

        resize(disk, "1400m")
        with read_only(disk):
            done = command_line(small)
        assert done.returncode == 2
        OUTCOMES["Data folder read-only"].demand_said_in(done.stderr)
        assert small.asked() == []
        assert command_line(small).returncode == 0
        small.demand_complete()


COMMAND = [sys.executable, "-m", "tcia_assets", "fetch", COLLECTION]


def environment(place: Place) -> dict[str, str]:
    return os.environ | {
        "TCIA_BASE_URL": place.settings.base_url,
        "TCIA_DATA_DIR": str(place.data_dir),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def command_line(place: Place) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, env=environment(place), check=False, capture_output=True, text=True
    )
