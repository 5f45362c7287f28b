"""A Collection that was renamed: its images, and Dagster's events of both names."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import IMAGE_TABLES, SERIES
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.images.moves import refresh_moved

CONTOURS = {"tcia_image_archives": {"config": {"selection": {"modalities": ["RTSTRUCT"]}}}}
RENAMED = f"{SMALL} renamed"


@pytest.mark.parametrize("defers", ["true", "false"])
def test_a_collection_that_was_renamed_has_no_images_under_its_old_name(
    with_zips: Dagster, source: Source, defers: str
) -> None:
    dagster, new = with_zips, RENAMED
    tags = {"dagster/backfill": "abc", "dagster/defer_asset_events": defers}
    dagster.run("tcia_images", SMALL, ops=CONTOURS)
    before = {table: dagster.warehouse.row_count(table, SMALL) for table in IMAGE_TABLES}
    assert all(before.values())
    dagster.sandbox.archive.move(collection=SMALL, to=new)
    refresh_moved(source, dagster.warehouse, [new])
    dagster.instance.add_dynamic_partitions("tcia_collections", [new])
    for _ in range(2):
        dagster.run("tcia_images", new, ops=CONTOURS, tags=tags)

    for table in IMAGE_TABLES:
        assert dagster.warehouse.row_count(table, SMALL) == 0
        assert dagster.warehouse.row_count(table, new) == before[table]
        first, then = [e for e in dagster.events(table.name) if e.partition == SMALL]
        rows = [e.metadata["dagster/partition_row_count"].value for e in (first, then)]
        assert rows == [before[table], 0]
        assert then.metadata["digest"].value == dagster.warehouse.files(table, SMALL).digest()
    assert not dagster.sandbox.requests["getImage"]


def test_series_that_moved_are_recorded_where_they_were(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.run("tcia_refresh", SMALL, tables=["series"])
    dagster.sandbox.archive.move(collection=SMALL, to=RENAMED)
    dagster.collections()
    for _ in range(2):
        dagster.run("tcia_refresh", RENAMED, tables=["series"])

    moved_to = dagster.warehouse.read(SERIES, [SMALL])["moved_to"].to_pylist()
    assert set(moved_to) == {RENAMED}
    events = [event for event in dagster.events("series") if event.partition == SMALL]
    assert len(events) == 2
    digest = dagster.warehouse.files(SERIES, SMALL).digest()
    assert events[-1].metadata["digest"].value == digest
