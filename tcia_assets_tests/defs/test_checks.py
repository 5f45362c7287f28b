"""Asset checks of tables, after real runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets import catalog
from tcia_assets.defs.checks import checks_of
from tcia_assets.defs.run_report import refresh_report
from tcia_assets.sandbox.faults import Fault
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.metadata_runs import (
    failed_checks,
)

_ORPHANS = "collections_exist"


def test_checks_are_evaluated_although_a_partition_failed(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    dagster.sandbox.faults.add(Fault("html", "getPatient", times=0, collection=keys[2]))
    tables = ["patients", "studies", "series"]
    result = dagster.run(
        "tcia_refresh", keys[0], keys[-1], tables=tables, checks=True, raise_on_error=False
    )

    checked = {(e.asset_key.path[-1], e.check_name) for e in result.get_asset_check_evaluations()}
    assert {("series", "keys_unique"), ("studies", "patients_exist")} <= checked


def test_values_of_an_ignored_filter_fail_their_check(dagster: Dagster) -> None:
    dagster.start_refreshed()
    stored = dagster.warehouse.read(catalog.MODALITY_VALUES, [SMALL])
    foreign = pa.table({"Collection": [SMALL], "Modality": ["MR"]}).cast(stored.schema)
    rows = conform(catalog.MODALITY_VALUES, pa.concat_tables([stored, foreign]))
    dagster.warehouse.write(catalog.MODALITY_VALUES, rows, SMALL)
    dagster.sandbox.faults.add(Fault("ignored_filter", "getModalityValues", times=0))
    tables = ["modality_values"]
    result = dagster.run("tcia_refresh", SMALL, tables=tables, checks=True, raise_on_error=False)

    assert not result.success  # such values are refused since they are compared with the Series
    failed = {
        (e.asset_key.path[-1], e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert failed == {("modality_values", "values_occur")}


def test_a_listed_series_without_its_study_means_that_studies_are_missing(dagster: Dagster) -> None:
    dagster.start_refreshed()
    stored = dagster.warehouse.read(catalog.STUDIES, [SMALL])
    dagster.warehouse.write(catalog.STUDIES, conform(catalog.STUDIES, stored.slice(0, 1)), SMALL)
    result = dagster.run("tcia_refresh", SMALL, tables=["series"], checks=True)

    [failure] = refresh_report(result).failures
    assert failure.startswith(
        "check studies_exist of series: Each row has a parent row in studies."
    )


def write(warehouse: Warehouse, table: Table, name: str, **values: object) -> None:
    """Write the partition of a Collection: one row, with any values where there must be some."""
    needed = [column for column in table.columns if column.required]
    some = {column.name: pa.scalar(0).cast(column.kind.arrow_type).as_py() for column in needed}
    rows = pa.Table.from_pylist([some | {"Collection": name} | values])
    warehouse.write(table, conform(table, rows), name if table.partitioned_by else "")


def contradicting(warehouse: Warehouse, table: Table, name: str) -> list[dict[str, object]]:
    [check] = [each for each in checks_of(table) if each.name == name]
    return warehouse.query(check.ordered_sql).to_pylist()


def test_a_collection_that_was_imported_need_not_be_in_the_list_of_the_archive(
    tmp_path: Path,
) -> None:
    warehouse = Warehouse(tmp_path)
    write(warehouse, catalog.COLLECTIONS, SMALL)
    for name in (SMALL, "ours", "gone"):
        write(warehouse, catalog.PATIENTS, name, PatientID="1")
    write(warehouse, catalog.IMPORTS, "ours")
    assert contradicting(warehouse, catalog.PATIENTS, _ORPHANS) == [{"Collection": "gone"}]


def test_a_series_is_in_one_collection_unless_it_has_moved(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    for name, uid in {"a": "1.2", "b": "1.2", "c": "1.3"}.items():
        write(warehouse, catalog.SERIES, name, SeriesInstanceUID=uid)
    found = contradicting(warehouse, catalog.SERIES, "keys_unique")
    assert found == [{"SeriesInstanceUID": "1.2", "rows": 2}]
    write(warehouse, catalog.SERIES, "a", SeriesInstanceUID="1.2", moved_to="b")
    assert contradicting(warehouse, catalog.SERIES, "keys_unique") == []


def test_a_check_shows_the_first_of_the_failing_rows_in_their_order(dagster: Dagster) -> None:
    # DuckDB returns distinct rows in any order, and a different result is recorded again.
    keys = dagster.start_refreshed()
    dagster.warehouse.write(catalog.COLLECTIONS, empty(catalog.COLLECTIONS))
    result = dagster.run(
        "tcia_refresh", SMALL, tables=["patients"], checks=True, raise_on_error=False
    )

    [orphans] = (
        each for each in result.get_asset_check_evaluations() if each.check_name == _ORPHANS
    )
    examples = orphans.metadata["examples"].value
    assert len(keys) > 2
    assert examples == [{"Collection": key} for key in sorted(keys)][:10]


def test_a_damaged_file_fails_checks_and_not_the_run(dagster: Dagster) -> None:
    dagster.start_refreshed()
    dagster.warehouse.path(catalog.SERIES, SMALL).write_bytes(b"PAR1 no more")
    result = dagster.run("tcia_list_collections")

    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert "delete it and refresh" in str(failed[0].description)
    for each in failed:
        assert str(each.description).startswith("not evaluated: series: ")
        assert str(each.description).count("delete it") == 1


@pytest.mark.slow
def test_a_list_with_an_older_newest_release_fails_a_check(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    newest = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.hold(newest)
    dagster.sandbox.archive.release(newest)
    assert (
        failed_checks(
            dagster.run("tcia_refresh", keys[0], keys[-1], tables=["series"], checks=True)
        )
        == set()
    )
    dagster.sandbox.archive.hold(newest)
    stale = dagster.run("tcia_refresh", keys[0], keys[-1], tables=["series"], checks=True)

    assert "releases_not_older" in failed_checks(stale)
    dagster.sandbox.archive.release(newest)
    assert (
        failed_checks(dagster.run("tcia_refresh", SMALL, tables=["series"], checks=True)) == set()
    )


@pytest.mark.slow
def test_a_stale_server_with_all_series_fails_a_check_until_it_is_current(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    revised = dagster.uids(SMALL, "CT")[:1]
    dagster.sandbox.archive.revise(revised)
    assert (
        failed_checks(
            dagster.run("tcia_refresh", keys[0], keys[-1], tables=["series"], checks=True)
        )
        == set()
    )
    dagster.sandbox.reset()  # as it was before the revision
    twins = [dagster.run("tcia_refresh", SMALL, tables=["series"], checks=True) for _ in range(2)]

    assert [failed_checks(twin) for twin in twins] == [{"submissions_not_older"}] * 2
    dagster.sandbox.archive.revise(revised)
    assert (
        failed_checks(dagster.run("tcia_refresh", SMALL, tables=["series"], checks=True)) == set()
    )


@pytest.mark.slow
def test_a_tenth_of_the_collections_gone_fails_a_check_until_they_return(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    dagster.sandbox.archive.withdraw(collection=keys[0])
    one_gone = dagster.run("tcia_list_collections")
    dagster.sandbox.archive.withdraw(collection=keys[1])
    two_gone = [dagster.run("tcia_list_collections") for _ in range(2)]

    assert "collections_kept" not in failed_checks(one_gone)
    assert all("collections_kept" in failed_checks(result) for result in two_gone)
