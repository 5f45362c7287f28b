"""A second refresh of a source that has not changed: one run, for all tests of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs.run_report import RunReport, refresh_report
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets_tests.conftest import (
    IMPATIENT,
    SMALL,
    BuiltPlugins,
    Dagster,
    RefreshedFolders,
    settings_for,
)
from tcia_assets_tests.defs.metadata_runs import NO_SIZES

Files = dict[Path, tuple[int, bytes]]


@dataclass(frozen=True)
class SecondRefresh:
    """A run over all tables and Collections of a source that has not changed since the first."""

    result: dg.ExecuteInProcessResult
    newest: dg.AssetMaterialization
    before: Files
    after: Files


@pytest.fixture(scope="module")
def second_refresh(
    served: Sandbox, tmp_path_factory: pytest.TempPathFactory, refreshed_folders: RefreshedFolders
) -> Iterator[SecondRefresh]:
    """One such run, of which tests read what it did; sizes are those of one Collection."""
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


def test_a_second_refresh_changes_only_its_time(second_refresh: SecondRefresh) -> None:
    assert second_refresh.result.success
    assert second_refresh.after == second_refresh.before
    assert second_refresh.newest.metadata["file_changed"].value is False


def test_all_checks_pass_on_an_unchanged_source(second_refresh: SecondRefresh) -> None:
    evaluations = second_refresh.result.get_asset_check_evaluations()
    assert len(evaluations) > 20
    failed = [e for e in evaluations if not e.passed]
    assert [(e.asset_key.path[-1], e.check_name) for e in failed] == []


def test_a_refresh_without_anything_odd_has_nothing_to_report(
    second_refresh: SecondRefresh,
) -> None:
    assert refresh_report(second_refresh.result) == RunReport()
