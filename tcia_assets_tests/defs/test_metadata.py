"""Metadata tables as assets: real runs against the sandbox, over real HTTP."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.metadata_runs import NO_SIZES


def test_the_collections_asset_makes_each_collection_a_partition(dagster: Dagster) -> None:
    keys = dagster.collections()

    assert keys == dagster.listed()
    assert dagster.warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist() == keys


def test_an_allow_list_keeps_other_collections_from_becoming_partitions(dagster: Dagster) -> None:
    assert dagster.collections(collections=[SMALL]) == [SMALL]


def test_an_allow_list_with_an_unknown_name_names_near_ones(dagster: Dagster) -> None:
    with pytest.raises(Exception, match=r"no Collection \(TCIA_COLLECTIONS\) 'LCTCS'.*LCTSC"):
        dagster.run("tcia_list_collections", collections=["LCTCS"])


@pytest.mark.slow
def test_the_life_of_a_series_is_kept_over_snapshots(dagster: Dagster) -> None:
    patience: dict[str, object] = {}

    def lives() -> dict[str, dict[str, object]]:
        dagster.run("tcia_refresh", SMALL, tables=["series"], **patience)
        rows = dagster.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
        return {row["SeriesInstanceUID"]: row for row in rows}

    dagster.collections()
    archive = dagster.sandbox.archive
    first = lives()
    [withdrawn] = archive.withdraw(collection=SMALL, count=1)
    [revised] = archive.revise(collection=SMALL, count=1)
    second = lives()
    assert second[withdrawn]["missing_since"] is not None
    # Lists of one bad hour are one list.
    assert lives()[withdrawn] == second[withdrawn]
    patience["withdrawal_hours"] = 0
    lives()
    third = lives()
    current = dagster.warehouse.query("SELECT SeriesInstanceUID AS uid FROM current_series")

    assert len(first) == len(second) == len(third) == 10
    assert second[withdrawn]["withdrawn_at"] is None
    assert third[withdrawn]["withdrawn_at"] is not None
    assert withdrawn not in current["uid"].to_pylist()
    assert second[revised]["changed_at"] > first[revised]["changed_at"]
    assert second[revised]["first_seen_at"] == first[revised]["first_seen_at"]


def test_shared_lists_are_partitions_by_their_names(dagster: Dagster) -> None:
    wanted = dagster.uids(SMALL, "RTSTRUCT")[:3]
    dagster.sandbox.archive.share("my list", wanted)
    dagster.instance.add_dynamic_partitions("tcia_shared_lists", ["my list"])

    assert dagster.run("tcia_refresh_shared_lists", "my list").success
    rows = dagster.warehouse.read(catalog.SHARED_LISTS, ["my list"])
    assert rows["SeriesInstanceUID"].to_pylist() == wanted
    assert set(rows["list_name"].to_pylist()) == {"my list"}


def test_an_unknown_shared_list_is_an_error_not_an_empty_table(dagster: Dagster) -> None:
    dagster.instance.add_dynamic_partitions("tcia_shared_lists", ["no such list"])
    result = dagster.run("tcia_refresh_shared_lists", "no such list", raise_on_error=False)

    assert not result.success
    assert not dagster.warehouse.has(catalog.SHARED_LISTS, "no such list")


def test_a_renamed_column_is_an_error_and_not_a_change_of_every_series(dagster: Dagster) -> None:
    dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    renamed = Fault(
        "renamed_column", "getSeries", column="DataDescriptionURI", value="DescriptionURI"
    )
    dagster.sandbox.faults.add(renamed)
    result = dagster.run("tcia_refresh", SMALL, tables=["series"], raise_on_error=False)

    assert not result.success
    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert "series.DataDescriptionURI" in said
    assert "DescriptionURI?" in said


@pytest.mark.slow
def test_a_series_that_moves_is_in_one_collection_and_breaks_no_check(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    after = keys[keys.index(SMALL) + 1]
    [uid] = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.move([uid], to=after)
    result = dagster.run("tcia_refresh", SMALL, after, ops=NO_SIZES)

    rows = dagster.warehouse.query(
        "SELECT Collection FROM current_series WHERE SeriesInstanceUID = $uid", {"uid": uid}
    )
    assert rows["Collection"].to_pylist() == [after]
    failed = {
        (e.asset_key.path[-1], e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert failed == set()


def test_descriptions_link_to_their_doi(dagster: Dagster) -> None:
    dagster.start_refreshed()
    assert dagster.run("tcia_refresh", SMALL, tables=["collection_descriptions"]).success

    [event] = dagster.events("collection_descriptions")
    [row] = dagster.warehouse.read(catalog.COLLECTION_DESCRIPTIONS, [SMALL]).to_pylist()
    assert event.metadata["doi"] == dg.MetadataValue.url(f"https://doi.org/{row['doi']}")
