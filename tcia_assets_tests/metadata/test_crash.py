"""kill -9 at any moment of a refresh: partitions are old or new, and the next run completes it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from tcia_assets import catalog
from tcia_assets.defs.dagster_home import DAGSTER_YAML
from tcia_assets.defs.partitions import range_tags
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import settings_for
from tcia_assets_tests.processes import forkserver

LONGEST_LIFE_S = 1.5
KILLS = 20


def refresh(home: str, data_dir: str, base_url: str, keys: list[str]) -> None:
    """Do what `tcia-assets refresh --all` does, in a child process."""
    os.environ["DAGSTER_HOME"] = home
    from tcia_assets import TciaResource, build_definitions

    resource = TciaResource(base_url=base_url, data_dir=data_dir)
    job = build_definitions(resource=resource).resolve_job_def("tcia_refresh")
    config = {
        "ops": {"tcia_metadata": {"config": {"max_size_requests": 5}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.get() as instance:
        tags = range_tags(keys[0], keys[-1])
        result = job.execute_in_process(instance=instance, tags=tags, run_config=config)
    sys.exit(0 if result.success else 1)


def versions(warehouse: Warehouse) -> dict[str, set[int]]:
    """By Collection, the versions of its rows; the ImageCount of a row is its version."""
    found = {}
    for key in warehouse.keys(catalog.SERIES):
        table = pq.ParquetFile(warehouse.path(catalog.SERIES, key)).read()
        found[key] = set(table["ImageCount"].to_pylist())
    return found


def history_is_whole(warehouse: Warehouse, key: str) -> bool:
    """Whether each Series has each event once, up to the count in its row, or one more.

    A kill leaves at most one event that no row owns yet.
    """
    owned = warehouse.read(catalog.SERIES, [key], ["SeriesInstanceUID", "changes"]).to_pylist()
    told = warehouse.read(catalog.SERIES_CHANGES, [key]).to_pylist()
    numbers: dict[str, list[int]] = {}
    for event in told:
        numbers.setdefault(event["SeriesInstanceUID"], []).append(event["number"])
    return all(
        sorted(numbers[row["SeriesInstanceUID"]])
        in (list(range(1, row["changes"] + 1)), list(range(1, row["changes"] + 2)))
        for row in owned
    )


def revise_all(sandbox: Sandbox, keys: list[str], version: int) -> None:
    for key in keys:
        sandbox.archive.revise(collection=key, image_count=version)


@pytest.mark.slow
def test_a_refresh_killed_at_random_moments_leaves_each_partition_old_or_new(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    context = forkserver()
    home, data_dir = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    settings = settings_for(sandbox, data_dir)
    rows = sandbox.archive.rows("SELECT DISTINCT Collection AS c FROM archive.series ORDER BY c")
    keys = [row["c"] for row in rows]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("tcia_collections", keys)
    arguments = (str(home), str(data_dir), settings.base_url, keys)
    warehouse = Warehouse(data_dir)
    seed = random.randrange(10**6)
    chance = random.Random(seed)

    revise_all(sandbox, keys, 1)
    first = context.Process(target=refresh, args=arguments)
    began = time.monotonic()
    first.start()
    first.join(60)
    assert first.exitcode == 0
    # Shorter than a refresh takes, so that most children are killed while they work.
    longest_life = min(LONGEST_LIFE_S, 0.6 * (time.monotonic() - began))
    killed = 0
    for version in range(2, KILLS + 2):
        revise_all(sandbox, keys, version)
        child = context.Process(target=refresh, args=arguments)
        child.start()
        child.join(chance.uniform(0.1, longest_life))
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGKILL)
            killed += 1
        child.join(10)
        found = versions(warehouse)
        assert sorted(found) == keys, f"seed {seed}"
        assert all(len(counts) == 1 for counts in found.values()), f"seed {seed}: {found}"
        for key in keys:
            assert history_is_whole(warehouse, key), f"seed {seed}: {key}"
        for file in (data_dir / "warehouse").rglob("part-0.parquet"):
            assert pq.ParquetFile(file).read().schema, f"seed {seed}: {file}"
    assert killed >= KILLS / 2, "most children must be killed while they work"

    last = context.Process(target=refresh, args=arguments)
    last.start()
    last.join(60)
    assert last.exitcode == 0, f"seed {seed}"
    assert set().union(*versions(warehouse).values()) == {KILLS + 1}
    counted = warehouse.query(
        "SELECT SeriesInstanceUID, changes, count(number) AS told FROM series "
        "JOIN series_changes USING (Collection, SeriesInstanceUID) GROUP BY ALL "
        "HAVING changes <> told OR changes <> max(number)"
    )
    assert counted.num_rows == 0, f"seed {seed}"
    assert not list((data_dir / "warehouse").rglob("*.draft"))
