"""One run over tables and partitions: what fails, what stays, what is counted."""

from __future__ import annotations

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.metadata_runs import NO_SIZES


@pytest.mark.slow  # `metadata/test_refresh_sizes` counts them without a run
def test_sizes_are_requested_only_for_new_or_changed_series(dagster: Dagster) -> None:
    tables = ["series", "series_sizes"]
    dagster.start_listed()
    dagster.run("tcia_refresh", SMALL, tables=tables)
    before = dagster.sandbox.requests["getSeriesSize"]
    [revised] = dagster.sandbox.archive.revise(collection=SMALL, count=1, image_count=7)
    dagster.run("tcia_refresh", SMALL, tables=tables)

    assert dagster.sandbox.requests["getSeriesSize"] == before + 1
    sizes = dagster.warehouse.query(
        "SELECT ObjectCount FROM series_sizes WHERE SeriesInstanceUID = $uid", {"uid": revised}
    )
    assert sizes["ObjectCount"].to_pylist() == [7]


@pytest.mark.slow
def test_sizes_beyond_the_budget_are_left_to_the_next_run(dagster: Dagster) -> None:
    tables = ["series", "series_sizes"]
    dagster.start_listed()
    ops = {"tcia_metadata": {"config": {"max_size_requests": 4}}}
    dagster.run("tcia_refresh", SMALL, tables=tables, ops=ops)

    [event] = dagster.events("series_sizes")
    assert event.metadata["asked"].value == 4
    assert event.metadata["remaining"].value == 6
    dagster.run("tcia_refresh", SMALL, tables=tables, ops=ops)
    assert dagster.events("series_sizes")[-1].metadata["remaining"].value == 2


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("fault", "said"),
    # How each of these replies is refused is tested in `sources` too.
    [
        pytest.param(Fault("html", "getSeries", times=0), "not a list of rows", marks=SLOW),
        pytest.param(Fault("cut", "getSeries", times=0, after_bytes=500), "cut off", marks=SLOW),
        pytest.param(
            Fault("cut_after_comma", "getSeries", times=0, after_bytes=2000),
            "cut off",
            marks=SLOW,
        ),
        pytest.param(Fault("empty", "getSeries", times=0), "zero bytes", marks=SLOW),
        (Fault("bad_value", "getSeries", times=0, rows=6), "6 of 10 values cannot be read"),
        pytest.param(
            Fault("bad_value", "getSeries", times=0, column="SeriesInstanceUID"),
            "'twelve'",
            marks=SLOW,
        ),
        pytest.param(
            Fault("renamed_column", "getSeries", times=0, column="SeriesInstanceUID", value="Uid"),
            "SeriesInstanceUID",
            marks=SLOW,  # `test_metadata` renames another
        ),
        pytest.param(
            Fault("ignored_filter", "getSeries", times=0), "rows do not match", marks=SLOW
        ),
        pytest.param(Fault("status", "getSeries", times=0, status=502), "status 502", marks=SLOW),
        pytest.param(
            Fault("status", "getSeries", times=0, status=400, body="Nope"), "Nope", marks=SLOW
        ),
        pytest.param(
            Fault("reset", "getSeries", times=0, after_bytes=300),
            "no response from",
            marks=SLOW,
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_bad_reply_leaves_the_partition_unchanged(
    dagster: Dagster, fault: Fault, said: str
) -> None:
    dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    dagster.sandbox.faults.add(fault)
    result = dagster.run("tcia_refresh", SMALL, tables=["series"], raise_on_error=False)

    assert not result.success
    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert said in str(failure.step_failure_data.user_failure_data.description)
    dagster.sandbox.faults.clear()
    assert dagster.run("tcia_refresh", SMALL, tables=["series"]).success


def test_an_odd_value_is_null_counted_and_a_warning_of_a_check(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.sandbox.faults.add(Fault("bad_value", "getPatientStudy", column="SeriesCount"))
    result = dagster.run("tcia_refresh", SMALL, tables=["studies"], checks=True)

    [event] = dagster.events("studies")
    assert event.metadata["unreadable_values"].value == 1
    [check] = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == "values_readable"
    ]
    assert not check.passed and check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["contradicting_rows"].value == 1
    [example] = check.metadata["examples"].value
    assert (example["Collection"], example["value_text"]) == (SMALL, "twelve")
    again = dagster.run("tcia_refresh", SMALL, tables=["studies"], checks=True)
    assert all(each.passed for each in again.get_asset_check_evaluations())


def test_a_changed_schema_is_accepted_by_the_config_of_the_step(dagster: Dagster) -> None:
    dagster.start_refreshed()
    renamed = Fault(
        "renamed_column", "getPatientStudy", times=0, column="PatientID", value="SubjectID"
    )
    dagster.sandbox.faults.add(renamed)
    result = dagster.run("tcia_refresh", SMALL, tables=["studies"], raise_on_error=False)
    assert not result.success

    ops = {"tcia_metadata": {"config": {"accept_schema": [SMALL]}}}
    assert dagster.run("tcia_refresh", SMALL, tables=["studies"], ops=ops).success
    rows = dagster.warehouse.read(catalog.STUDIES, [SMALL])
    assert rows["PatientID"].null_count == rows.num_rows


def test_a_passing_fault_costs_only_a_retry(dagster: Dagster) -> None:
    dagster.start_listed()
    dagster.sandbox.faults.add(
        Fault("status", "getSeries", status=503), Fault("reset", "getPatient", after_bytes=10)
    )

    assert dagster.run("tcia_refresh", SMALL, tables=["series", "patients"]).success
    [event] = dagster.events("series")
    assert event.metadata["requests"].value == 2


def test_a_collection_removed_from_the_list_stays_and_fails_nothing(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    before = dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes()
    dagster.sandbox.archive.withdraw(collection=SMALL)
    result = dagster.run("tcia_refresh", SMALL, ops=NO_SIZES)

    assert dagster.warehouse.path(catalog.SERIES, SMALL).read_bytes() == before
    assert dagster.events("collections")[-1].metadata["gone"].value == [SMALL]
    failed = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert failed == {"collections_still_listed", "collections_exist", "rows_kept"}
    # An allow-list that still names it is no slip.
    assert dagster.run("tcia_list_collections", collections=[SMALL, keys[-1]]).success


def test_when_moves_cannot_be_settled_the_refreshed_partitions_are_recorded(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    other = next(key for key in keys if key != SMALL)
    dagster.warehouse.path(catalog.SERIES, other).write_bytes(b"PAR1 no more")
    result = dagster.run("tcia_refresh", SMALL, tables=["series"], raise_on_error=False)

    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert "moves cannot be determined" in str(
        failure.step_failure_data.user_failure_data.description
    )
    assert str(dagster.events("series")[-1].partition) == SMALL


@pytest.mark.slow
def test_counts_of_series_are_numbers_that_dagster_plots(dagster: Dagster) -> None:
    keys = dagster.start_listed()
    assert dagster.run("tcia_refresh", keys[0], keys[-1], tables=["series"]).success
    stored = dagster.warehouse.read(catalog.SERIES).num_rows
    events = dagster.events("series")

    assert len(events) == len(keys)
    for name in ("known", "new", "missing"):
        assert all(isinstance(e.metadata[name], dg.IntMetadataValue) for e in events)
    assert sum(int(str(e.metadata["known"].value)) for e in events) == stored
