"""What child processes do to a warehouse until a test kills them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset

from tcia_assets.catalog import IMAGES, PATIENTS, SERIES, SERIES_SIZES
from tcia_assets.metadata.listing import merge
from tcia_assets.store import sql
from tcia_assets.store.series_parts import SeriesParts
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.tables import objects_of, rounds


@contextmanager
def running(*children: BaseProcess) -> Iterator[None]:
    for child in children:
        child.start()
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.join()


def write_for_ever(root: Path, key: str, started: Event) -> None:
    warehouse = Warehouse(root)
    versions = [rounds(key, number) for number in range(4)]
    started.set()
    while True:
        for rows in versions:
            warehouse.write(PATIENTS, rows, key)


def write_new_for_ever(root: Path, key: str, started: Event) -> None:
    """Write one new partition after the other."""
    warehouse = Warehouse(root)
    for number in range(10**9):
        name = f"{key} {number}"
        warehouse.write(PATIENTS, rounds(name, 0), name)
        started.set()


def rebuild_for_ever(root: Path, started: Event) -> None:
    """Rebuild the views over and over, as another version of the package would."""
    warehouse = Warehouse(root)
    warehouse._views.__dict__["_stamp"] = "views of another version"
    started.set()
    while True:
        warehouse.ensure_views()


def replace_series_for_ever(root: Path, key: str, limit: int, started: Event) -> None:
    """Give Series other numbers of rows, add some and remove them again, over and over."""
    files = Warehouse(root).files(IMAGES, key)
    started.set()
    for version in range(10**9):
        parts, odd = SeriesParts(files, limit), version % 2
        changed = objects_of(key, "AD" if odd else "BC", 1 + version % 3, version)
        added = objects_of(key, [f"new{version % 5}"], 2, version)
        parts.replace(pa.concat_tables([changed, added]), gone=[f"new{(version + 2) % 5}"])


def write_rounds(root: Path, key: str, count: int) -> None:
    warehouse = Warehouse(root)
    for number in range(count):
        warehouse.write(PATIENTS, rounds(key, number), key)


def ask_until(root: Path, stop: Event, failures: Any) -> None:
    warehouse = Warehouse(root)
    counted = """SELECT Collection, count(*) AS n, min(PatientSex) AS least, max(PatientSex) AS most
                 FROM patients GROUP BY Collection"""
    asked = 0
    while not stop.is_set():
        for row in warehouse.query(counted).to_pylist():
            if not str(row["n"]) == row["least"] == row["most"]:
                failures.put(row)
        asked += 1
    failures.put(asked)


def add_series(root: Path, start: int, times: int) -> None:
    """Add Series to a partition, one at a time."""
    warehouse = Warehouse(root)
    for number in range(start, start + times):
        with warehouse.lock(SERIES, "a", wait=30):
            before = warehouse.read(SERIES, ["a"])
            uids = [*before["SeriesInstanceUID"].to_pylist(), str(number)]
            listed = pa.table({"SeriesInstanceUID": uids, "Collection": ["a"] * len(uids)})
            seen = merge(before, listed, at=datetime.now(UTC), source="x")
            warehouse.write(SERIES, seen.rows, "a")


def hold(root: Path, held: Event) -> None:
    with Warehouse(root).lock(SERIES_SIZES, "a"):
        held.set()
        time.sleep(60)


def hold_database(database: Path, held: Event) -> None:
    with closing(sql.connect(database)) as connection:
        connection.execute("BEGIN")
        held.set()
        time.sleep(60)
