"""Which partitions a run records: each change once, whatever was killed or reset in between."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL, Dagster

TABLES = ["series", "patients"]
KEY = dg.AssetKey(["tcia", "series"])
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def recorded(dagster: Dagster) -> list[int]:
    return [len(dagster.events(name)) for name in TABLES]


def test_an_unchanged_partition_has_no_second_event_and_a_changed_one_has_one(
    dagster: Dagster, source: Source
) -> None:
    dagster.start_refreshed()
    for _ in range(2):
        run = dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]
        # Nor does it record what it plans for each partition.
        assert not dagster.instance.all_logs(run.run_id, of_type=PLANNED)
    dagster.sandbox.archive.revise(collection=SMALL, count=1)
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    first, second = dagster.events("series")
    assert (first.partition, second.partition) == (SMALL, SMALL)
    assert first.tags != second.tags and second.metadata["changed"].value == 1
    assert {"requests", "changed", "seconds"} <= second.metadata.keys()
    assert len(dagster.events("mirror")) == 3

    # What was written by a run that was killed before its event is recorded by the next.
    dagster.sandbox.archive.revise(collection=SMALL, count=1, image_count=7)
    now, budget = datetime.now(UTC), ProbeBudget(0)
    assert refresh(catalog.SERIES, SMALL, source, dagster.warehouse, now, budget).written.changed
    for _ in range(2):
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [3, 1]
    found = dagster.events("series")[-1].metadata
    assert found["file_changed"].value is False
    assert not {"requests", "changed", "seconds"} & found.keys()  # they would be of another run
    stored = dagster.warehouse.row_count(catalog.SERIES, SMALL)
    assert found["dagster/partition_row_count"].value == stored


def test_each_instance_has_one_event_whatever_was_lost_in_between(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    # What a run remembers of its event: not written yet as it was killed, or damaged.
    [remembered] = (dagster.data_dir / "warehouse" / ".recorded").iterdir()
    for left in ("", "{"):
        remembered.write_text(left)
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]

    old = dagster.instance
    with dg.DagsterInstance.ephemeral() as dagster.instance:
        dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
        dagster.run("tcia_refresh", SMALL, tables=TABLES)
        assert recorded(dagster) == [1, 1]
    dagster.instance = old
    dagster.run("tcia_refresh", SMALL, tables=TABLES)
    assert recorded(dagster) == [1, 1]

    dagster.instance.wipe_assets([KEY])  # by somebody
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
