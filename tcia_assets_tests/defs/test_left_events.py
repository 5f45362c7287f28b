"""A Collection that was renamed: its images, and Dagster's events of both names."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import IMAGE_TABLES, SERIES
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import ALL_TABLES

CONTOURS: dict[str, object] = {
    "tcia_image_archives": {"config": {"selection": {"modalities": ["RTSTRUCT"]}}}
}


@pytest.mark.parametrize("defers", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_collection_that_was_renamed_has_no_images_under_its_old_name(
    with_zips: Dagster, defers: str
) -> None:
    dagster, new = with_zips, f"{SMALL} renamed"
    tags = {"dagster/backfill": "abc", "dagster/defer_asset_events": defers}
    dagster.run("tcia_images", SMALL, ops=CONTOURS, tables=ALL_TABLES)
    before = {table: dagster.warehouse.row_count(table, SMALL) for table in IMAGE_TABLES}
    assert all(before.values())
    dagster.sandbox.archive.move(collection=SMALL, to=new)
    dagster.collections()
    dagster.run("tcia_refresh", new, tables=["series"])
    for _ in range(2):
        dagster.run("tcia_images", new, ops=CONTOURS, tables=ALL_TABLES, tags=tags)

    for table in IMAGE_TABLES:
        assert dagster.warehouse.row_count(table, SMALL) == 0
        assert dagster.warehouse.row_count(table, new) == before[table]
        first, then = [e for e in dagster.events(table.name) if e.partition == SMALL]
        rows = [e.metadata["dagster/partition_row_count"].value for e in (first, then)]
        assert rows == [before[table], 0]
        assert then.metadata["digest"].value == dagster.warehouse.files(table, SMALL).digest()
    assert not dagster.sandbox.requests["getImage"]
    assert set(dagster.warehouse.read(SERIES, [SMALL])["moved_to"].to_pylist()) == {new}
    [event] = [e for e in dagster.events("series") if e.partition == SMALL]
    assert event.metadata["digest"].value == dagster.warehouse.files(SERIES, SMALL).digest()
