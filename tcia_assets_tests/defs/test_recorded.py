"""Which partitions a run records: each change once, whatever was killed or reset in between."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from tcia_assets import catalog
from tcia_assets.defs.asset_specs import BY_COLLECTION
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL, Dagster

TABLES = ["series", "patients"]
KEY = dg.AssetKey(["tcia", "series"])


def recorded(dagster: Dagster) -> list[int]:
    return [len(dagster.events(name)) for name in TABLES]


def test_an_unchanged_partition_has_no_second_event_and_a_changed_one_has_one(
    dagster: Dagster,
) -> None:
    dagster.start_refreshed()
    for _ in range(2):
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    for _ in range(2):
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [2, 1]

    first, second = dagster.events("series")
    assert (first.partition, second.partition) == (SMALL, SMALL)
    assert first.tags != second.tags and second.metadata["changed"].value == 1
    assert len(dagster.events("mirror")) == 4


def test_what_was_written_by_a_run_that_was_killed_before_its_event_is_recorded_by_the_next(
    dagster: Dagster, source: Source
) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    now, budget = datetime.now(UTC), ProbeBudget(0)
    assert refresh(catalog.SERIES, SMALL, source, dagster.warehouse, now, budget).written.changed
    for _ in range(2):
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [2, 1]

    found = dagster.events("series")[-1].metadata
    assert found["file_changed"].value is False
    assert not {"requests", "changed", "seconds"} & found.keys()  # they would be of another run
    stored = dagster.warehouse.row_count(catalog.SERIES, SMALL)
    assert found["dagster/partition_row_count"].value == stored
    dagster.sandbox.archive.revise(collection=SMALL, count=1, image_count=7)
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    assert {"requests", "changed", "seconds"} <= dagster.events("series")[-1].metadata.keys()


def test_the_event_of_a_run_that_was_killed_right_after_it_is_not_recorded_again(
    dagster: Dagster,
) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    [remembered] = (dagster.data_dir / "warehouse" / ".recorded").iterdir()
    for left in ("", "{"):  # not written yet, or damaged
        remembered.write_text(left)
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]


def test_a_new_instance_gets_an_event_for_each_partition_and_the_old_one_none(
    dagster: Dagster,
) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    old = dagster.instance
    with dg.DagsterInstance.ephemeral() as dagster.instance:
        dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]
    dagster.instance = old
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    assert recorded(dagster) == [1, 1]


def test_an_asset_that_somebody_wiped_is_recorded_again(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    dagster.instance.wipe_assets([KEY])
    dagster.run("tcia_refresh", SMALL, tables=TABLES)

    assert recorded(dagster) == [1, 1]


def test_an_event_of_an_earlier_version_counts_if_it_is_newer_than_the_file(
    dagster: Dagster,
) -> None:
    dagster.start_refreshed()
    earlier = dg.AssetMaterialization(KEY, partition=SMALL, metadata={"file_changed": True})
    dagster.instance.report_runless_asset_event(earlier)
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    assert recorded(dagster) == [1, 1]
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    assert recorded(dagster) == [2, 1]


def test_no_run_of_ours_says_what_it_plans_for_each_partition(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    result = dagster.run("tcia_refresh", keys[0], keys[-1], tables=TABLES)

    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    assert len(keys) * len(TABLES) > 10 and len(BY_COLLECTION) > 5
    assert not dagster.instance.all_logs(result.run_id, of_type=planned)
