"""What an interrupted fetch leaves is completed by the next run, whatever failed before."""

from __future__ import annotations

import dagster as dg
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGES, REFERENCES, SERIES_CHANGES, TARGETS, UNINDEXED_ZIPS
from tcia_assets.images.zip_files import collection_folder
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import ALL_TABLES
from tcia_assets_tests.defs.sensor_ticks import launch, tick
from tcia_assets_tests.images.headers.zip_warehouse import forget_columns

CONTOURS = {"tcia_image_archives": {"config": {"selection": {"modalities": ["RTSTRUCT"]}}}}
HEADERS = (IMAGES, REFERENCES, TARGETS)


def lose_headers(dagster: Dagster, collection: str) -> None:
    """Make it look as if the run had been killed before it read the zips."""
    for table in HEADERS:
        dagster.warehouse.path(table, collection).unlink()


def test_a_collection_that_fails_takes_no_other_ones_headers_along(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    after = keys[keys.index(SMALL) + 1]
    blocked = dagster.data_dir / "archives" / collection_folder(after)
    blocked.parent.mkdir()
    blocked.write_text("a file where the folder of its zips should be")
    result = dagster.run(
        "tcia_images", SMALL, after, ops=CONTOURS, tables=ALL_TABLES, raise_on_error=False
    )

    assert not result.success
    for table in HEADERS:
        assert dagster.warehouse.row_count(table, SMALL)
        assert [event.partition for event in dagster.events(table.name)].count(SMALL) == 1
    assert dagster.warehouse.query(UNINDEXED_ZIPS).num_rows == 0


def test_the_next_tick_asks_for_a_run_that_reads_the_zips_left(with_zips: Dagster) -> None:
    dagster = with_zips
    before = {table: dagster.warehouse.read(table, [SMALL]) for table in HEADERS}
    lose_headers(dagster, SMALL)
    answer = tick(dagster, collections=[SMALL])

    assert isinstance(answer, dg.SensorResult)
    [request] = answer.run_requests or []
    assert (request.job_name, request.partition_key) == ("tcia_images", SMALL)
    launch(dagster, answer, ALL_TABLES)
    for table, rows in before.items():
        assert dagster.warehouse.read(table, [SMALL]).equals(rows), table.name
    assert isinstance(tick(dagster, collections=[SMALL]), dg.SkipReason)


def test_the_next_run_records_fetches_that_the_history_has_lost(with_zips: Dagster) -> None:
    dagster = with_zips
    warehouse, uids = dagster.warehouse, dagster.uids(SMALL, "RTSTRUCT")
    # As in a copy of which this file is from an hour earlier, or after a refresh of a data folder
    # of the first edition, which had no history.
    with warehouse.update(SERIES_CHANGES, SMALL) as partition:
        before = partition.rows
        partition.rows = before.filter(pc.not_equal(before["event"], "fetched"))
    assert warehouse.query(UNINDEXED_ZIPS).num_rows == len(uids)
    dagster.run("tcia_images", SMALL, ops=CONTOURS, tables=ALL_TABLES)

    assert warehouse.query(UNINDEXED_ZIPS).num_rows == 0
    assert warehouse.read(SERIES_CHANGES, [SMALL]).equals(before)
    assert not dagster.sandbox.requests["getImage"]


def test_headers_alone_can_be_materialized(with_zips: Dagster) -> None:
    lose_headers(with_zips, SMALL)
    result = with_zips.run("tcia_images", SMALL, tables=["images"])

    assert result.success
    events = result.get_asset_materialization_events()
    assert [event.asset_key for event in events] == [dg.AssetKey(["tcia", "images"])]
    assert not with_zips.warehouse.has(REFERENCES, SMALL)
    assert not with_zips.sandbox.requests["getImage"]


def test_a_check_names_the_zips_that_are_not_indexed(with_zips: Dagster) -> None:
    with_zips.warehouse.path(REFERENCES, SMALL).unlink()
    result = with_zips.run("tcia_images", SMALL, tables=["images"], checks=True)
    [found] = [e for e in result.get_asset_check_evaluations() if e.check_name == "zips_indexed"]

    assert not found.passed
    examples = found.metadata["examples"].value
    assert {row["problem"] for row in examples} == {"not in references"}
    assert len(examples) == len(with_zips.uids(SMALL, "RTSTRUCT"))


def test_the_next_tick_asks_for_a_run_that_fills_columns_that_are_new(with_zips: Dagster) -> None:
    dagster = with_zips
    whole = forget_columns(dagster.warehouse, "SoftwareVersions", collection=SMALL)
    answer = tick(dagster, collections=[SMALL])
    launch(dagster, answer, ALL_TABLES)

    assert dagster.warehouse.read(IMAGES, [SMALL]).equals(whole)
    assert isinstance(tick(dagster, collections=[SMALL]), dg.SkipReason)
