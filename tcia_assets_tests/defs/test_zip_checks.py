"""Asset checks of zips, after real runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from tcia_assets.catalog import ZIP_READS
from tcia_assets.defs import zip_checks
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.verify import verify_zips
from tcia_assets.images.zip_parts import Subset
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import run_fetch, zips


def fetch_and_check(dagster: Dagster, **chosen: str) -> dg.ExecuteInProcessResult:
    return run_fetch(dagster, checks=True, **chosen)


def check_evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def problems(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return list(evaluation.metadata["against"].value)


def age(dagster: Dagster, *but: str) -> None:
    """Make the manifest say that the zips, but for those of some Series, were fetched long ago."""
    rows = read_rows(dagster.warehouse, SMALL)
    old = [replace(row, fetched_at=row.fetched_at - timedelta(days=400)) for row in rows]
    aged = [row for row in old if row.series_instance_uid not in but]
    merge_rows(dagster.warehouse, SMALL, aged, over_newer=True)


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def run_verify(dagster: Dagster, **config: int) -> dg.AssetCheckExecutionRecord:
    """Run the job that reads what is due; return the result of the check in Dagster's records."""
    ops: dict[str, object] = {"tcia_verify_zips": {"config": config}}
    assert dagster.run("tcia_verify", ops=ops).success
    key = dg.AssetCheckKey(dg.AssetKey(["tcia", "image_archives"]), "archives_intact")
    [record] = dagster.instance.event_log_storage.get_asset_check_execution_history(key, 1)
    return record


def test_unchanged_zips_pass(with_zips: Dagster) -> None:
    age(with_zips)
    found = check_evaluations(fetch_and_check(with_zips))

    assert found["archives_intact"].passed and found["hashes_equal"].passed
    assert found["archives_intact"].metadata["checked"].value == 5
    assert found["hashes_equal"].metadata["equal"].value == 5


def test_zips_fetched_by_the_run_are_not_hashed_again(with_zips: Dagster) -> None:
    [again, *others] = zips(with_zips)
    age(with_zips)
    again.unlink()
    verify_zips(SMALL, with_zips.warehouse, subset=Subset(1, 1))
    with_zips.warehouse.path(ZIP_READS, SMALL).unlink()
    found = check_evaluations(fetch_and_check(with_zips))

    intact, equal = found["archives_intact"], found["hashes_equal"]
    assert (intact.metadata["checked"].value, intact.metadata["just_proven"].value) == (4, 1)
    assert intact.description and intact.description.startswith(
        "4 zips hashed; 1 more verified by this run"
    )
    # It is compared with the archive all the same.
    assert equal.passed and equal.metadata["equal"].value == len(others) + 1


def test_a_changed_zip_fails_a_check_and_is_fetched_again(with_zips: Dagster) -> None:
    path = zips(with_zips)[0]
    age(with_zips)
    flip(path)
    damaged = path.read_bytes()
    found = check_evaluations(fetch_and_check(with_zips))["archives_intact"]

    assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    [said] = problems(found)
    assert said.startswith(f"{path.stem}: its zip has changed since it was verified")
    assert check_evaluations(fetch_and_check(with_zips))["archives_intact"].passed
    assert path.read_bytes() != damaged
    # What they find again is not recorded again.
    both = {"archives_intact", "hashes_equal"}
    fetch_and_check(with_zips)
    assert both.isdisjoint(check_evaluations(fetch_and_check(with_zips)))


def test_the_job_reads_what_is_due_of_all_collections(with_zips: Dagster) -> None:
    path = zips(with_zips)[0]
    age(with_zips)
    flip(path)
    bad = run_verify(with_zips)
    evaluation = bad.event.asset_check_evaluation if bad.event else None

    assert evaluation and not evaluation.passed
    assert evaluation.metadata["checked"].value == 5
    [said] = problems(evaluation)
    assert said.startswith(f"{path.stem}: its zip has changed since it was verified")
    # Read today, so not again; but it is as damaged as before until it is fetched.
    again = run_verify(with_zips).event
    known = again.asset_check_evaluation if again else None
    assert known and not known.passed and problems(known) == problems(evaluation)
    assert known.metadata["checked"].value == 0
    assert known.description == f"0 zips hashed; 1 damaged, such as {said}"
    assert check_evaluations(fetch_and_check(with_zips))["archives_intact"].passed
    event = run_verify(with_zips).event
    assert event and event.asset_check_evaluation and event.asset_check_evaluation.passed


def test_a_run_for_a_different_collection_does_not_hide_a_damaged_zip(with_zips: Dagster) -> None:
    path = zips(with_zips)[0]
    flip(path)
    verify_zips(SMALL, with_zips.warehouse)
    with_zips.instance.add_dynamic_partitions("tcia_collections", ["VICTRE"])
    others = {"collections": ["VICTRE"], "modalities": ["RTSTRUCT"]}
    ops: dict[str, object] = {"tcia_image_archives": {"config": {"selection": others}}}
    found = check_evaluations(with_zips.run("tcia_images", "VICTRE", "VICTRE", ops=ops))

    assert not found["archives_intact"].passed
    assert problems(found["archives_intact"])[0].startswith(f"{path.stem}: its zip has changed")


def test_the_job_leaves_what_it_has_no_time_for_to_the_next_day(with_zips: Dagster) -> None:
    age(with_zips)
    event = run_verify(with_zips, minutes=0).event
    evaluation = event.asset_check_evaluation if event else None

    assert evaluation and evaluation.passed
    assert evaluation.description == "0 zips hashed, 5 more are due"


def test_a_run_that_fetches_reads_a_gigabyte_and_leaves_the_rest(
    with_zips: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(with_zips)
    monkeypatch.setattr(zip_checks, "_BYTES_AFTER_FETCH", 1)
    found = check_evaluations(fetch_and_check(with_zips))["archives_intact"]

    assert (found.metadata["checked"].value, found.metadata["left"].value) == (1, 4)
    assert found.passed and found.description == "1 zip hashed, 4 more are due"


def test_the_schedule_is_off_until_switched_on(with_zips: Dagster) -> None:
    [found] = [s for s in with_zips.definitions().schedules or [] if s.name == "tcia_verify_daily"]

    assert found.default_status == dg.DefaultScheduleStatus.STOPPED
    assert found.job_name == "tcia_verify"


def test_a_series_that_differs_at_the_source_fails_a_check(with_zips: Dagster) -> None:
    [changed, *_] = with_zips.uids(SMALL, "RTSTRUCT")
    with_zips.sandbox.archive.revise([changed])
    found = check_evaluations(fetch_and_check(with_zips))["hashes_equal"]

    assert not found.passed
    assert problems(found) == [changed]


def test_a_source_that_fails_fails_the_check_and_not_the_run(
    with_zips: Dagster,
) -> None:
    with_zips.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))
    result = fetch_and_check(with_zips)
    found = check_evaluations(result)["hashes_equal"]

    assert result.success and not found.passed
    assert "not checked: " in problems(found)[0]


def test_a_dialect_without_hashes_passes(with_zips: Dagster) -> None:
    found = check_evaluations(fetch_and_check(with_zips, dialect="bindaas-v4"))["hashes_equal"]

    assert found.passed
    assert "provides no MD5 hashes" in str(found.metadata["note"].value)
