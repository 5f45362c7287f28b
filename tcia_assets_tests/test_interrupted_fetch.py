"""A fetch that is killed at any moment is completed by the next one, table by table."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets import Mirror, catalog
from tcia_assets.errors import RunFailed
from tcia_assets.images.unindexed import count_unindexed
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.processes import forkserver

COLLECTIONS = ["LCTSC", "RIDER Lung CT"]
SERIES_EACH = 10
KILLS = 40
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 60

# Each download gives the images other names, so zips and what names their members differ.
_OF_A_DOWNLOAD = {"archive_sha256", "entry_name", "sha256", "archive_bytes", "fetched_at"}
_COMPARED = {
    catalog.IMAGE_ARCHIVES: ["SeriesInstanceUID", "status", "verified_by", "image_count", "error"],
    catalog.IMAGES: [n for n in catalog.IMAGES.column_names if n not in _OF_A_DOWNLOAD],
    catalog.REFERENCES: [n for n in catalog.REFERENCES.column_names if n not in _OF_A_DOWNLOAD],
    catalog.TARGETS: [n for n in catalog.TARGETS.column_names if n not in _OF_A_DOWNLOAD],
    catalog.SERIES_CHANGES: ["Collection", "SeriesInstanceUID", "event"],
}


def fetch(
    data_dir: str, base_url: str, uids: list[str], archives_url: str, environment: dict[str, str]
) -> None:
    """Do what `tcia-assets fetch` does for these Series, or for all, in a child process."""
    os.environ.update(environment)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The server of child processes has the environment of the test that started it.
    os.environ.pop("DAGSTER_HOME", None)
    try:
        mirror = Mirror(data_dir, base_url=base_url, archives_url=archives_url)
        mirror.fetch([] if uids else COLLECTIONS, series=uids)
    except (RunFailed, KeyboardInterrupt):
        sys.exit(1)


@pytest.fixture(scope="module")
def two_served() -> Iterator[Sandbox]:
    """Serve ten Series of two images, in each of two Collections."""
    rows = series_rows.load()
    parts = [
        rows.filter(pc.equal(rows["Collection"], name)).slice(0, SERIES_EACH)
        for name in COLLECTIONS
    ]
    chosen = pa.concat_tables(parts)
    counts = pa.array([2] * chosen.num_rows, pa.int64())
    index = chosen.schema.get_field_index("ImageCount")
    with Sandbox(chosen.set_column(index, "ImageCount", counts)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def refreshed(two_served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the Series of both Collections."""
    root = tmp_path_factory.mktemp("refreshed")
    with open_source(settings_for(two_served, root)) as source:
        for name in COLLECTIONS:
            now = datetime.now(UTC)
            refresh(catalog.SERIES, name, source, Warehouse(root), now, ProbeBudget(0))
    return root


@pytest.fixture(scope="module")
def undisturbed(
    two_served: Sandbox, refreshed: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[object, ...]]]:
    """Return what an undisturbed fetch leaves in each table."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("undisturbed") / "data")
    assert ended(started(root, two_served)) == 0
    return contents(root)


def started(
    root: Path, served: Sandbox, uids: Sequence[str] = (), archives_url: str = ""
) -> BaseProcess:
    # The environment has the keys of the bucket now; the server of child processes may not.
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    arguments = (str(root), served.base_url("nbia-v4"), list(uids), archives_url, environment)
    child = forkserver().Process(target=fetch, args=arguments)
    child.start()
    return child


def ended(child: BaseProcess) -> int:
    child.join(PATIENCE_S)
    assert child.exitcode is not None, "the child does not end"
    return child.exitcode


def contents(root: Path) -> dict[str, list[tuple[object, ...]]]:
    warehouse = Warehouse(root)
    found = {}
    for table, columns in _COMPARED.items():
        rows = warehouse.read(table, COLLECTIONS, columns).to_pylist()
        found[table.name] = sorted((tuple(row.values()) for row in rows), key=repr)
    assert all(found.values()), "nothing to compare"
    return found


@pytest.mark.slow
def test_a_collection_that_fails_leaves_nothing_of_the_others_unread(
    two_served: Sandbox,
    refreshed: Path,
    undisturbed: dict[str, list[tuple[object, ...]]],
    tmp_path: Path,
) -> None:
    root = shutil.copytree(refreshed, tmp_path / "data")
    mirror = Mirror(root, base_url=two_served.base_url("nbia-v4"))
    (root / "archives").mkdir()
    blocked = root / "archives" / "RIDER%20Lung%20CT"
    blocked.write_text("no folder")
    with pytest.raises(RunFailed):
        mirror.fetch(COLLECTIONS)
    assert count_unindexed(mirror.warehouse) == {}
    assert mirror.warehouse.row_count(catalog.IMAGES, COLLECTIONS[0])
    blocked.unlink()
    mirror.fetch(COLLECTIONS)

    assert contents(root) == undisturbed


def kill_often(
    data_folder: Callable[[str], Path],
    start: Callable[[Path], BaseProcess],
    undisturbed: dict[str, list[tuple[object, ...]]],
    kills: int,
) -> None:
    """Kill a fetch, each time in a folder of its own, and let the next one complete it."""
    began = time.monotonic()
    assert ended(start(data_folder("timed"))) == 0
    longest_life_s = time.monotonic() - began
    seed = random.randrange(10**6)
    chance, killed = random.Random(seed), 0
    print(f"seed {seed}, {longest_life_s:.1f} s for a whole run")
    for number in range(kills):
        root = data_folder(str(number))
        child = start(root)
        child.join(chance.uniform(0.1 * longest_life_s, 0.9 * longest_life_s))
        if child.is_alive():
            os.kill(int(child.pid or 0), SIGNALS[number % len(SIGNALS)])
            killed += 1
        ended(child)
        assert ended(start(root)) == 0
        assert contents(root) == undisturbed, f"seed {seed}, kill {number}"
        assert count_unindexed(Warehouse(root)) == {}
    assert killed >= kills / 4, "many children must be killed while they work"


@pytest.mark.slow
def test_a_fetch_killed_at_any_moment_is_completed_by_the_next(
    two_served: Sandbox,
    refreshed: Path,
    undisturbed: dict[str, list[tuple[object, ...]]],
    tmp_path: Path,
) -> None:
    kill_often(
        lambda name: Path(shutil.copytree(refreshed, tmp_path / name)),
        lambda root: started(root, two_served),
        undisturbed,
        KILLS,
    )


@pytest.mark.slow
def test_a_fetch_into_an_empty_folder_is_completed_too(
    two_served: Sandbox,
    refreshed: Path,
    undisturbed: dict[str, list[tuple[object, ...]]],
    tmp_path: Path,
) -> None:
    # All Series by their UIDs end in the same tables.
    uids: list[str] = Warehouse(refreshed).read(catalog.SERIES)["SeriesInstanceUID"].to_pylist()
    kill_often(
        lambda name: tmp_path / name,
        lambda root: started(root, two_served, uids),
        undisturbed,
        KILLS // 4,
    )


@pytest.mark.slow
def test_a_fetch_into_a_bucket_is_completed_too(
    two_served: Sandbox,
    refreshed: Path,
    undisturbed: dict[str, list[tuple[object, ...]]],
    bucket: str,
    tmp_path: Path,
) -> None:
    kill_often(
        lambda name: Path(shutil.copytree(refreshed, tmp_path / name)),
        lambda root: started(root, two_served, archives_url=f"{bucket}/{root.name}"),
        undisturbed,
        KILLS // 4,
    )
