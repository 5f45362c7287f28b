"""Metadata tables as assets: real runs against the sandbox, over real HTTP."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.catalog import DIALECTS, TABLES
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster, RefreshedFolders

BY_COLLECTION = [t for t in TABLES if t.partitioned_by == "Collection" and t.endpoint]
MADE_HERE = {
    "source",
    "fingerprint",
    "first_seen_at",
    "listed_since",
    "changed_at",
    "fetched_at",
}


NO_SIZES = {"tcia_metadata": {"config": {"max_size_requests": 0}}}
ALL_SIZES = {"tcia_metadata": {"config": {"max_size_requests": 1000}}}


def refreshed(
    dagster: Dagster, ops: dict[str, object] | None = None, **chosen: object
) -> list[str]:
    keys = dagster.collections(**chosen)
    assert dagster.run("tcia_refresh", keys[0], keys[-1], ops=ops, **chosen).success
    return keys


def test_the_collections_asset_makes_each_collection_a_partition(dagster: Dagster) -> None:
    keys = dagster.collections()

    assert keys == dagster.listed()
    assert dagster.warehouse.read(catalog.COLLECTIONS)["Collection"].to_pylist() == keys


def test_an_allow_list_keeps_other_collections_from_becoming_partitions(dagster: Dagster) -> None:
    assert dagster.collections(collections=[SMALL]) == [SMALL]


def test_an_allow_list_with_an_unknown_name_names_near_ones(dagster: Dagster) -> None:
    with pytest.raises(Exception, match=r"no Collection \(TCIA_COLLECTIONS\) 'LCTCS'.*LCTSC"):
        dagster.run("tcia_list_collections", collections=["LCTCS"])


def test_one_run_over_all_collections_leaves_one_event_with_its_facts_a_partition(
    dagster: Dagster,
) -> None:
    keys = refreshed(dagster)

    for table in BY_COLLECTION:
        events = dagster.events(table.name)
        assert sorted(str(e.partition) for e in events) == sorted(keys)
        for event in events:
            stored = dagster.warehouse.read(table, [str(event.partition)]).num_rows
            facts = {name: value.value for name, value in event.metadata.items()}
            assert facts["dagster/partition_row_count"] == stored
            assert facts["unclaimed_wire_fields"] == "none"
            if table is not catalog.SERIES_SIZES:  # whose questions were bounded
                assert facts["requests"] >= 1 and facts["received_bytes"] > 0


def test_what_is_stored_is_what_the_archive_holds(dagster: Dagster) -> None:
    refreshed(dagster, ALL_SIZES)

    counted = dagster.warehouse.query(
        "SELECT (SELECT count(*) FROM series)::BIGINT AS series, "
        "(SELECT sum(SeriesCount) FROM studies)::BIGINT AS counted, "
        "(SELECT count(*) FROM series_sizes WHERE TotalSizeInBytes IS NOT NULL)::BIGINT AS sized"
    ).to_pylist()
    assert counted == [{"series": 842, "counted": 842, "sized": 842}]


def test_all_checks_pass_on_a_sound_archive(dagster: Dagster) -> None:
    keys = dagster.collections()
    result = dagster.run("tcia_refresh", keys[0], keys[-1])

    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) > 20
    failed = [e for e in evaluations if not e.passed]
    assert [(e.asset_key.path[-1], e.check_name) for e in failed] == []


def test_refreshing_twice_changes_no_byte_but_that_of_when_it_was_done(dagster: Dagster) -> None:
    def files() -> dict[Path, tuple[int, bytes]]:
        found = [p for p in dagster.data_dir.rglob("*.parquet") if "snapshots" not in p.parts]
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in found}

    refreshed(dagster, NO_SIZES)
    before = files()
    refreshed(dagster, NO_SIZES)

    assert files() == before
    newest = dagster.events("series")[-1]
    assert newest.metadata["file_changed"].value is False


def test_sizes_are_asked_only_for_series_that_are_new_or_changed(dagster: Dagster) -> None:
    dagster.collections()
    dagster.run("tcia_refresh", SMALL, SMALL)
    before = dagster.sandbox.requests["getSeriesSize"]
    [revised] = dagster.sandbox.archive.revise(collection=SMALL, count=1, image_count=7)
    dagster.run("tcia_refresh", SMALL, SMALL)

    assert dagster.sandbox.requests["getSeriesSize"] == before + 1
    sizes = dagster.warehouse.query(
        "SELECT ObjectCount FROM series_sizes WHERE SeriesInstanceUID = $uid", {"uid": revised}
    )
    assert sizes["ObjectCount"].to_pylist() == [7]


def test_sizes_beyond_the_budget_are_left_to_the_next_run(dagster: Dagster) -> None:
    keys = dagster.collections()
    ops = {"tcia_metadata": {"config": {"max_size_requests": 4}}}
    dagster.run("tcia_refresh", SMALL, SMALL, ops=ops)
    assert keys

    [event] = dagster.events("series_sizes")
    assert event.metadata["asked"].value == 4
    assert event.metadata["remaining"].value == 6
    dagster.run("tcia_refresh", SMALL, SMALL, ops=ops)
    assert dagster.events("series_sizes")[-1].metadata["remaining"].value == 2


def test_one_failing_collection_fails_alone_and_the_others_are_recorded(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    bad = keys[3]
    stored = dagster.warehouse.path(catalog.SERIES, bad)
    before = stored.read_bytes()
    dagster.sandbox.archive.revise(collection=bad, count=1)
    dagster.sandbox.faults.add(Fault("html", "getSeries", times=0, collection=bad))
    result = dagster.run("tcia_refresh", keys[0], keys[-1], raise_on_error=False)

    assert not result.success
    assert stored.read_bytes() == before
    for table in BY_COLLECTION:
        lasting = [str(e.partition) for e in dagster.events(table.name)]
        expected = [k for k in keys if (table, k) != (catalog.SERIES, bad)]
        assert sorted(lasting) == sorted(expected)
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert f"series of {bad!r}" in said and "<html>" in said


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("html", "getSeries", times=0), "not a list of rows"),
        (Fault("cut", "getSeries", times=0, after_bytes=500), "cut off"),
        (Fault("cut_after_comma", "getSeries", times=0, after_bytes=2000), "cut off"),
        (Fault("empty", "getSeries", times=0), "zero bytes"),
        (Fault("bad_value", "getSeries", times=0, column="ImageCount", value="twelve"), "'twelve'"),
        (
            Fault("renamed_column", "getSeries", times=0, column="SeriesInstanceUID", value="Uid"),
            "SeriesInstanceUID",
        ),
        (Fault("ignored_filter", "getSeries", times=0), "rows do not match"),
        (Fault("status", "getSeries", times=0, status=502), "status 502"),
        (Fault("status", "getSeries", times=0, status=400, body="Nope"), "Nope"),
        (Fault("reset", "getSeries", times=0, after_bytes=300), "no response from"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_reply_that_is_not_what_it_should_be_leaves_the_partition_as_it_was(
    dagster: Dagster, fault: Fault, said: str
) -> None:
    dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    dagster.sandbox.faults.add(fault)
    result = dagster.run("tcia_refresh", SMALL, SMALL, raise_on_error=False)

    assert not result.success
    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert said in str(failure.step_failure_data.user_failure_data.description)
    dagster.sandbox.faults.clear()
    assert dagster.run("tcia_refresh", SMALL, SMALL).success


def test_a_passing_fault_costs_a_retry_and_nothing_else(dagster: Dagster) -> None:
    dagster.collections()
    dagster.sandbox.faults.add(
        Fault("status", "getSeries", status=503), Fault("reset", "getPatient", after_bytes=10)
    )

    assert dagster.run("tcia_refresh", SMALL, SMALL).success
    [event] = dagster.events("series")
    assert event.metadata["requests"].value == 2


def test_the_life_of_a_series_is_kept_over_snapshots(dagster: Dagster) -> None:
    patience: dict[str, object] = {}

    def lives() -> dict[str, dict[str, object]]:
        dagster.run("tcia_refresh", SMALL, SMALL, **patience)
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


@pytest.mark.parametrize("dialect", [d.name for d in DIALECTS])
def test_every_dialect_gives_the_same_tables_apart_from_columns_that_it_lacks(
    dagster: Dagster,
    dialect: str,
    refreshed_folders: RefreshedFolders,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp(dialect)
    other = Dagster(dagster.sandbox, folder, dagster.instance, refreshed_folders)
    for each, speaks in ((dagster, "nbia-v4"), (other, dialect)):
        refreshed(each, NO_SIZES, dialect=speaks)
        each.run("tcia_refresh", SMALL, SMALL, dialect=speaks)  # with its sizes

    for table in (catalog.COLLECTIONS, *BY_COLLECTION):
        ours, theirs = dagster.warehouse.read(table), other.warehouse.read(table)
        for column in table.column_names:
            if column in MADE_HERE or theirs[column].null_count == len(theirs):
                continue
            if ours[column].null_count == len(ours):
                continue
            expected, found = (
                _comparable(ours[column], dialect),
                _comparable(theirs[column], dialect),
            )
            assert found == expected, (table.name, column)


def _comparable(column: pa.ChunkedArray, dialect: str) -> list[object]:
    values = column.to_pylist()
    if pa.types.is_timestamp(column.type):  # nbia-v4 tells the day only
        return [v and v.date() for v in values]
    if pa.types.is_string(column.type):  # nbia-v4 upper-cases the lists of values
        return sorted(str(v).casefold() for v in values)
    return values


def test_an_asset_of_other_people_gets_a_partition_as_a_table(dagster: Dagster) -> None:
    definitions = dagster.definitions()
    got: list[pa.Table] = []
    partitions = (
        definitions.resolve_asset_graph().get(dg.AssetKey(["tcia", "series"])).partitions_def
    )

    @dg.asset(ins={"series": dg.AssetIn(key=["tcia", "series"])}, partitions_def=partitions)
    def theirs(series: pa.Table) -> None:
        got.append(series)

    dagster.collections()
    dagster.run("tcia_refresh", SMALL, SMALL)
    merged = dg.Definitions.merge(definitions, dg.Definitions(assets=[theirs]))
    job = merged.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=dagster.instance, partition_key=SMALL, asset_selection=[dg.AssetKey("theirs")]
    )

    assert result.success
    assert got[0].schema.equals(catalog.SERIES.schema)
    assert got[0].num_rows == 10


def test_a_renamed_column_is_an_error_and_not_a_change_of_every_series(dagster: Dagster) -> None:
    dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    renamed = Fault(
        "renamed_column", "getSeries", column="DataDescriptionURI", value="DescriptionURI"
    )
    dagster.sandbox.faults.add(renamed)
    result = dagster.run("tcia_refresh", SMALL, SMALL, raise_on_error=False)

    assert not result.success
    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert "series.DataDescriptionURI" in said
    assert "DescriptionURI?" in said


def test_a_collection_that_vanishes_stays_as_it_is_and_fails_nothing(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    dagster.sandbox.archive.withdraw(collection=SMALL)
    result = dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)

    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    assert dagster.events("collections")[-1].metadata["gone"].value == [SMALL]
    failed = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert failed == {"collections_still_listed", "collections_exist", "rows_kept"}
    # An allow-list that still names it is no slip.
    assert dagster.run("tcia_list_collections", collections=[SMALL, keys[-1]]).success


def test_a_failing_partition_leaves_the_checks_on(dagster: Dagster) -> None:
    keys = dagster.collections()
    dagster.sandbox.faults.add(Fault("html", "getPatient", times=0, collection=keys[2]))
    result = dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES, raise_on_error=False)

    checked = {(e.asset_key.path[-1], e.check_name) for e in result.get_asset_check_evaluations()}
    assert {("series", "keys_unique"), ("studies", "patients_exist")} <= checked


def test_values_of_an_ignored_filter_fail_their_check(dagster: Dagster) -> None:
    dagster.collections()
    dagster.sandbox.faults.add(Fault("ignored_filter", "getModalityValues"))
    result = dagster.run("tcia_refresh", SMALL, SMALL)

    failed = {
        (e.asset_key.path[-1], e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert failed == {("modality_values", "values_occur")}


def test_a_series_that_moves_is_in_one_collection_and_breaks_no_check(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    [uid] = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.move([uid], to=keys[-1])
    result = dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)

    rows = dagster.warehouse.query(
        "SELECT Collection FROM current_series WHERE SeriesInstanceUID = $uid", {"uid": uid}
    )
    assert rows["Collection"].to_pylist() == [keys[-1]]
    failed = {
        (e.asset_key.path[-1], e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert failed == set()


def test_a_file_that_hides_moves_is_told_and_what_was_refreshed_is_recorded(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    other = next(key for key in keys if key != SMALL)
    dagster.warehouse.path(catalog.SERIES, other).write_bytes(b"PAR1 no more")
    result = dagster.run("tcia_refresh", SMALL, SMALL, raise_on_error=False)

    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert "moves cannot be determined" in str(
        failure.step_failure_data.user_failure_data.description
    )
    assert str(dagster.events("series")[-1].partition) == SMALL


def test_a_damaged_file_fails_checks_with_what_to_do_and_not_the_run(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.warehouse.path(catalog.SERIES, SMALL).write_bytes(b"PAR1 no more")
    result = dagster.run("tcia_list_collections")

    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert "delete it and refresh" in str(failed[0].description)


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}


def test_a_list_whose_newest_release_is_older_than_the_stored_one_fails_a_check(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    newest = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.hold(newest)
    dagster.sandbox.archive.release(newest)
    assert failed_checks(dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)) == set()
    dagster.sandbox.archive.hold(newest)
    stale = dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)

    assert "releases_not_older" in failed_checks(stale)
    dagster.sandbox.archive.release(newest)
    assert failed_checks(dagster.run("tcia_refresh", SMALL, SMALL, ops=NO_SIZES)) == set()


def test_a_stale_twin_with_all_series_fails_a_check_until_the_real_one_answers(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    revised = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.revise(revised)
    assert failed_checks(dagster.run("tcia_refresh", keys[0], keys[-1], ops=NO_SIZES)) == set()
    dagster.sandbox.reset()  # as it was before the revision
    twins = [dagster.run("tcia_refresh", SMALL, SMALL, ops=NO_SIZES) for _ in range(2)]

    assert [failed_checks(twin) for twin in twins] == [{"submissions_not_older"}] * 2
    dagster.sandbox.archive.revise(revised)
    assert failed_checks(dagster.run("tcia_refresh", SMALL, SMALL, ops=NO_SIZES)) == set()


def test_more_than_a_tenth_of_the_collections_gone_fails_a_check_as_long_as_they_are(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    dagster.sandbox.archive.withdraw(collection=keys[0])
    one_gone = dagster.run("tcia_list_collections")
    dagster.sandbox.archive.withdraw(collection=keys[1])
    two_gone = [dagster.run("tcia_list_collections") for _ in range(2)]

    assert "collections_kept" not in failed_checks(one_gone)
    assert all("collections_kept" in failed_checks(result) for result in two_gone)


def test_what_is_known_and_new_are_numbers_that_dagster_plots(dagster: Dagster) -> None:
    keys = refreshed(dagster, NO_SIZES)
    stored = dagster.warehouse.read(catalog.SERIES).num_rows
    events = dagster.events("series")

    assert len(events) == len(keys)
    for name in ("known", "new", "missing"):
        assert all(isinstance(e.metadata[name], dg.IntMetadataValue) for e in events)
    assert sum(int(str(e.metadata["known"].value)) for e in events) == stored
