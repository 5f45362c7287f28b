"""Image archives: only what is proven whole gets its name. Real zips over real HTTP."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.defs.mirror import MIRROR
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.plan import MAX_ATTEMPTS
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import (
    ALL_TABLES,
    SELECTED,
    config,
    manifest,
    run_fetch,
    zips,
)

OTHER = "RIDER Lung CT" if SMALL != "RIDER Lung CT" else "LCTSC"


def test_the_selected_series_are_kept_as_served_with_their_proof(with_series: Dagster) -> None:
    assert run_fetch(with_series).success

    rows = manifest(with_series)
    assert len(rows) == 5
    for row in rows:
        path = with_series.data_dir / row["path"]
        body = path.read_bytes()
        assert (row["status"], row["verified_by"]) == ("complete", "md5")
        assert row["sha256"] == hashlib.sha256(body).hexdigest()
        assert row["archive_bytes"] == len(body)
        assert row["path"] == f"archives/{SMALL}/{row['SeriesInstanceUID']}.zip"
        assert row["license_name"]
    assert zips(with_series) == sorted(with_series.data_dir / row["path"] for row in rows)


@pytest.mark.slow
def test_the_collections_of_a_run_share_its_budget(with_series: Dagster, source: Source) -> None:
    names = sorted([SMALL, OTHER])
    with_series.instance.add_dynamic_partitions("tcia_collections", [OTHER])
    refresh(catalog.SERIES, OTHER, source, with_series.warehouse, datetime.now(UTC), ProbeBudget(0))
    # Partitions stand in the order in which they were added.
    config = {"selection": {"where": "true", "max_series_per_run": 2}}
    ops = {"tcia_image_archives": {"config": config}}
    assert with_series.run("tcia_images", SMALL, OTHER, ops=ops).success

    rows = with_series.warehouse.read(catalog.IMAGE_ARCHIVES, names)
    assert rows.num_rows == 2
    assert len(with_series.events("image_archives")) == 2


def test_without_a_selection_nothing_is_fetched(with_series: Dagster) -> None:
    assert with_series.run("tcia_images", SMALL, SMALL, tables=ALL_TABLES).success

    [event] = with_series.events("image_archives")
    assert "no image selection" in str(event.metadata["note"].value)
    assert not with_series.sandbox.requests["getImageWithMD5Hash"]
    assert not (with_series.data_dir / "archives").exists()


def test_a_plan_that_the_disk_cannot_hold_is_refused_with_the_numbers(with_series: Dagster) -> None:
    with_series.sandbox.faults.add()
    with_series.warehouse.write(
        catalog.SERIES,
        _with_size(with_series.warehouse.read(catalog.SERIES, [SMALL]), 10**15),
        SMALL,
    )
    result = run_fetch(with_series, raise_on_error=False)

    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert "1 Series of 1000.0 TB do not fit" in said


def _with_size(series: Any, size: int) -> Any:
    import pyarrow as pa

    place = series.schema.get_field_index("FileSize")
    sizes = pa.array([size] * series.num_rows, pa.int64())
    return series.set_column(place, series.schema.field(place), sizes)


# --- The runs -------------------------------------------------------------------------------------


def objects(dagster: Dagster) -> list[dict[str, Any]]:
    return list(dagster.warehouse.read(catalog.IMAGES, [SMALL]).to_pylist())


def tables(result: dg.ExecuteInProcessResult) -> list[str]:
    """The tables that a run has materialized, in its order."""
    events = result.get_asset_materialization_events()
    names = [str(event.asset_key.path[-1]) for event in events if event.asset_key]
    return [name for name in names if name != MIRROR]


def test_the_headers_follow_the_zips_in_the_same_run(with_series: Dagster) -> None:
    result = run_fetch(with_series, tables=ALL_TABLES)

    assert tables(result) == ALL_TABLES
    [event] = with_series.events("images")
    assert event.partition == SMALL
    assert (event.metadata["new"].value, event.metadata["kept"].value) == (5, 0)
    assert {row["SeriesInstanceUID"] for row in objects(with_series)} == {
        row["SeriesInstanceUID"] for row in manifest(with_series)
    }
    assert tables(run_fetch(with_series, tables=ALL_TABLES)) == []  # as nothing has changed


def test_a_run_of_the_headers_alone_reads_what_is_there_and_fetches_nothing(
    with_zips: Dagster,
) -> None:
    fetched = zips(with_zips)
    asked = with_zips.sandbox.requests["getImageWithMD5Hash"]
    result = run_fetch(with_zips, {"collections": [SMALL]}, tables=["images"])

    assert tables(result) == ["images"]
    assert {row["SeriesInstanceUID"] for row in objects(with_zips)} == {p.stem for p in fetched}
    assert zips(with_zips) == fetched
    assert with_zips.sandbox.requests["getImageWithMD5Hash"] == asked


def test_an_update_refreshes_then_fetches_then_reads(with_zips: Dagster) -> None:
    [changed, *_] = with_zips.uids(SMALL, "RTSTRUCT")
    with_zips.sandbox.archive.revise([changed])
    ops = config() | {"tcia_metadata": {"config": {"max_size_requests": 0}}}
    chosen = ["series", "patients", *ALL_TABLES]
    result = with_zips.run("tcia_update", SMALL, SMALL, ops=ops, tables=chosen)

    assert set(tables(result)[:-4]) == {"series", "patients"}
    assert tables(result)[-4:] == ALL_TABLES
    facts = with_zips.events("image_archives")[-1].metadata
    assert (facts["fetched"].value, facts["complete"].value) == (1, 5)
    assert with_zips.events("images")[-1].metadata["new"].value == 1


def test_the_materialization_tells_what_was_fetched_and_what_is_left(with_series: Dagster) -> None:
    [hidden, *_] = with_series.uids(SMALL, "RTSTRUCT")
    with_series.sandbox.archive.hide([hidden])
    result = run_fetch(with_series, SELECTED | {"max_series_per_run": 4})

    [event] = with_series.events("image_archives")
    facts = {name: value.value for name, value in event.metadata.items()}
    rows = manifest(with_series)
    assert facts["dagster/partition_row_count"] == len(rows) == 4
    tried = {row["SeriesInstanceUID"] for row in rows}
    assert facts["unavailable"] == facts["not_fetched"] == int(hidden in tried)
    assert facts["fetched"] == facts["complete"] == 4 - facts["unavailable"]
    assert (facts["remaining"], facts["given_up"], facts["denied_by_licence"]) == (1, 0, 0)
    assert facts["remaining_bytes"] > 0
    assert facts["bytes_on_disk"] == sum(path.stat().st_size for path in zips(with_series))
    assert facts["received_bytes"] >= facts["bytes_on_disk"] > 0
    assert facts["shard"] == "0-of-1"
    assert result.success


@pytest.mark.slow
def test_shards_are_runs_that_together_fetch_all_and_nothing_twice(with_series: Dagster) -> None:
    for shard in (0, 1):
        assert with_series.run(
            "tcia_images", SMALL, SMALL, ops=config(shards=2, shard=shard)
        ).success

    one, other = (event.metadata for event in with_series.events("image_archives"))
    assert (one["shard"].value, other["shard"].value) == ("0-of-2", "1-of-2")
    assert one["fetched"].value + other["fetched"].value == 5
    assert with_series.sandbox.requests["getImage"] == 5
    assert {row["status"] for row in manifest(with_series)} == {"complete"}
    assert len(objects(with_series)) == 5


def test_a_shard_that_cannot_be_fails_the_run_with_the_reason(with_series: Dagster) -> None:
    ops = config(shards=2, shard=2)
    result = with_series.run("tcia_images", SMALL, SMALL, ops=ops, raise_on_error=False)

    assert not result.success
    [failure, *_] = result.get_step_failure_events()
    assert "shard 2 of 2: it must be one of 0 to 1" in str(failure.step_failure_data.error)
    assert not with_series.sandbox.requests["getImage"]


@pytest.mark.slow
def test_what_was_given_up_is_tried_again_only_when_told_to(with_series: Dagster) -> None:
    [hidden, *_] = with_series.uids(SMALL, "RTSTRUCT")
    with_series.sandbox.archive.hide([hidden])
    run_fetch(with_series)
    tired = [
        replace(row, attempts=MAX_ATTEMPTS)
        for row in read_rows(with_series.warehouse, SMALL)
        if row.series_instance_uid == hidden
    ]
    merge_rows(with_series.warehouse, SMALL, tired)
    with_series.sandbox.archive.show([hidden])
    run_fetch(with_series)
    assert with_series.events("image_archives")[-1].metadata["given_up"].value == 1
    with_series.run("tcia_images", SMALL, SMALL, ops=config(retry=True))

    assert with_series.events("image_archives")[-1].metadata["given_up"].value == 0
    assert {row["status"] for row in manifest(with_series)} == {"complete"}


# --- The checks -----------------------------------------------------------------------------------


def test_a_licence_that_changes_stands_beside_the_zips_after_the_refresh(
    with_zips: Dagster,
) -> None:
    beside = with_zips.data_dir / "archives" / SMALL / "LICENSES.md"
    assert "MIT" not in beside.read_text()
    with_zips.sandbox.archive._change(with_zips.uids(SMALL, "RTSTRUCT"), LicenseName="MIT")
    with_zips.run("tcia_refresh", SMALL, tables=["series"])

    assert "MIT" in beside.read_text()
