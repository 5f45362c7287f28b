"""kill -9 while rows of a killed run, or of another machine, are merged: each is merged once."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tcia_assets.catalog import SERIES_CHANGES
from tcia_assets.images.fetch import finish_interrupted, record_fetches_of_others
from tcia_assets.images.journal import Journal, journals_in
from tcia_assets.images.manifest import read_rows
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.images.bucket_place import beside
from tcia_assets_tests.images.place import COLLECTION, Place

KILLS = 10
LONGEST_LIFE_S = 0.15


def finish(settings: Settings, started: Event) -> None:
    """Merge the rows of a killed run, as the next run does."""
    warehouse = Warehouse.of(settings)
    started.set()
    finish_interrupted(COLLECTION, warehouse)


def merge(settings: Settings, started: Event) -> None:
    """Merge the rows of another machine, as a refresh does."""
    warehouse = Warehouse.of(settings)
    started.set()
    record_fetches_of_others(warehouse)


def fetches(place: Place) -> Counter[str]:
    rows = place.warehouse.read(SERIES_CHANGES, [COLLECTION]).to_pylist()
    return Counter(row["SeriesInstanceUID"] for row in rows if row["event"] == "fetched")


def kill_often(
    work: Callable[[Settings, Event], None],
    folder: Path,
    make: Callable[[Path], Place],
    want: Place,
) -> None:
    """Kill this work at random moments, each time in a place of its own, and do it once more."""
    # Spawned, so that the environment is that of the test, with the keys of its bucket.
    context, seed = multiprocessing.get_context("spawn"), random.randrange(10**6)
    chance, killed = random.Random(seed), 0
    print(f"seed {seed}")
    for number in range(KILLS):
        place, started = make(folder / str(number)), context.Event()
        child = context.Process(target=work, args=(place.settings, started))
        child.start()
        assert started.wait(60)
        child.join(chance.uniform(0, LONGEST_LIFE_S))
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGKILL)
            killed += 1
        child.join(10)
        assert child.exitcode in {0, -signal.SIGKILL}
        assert place.rows.items() <= want.rows.items()
        assert set(fetches(place).values()) <= {1}
        work(place.settings, context.Event())
        assert place.rows == want.rows
        assert fetches(place) == Counter(want.uids)
        assert place.warehouse.verify().problems == []
        assert journals_in(place.folder) == []
        with closing(place.warehouse.archives.open(f"{place.folder.name}/SHA256SUMS")) as sums:
            assert sums.read().count(b"\n") == len(want.uids)
    print(f"{killed} of {KILLS} killed")
    assert killed >= KILLS / 3, "many must be killed while they work"


@pytest.mark.slow
def test_rows_of_a_killed_run_are_merged_once(
    wide: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("places")
    before = folder / "before"
    shutil.copytree(wide.data_dir, before, ignore=shutil.ignore_patterns("warehouse.duckdb"))
    wide.fetch()
    rows = read_rows(wide.warehouse, COLLECTION)

    def interrupted(data_dir: Path) -> Place:
        """Make what a run leaves that is killed before it merges its rows."""
        shutil.copytree(before, data_dir)
        shutil.copytree(wide.data_dir / "archives", data_dir / "archives")
        place = Place(wide.sandbox, data_dir)
        for name in ("SHA256SUMS", "LICENSES.md", "CITATIONS.bib"):
            (place.folder / name).unlink(missing_ok=True)
        journal = Journal(place.folder)
        for row in rows:
            journal.append(row)
        journal.close()
        return place

    kill_often(finish, folder, interrupted, wide)


@pytest.mark.slow
def test_rows_of_another_machine_are_merged_once(
    wide: Place, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("machines")
    one = beside(wide, folder / "one", bucket)
    one.fetch()
    kill_often(merge, folder, lambda data_dir: beside(wide, data_dir, bucket), one)
