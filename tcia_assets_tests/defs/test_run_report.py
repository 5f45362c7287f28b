"""Which lines people read after a refresh, and which of them are failures."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import dagster as dg

from tcia_assets.defs.run_report import RunReport, refresh_report, run_report
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster


def test_an_implausible_listing_has_one_line_although_another_partition_fails(
    dagster: Dagster,
) -> None:
    keys = dagster.start_refreshed()
    other = keys[keys.index(SMALL) + 1]
    dagster.sandbox.archive.hide(collection=SMALL, count=6)
    dagster.sandbox.faults.add(Fault("html", "getSeries", times=0, collection=other))
    result = dagster.run(
        "tcia_refresh", SMALL, other, tables=["series"], checks=True, raise_on_error=False
    )
    report = refresh_report(result)

    assert run_report(result).failures == report.failures[:1]
    [line] = report.failures[1:]
    assert line.startswith(f"series of {SMALL!r}: implausible listing: it lacks 6 of the 10")
    # The Studies of the run before count more Series than are listed; the listing is said once.
    assert [note for note in report.notes if "plausible" in note or "rows_kept" in note] == []


def test_an_implausible_listing_of_an_earlier_run_is_a_note(dagster: Dagster) -> None:
    keys = dagster.start_refreshed()
    other = keys[keys.index(SMALL) + 1]
    dagster.sandbox.archive.hide(collection=SMALL, count=6)
    dagster.run("tcia_refresh", SMALL, tables=["series"])
    report = refresh_report(dagster.run("tcia_refresh", other, tables=["series"], checks=True))

    assert report.failures == []
    assert any(note.startswith("check lists_plausible of series") for note in report.notes)


def test_one_problem_in_several_tables_has_one_line() -> None:
    example = {"contradicting_rows": 1, "examples": [{"Collection": "a"}]}
    failed = [check(table, "collections_exist", **example) for table in ("patients", "snapshots")]
    [note] = refresh_report(result_of(failed)).notes
    assert note == (
        "check collections_exist of patients, snapshots: Each row has a parent row in collections. "
        "1 row contradicts it, such as Collection=a"
    )


def test_a_check_that_cannot_be_evaluated_is_a_failure_with_its_reason() -> None:
    error = dg.AssetCheckSeverity.ERROR
    failed = check("series", "keys_unique", severity=error, description="a file is damaged")
    report = refresh_report(result_of([failed]))
    assert report == RunReport(["check keys_unique of series: a file is damaged"])


def test_partitions_that_lost_rows_are_counted_with_an_example() -> None:
    collapsed = {"a": {"before": 9, "now": 3}, "b": {"before": 5, "now": 0}}
    report = refresh_report(result_of([check("patients", "rows_kept", collapsed=collapsed)]))
    [note] = report.notes
    assert note == (
        "check rows_kept of patients: No partition lists a tenth less than before. "
        "2 partitions contradict it, such as a: 9 rows before, 3 now"
    )


def test_old_partitions_are_not_repeated_by_each_refresh() -> None:
    failed = check("patients", "refreshed_lately", hours_ago={"a": 99})
    assert refresh_report(result_of([failed])) == RunReport()


def test_a_long_example_is_cut_and_stays_on_its_line() -> None:
    example = {"contradicting_rows": 2, "examples": [{"Collection": "a\n" + "b" * 5000}]}
    [note] = refresh_report(result_of([check("series", "none_missing", **example)])).notes
    assert len(note) < 400
    assert "Collection=a\\nbbb" in note


def test_reports_of_several_runs_have_each_line_once() -> None:
    report = RunReport(["a"], ["n"])
    report += RunReport(["a", "b"], ["n", "m"])
    assert report == RunReport(["a", "b"], ["n", "m"])


def check(
    table: str,
    name: str,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    description: str | None = None,
    **facts: Any,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["tcia", table]),
        check_name=name,
        passed=False,
        severity=severity,
        description=description,
        metadata=facts,
    )


def result_of(failed: Iterable[dg.AssetCheckEvaluation]) -> Any:
    """A run that succeeded with these checks."""
    evaluations = list(failed)
    return SimpleNamespace(
        success=True, all_events=[], get_asset_check_evaluations=lambda: evaluations
    )
