from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, open_source
from tcia_assets_tests.conftest import (
    IMPATIENT,
    SMALL,
    BuiltPlugins,
    Dagster,
    RefreshedFolders,
    settings_for,
)
from tcia_assets_tests.defs.metadata_runs import NO_SIZES
from tcia_assets_tests.same_path import tmp_path

__all__ = ["tmp_path"]


@pytest.fixture
def with_series(dagster: Dagster, source: Source) -> Dagster:
    """The plugin over the Series of the small Collection, made without a Dagster run."""
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    refresh(catalog.SERIES, SMALL, source, dagster.warehouse, datetime.now(UTC), ProbeBudget(0))
    return dagster


@pytest.fixture
def with_zips(contours_root: Path, dagster: Dagster) -> Dagster:
    """The plugin over the contours of the small Collection, fetched without a Dagster run."""
    shutil.copytree(contours_root, dagster.data_dir, dirs_exist_ok=True)
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    return dagster


Files = dict[Path, tuple[int, bytes]]


@dataclass(frozen=True)
class SecondRefresh:
    """A run over all tables and Collections of a source that has not changed since the first."""

    result: dg.ExecuteInProcessResult
    newest: dg.AssetMaterialization
    before: Files
    after: Files


@pytest.fixture(scope="session")
def second_refresh(
    served: Sandbox, tmp_path_factory: pytest.TempPathFactory, refreshed_folders: RefreshedFolders
) -> Iterator[SecondRefresh]:
    """One such run a worker, of which tests read what it did; sizes are those of one Collection."""
    served.reset()
    root = tmp_path_factory.mktemp("second_refresh")

    def files() -> Files:
        found = [p for p in root.rglob("*.parquet") if "snapshots" not in p.parts]
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in found}

    with dg.DagsterInstance.ephemeral() as instance:
        dagster = Dagster(served, root, instance, refreshed_folders, BuiltPlugins())
        keys = dagster.start_refreshed()
        with open_source(settings_for(served, root), pacing=IMPATIENT) as source:
            now, sizes = datetime.now(UTC), ProbeBudget(10)
            refresh(catalog.SERIES_SIZES, SMALL, source, dagster.warehouse, now, sizes)
        before = files()
        result = dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)
        yield SecondRefresh(result, dagster.events("series")[-1], before, files())
