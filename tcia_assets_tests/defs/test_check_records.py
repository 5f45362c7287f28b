"""Which results of checks a run records."""

from __future__ import annotations

import dagster as dg

from tcia_assets import catalog
from tcia_assets.spec import Table
from tcia_assets_tests.conftest import QUIET, SMALL, Dagster


def refresh(dagster: Dagster, table: Table = catalog.PATIENTS, **tags: str) -> dict[str, bool]:
    """Refresh a table of one Collection; return what the results say that were recorded."""
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    result = job.execute_in_process(
        instance=dagster.instance,
        partition_key=SMALL,
        asset_selection=[dg.AssetKey(["tcia", table.name])],
        tags=tags,
        run_config={"loggers": QUIET},
    )
    found = result.get_asset_check_evaluations()
    return {each.check_name: each.passed for each in found if each.asset_key.path[-1] == table.name}


def test_a_check_is_recorded_with_each_event_of_its_asset(dagster: Dagster) -> None:
    """Dagster's UI shows a check as not evaluated after a newer materialization."""
    dagster.start_refreshed()
    first = refresh(dagster, catalog.SERIES)
    assert len(first) > 9 and all(first.values())
    assert refresh(dagster, catalog.SERIES) == {}

    [uid] = dagster.warehouse.read(catalog.SERIES, [SMALL])["SeriesInstanceUID"].to_pylist()[:1]
    dagster.sandbox.archive.revise([uid])
    assert refresh(dagster, catalog.SERIES) == first
    assert refresh(dagster, catalog.SERIES) == {}

    # Also where the event was recorded elsewhere, or the run was killed before its checks.
    event = dg.AssetMaterialization(dg.AssetKey(["tcia", "series"]), partition=SMALL)
    dagster.instance.report_runless_asset_event(event)
    assert refresh(dagster, catalog.SERIES) == first
    assert refresh(dagster, catalog.SERIES) == {}


def test_what_a_check_finds_again_is_not_recorded_again(dagster: Dagster) -> None:
    dagster.start_refreshed()
    first = refresh(dagster)
    assert len(first) > 2 and all(first.values())
    assert refresh(dagster) == {}

    path = dagster.warehouse.path(catalog.COLLECTIONS)
    stored = path.read_bytes()
    listed = dagster.warehouse.read(catalog.COLLECTIONS)
    dagster.warehouse.write(catalog.COLLECTIONS, listed.slice(0, 0))
    assert refresh(dagster) == {"collections_exist": False}
    # People see a failure in each run that they start, the records of schedules do not grow by it.
    assert refresh(dagster) == {"collections_exist": False}
    assert refresh(dagster, **{"dagster/schedule_name": "tcia_refresh_nightly"}) == {}
    path.write_bytes(stored)
    assert refresh(dagster, **{"dagster/sensor_name": "tcia_new_series"}) == {
        "collections_exist": True
    }
