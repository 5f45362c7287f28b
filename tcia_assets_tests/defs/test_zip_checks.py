"""Asset checks of zips, after real runs."""

from __future__ import annotations

import dagster as dg

from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL, Dagster
from tcia_assets_tests.defs.image_runs import run_fetch, zips


def check_evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def problems(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return list(evaluation.metadata["against"].value)


def test_unchanged_zips_pass(with_zips: Dagster) -> None:
    found = check_evaluations(run_fetch(with_zips))

    assert found["archives_intact"].passed and found["hashes_equal"].passed
    assert found["archives_intact"].metadata["checked"].value == 5
    assert found["hashes_equal"].metadata["equal"].value == 5


def test_zips_fetched_by_the_run_are_not_hashed_again(with_zips: Dagster) -> None:
    [again, *others] = zips(with_zips)
    again.unlink()
    found = check_evaluations(run_fetch(with_zips))

    intact, equal = found["archives_intact"], found["hashes_equal"]
    assert (intact.metadata["checked"].value, intact.metadata["just_proven"].value) == (4, 1)
    assert intact.description and intact.description.startswith(
        "4 zips hashed; 1 more verified by this run"
    )
    # It is compared with the archive all the same.
    assert equal.passed and equal.metadata["equal"].value == len(others) + 1


def test_a_changed_zip_fails_a_check_and_is_fetched_again(with_zips: Dagster) -> None:
    path = zips(with_zips)[0]
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    found = check_evaluations(run_fetch(with_zips))["archives_intact"]

    assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    [said] = problems(found)
    assert said.startswith(f"{path.stem}: its zip has changed since it was verified")
    assert check_evaluations(run_fetch(with_zips))["archives_intact"].passed
    assert path.read_bytes() != bytes(body)


def test_a_series_that_differs_at_the_source_fails_a_check(with_zips: Dagster) -> None:
    [changed, *_] = with_zips.uids(SMALL, "RTSTRUCT")
    with_zips.sandbox.archive.revise([changed])
    found = check_evaluations(run_fetch(with_zips))["hashes_equal"]

    assert not found.passed
    assert problems(found) == [changed]


def test_a_source_that_fails_fails_the_check_and_not_the_run(
    with_zips: Dagster,
) -> None:
    with_zips.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))
    result = run_fetch(with_zips)
    found = check_evaluations(result)["hashes_equal"]

    assert result.success and not found.passed
    assert "not checked: " in problems(found)[0]


def test_a_dialect_without_hashes_passes(with_zips: Dagster) -> None:
    found = check_evaluations(run_fetch(with_zips, dialect="bindaas-v4"))["hashes_equal"]

    assert found.passed
    assert "provides no MD5 hashes" in str(found.metadata["note"].value)
