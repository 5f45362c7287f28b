"""Which results of checks a run records."""

from __future__ import annotations

import dagster as dg

from tcia_assets import catalog
from tcia_assets_tests.conftest import SMALL, Dagster


def recorded(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    found = result.get_asset_check_evaluations()
    return {each.check_name: each.passed for each in found if each.asset_key.path[-1] == "patients"}


def refresh(dagster: Dagster, **tags: str) -> dict[str, bool]:
    job = dagster.definitions().resolve_job_def("tcia_refresh")
    return recorded(
        job.execute_in_process(
            instance=dagster.instance,
            partition_key=SMALL,
            asset_selection=[dg.AssetKey(["tcia", "patients"])],
            tags=tags,
        )
    )


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
