"""Image archives: only what is proven whole gets its name. Real zips over real HTTP."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.catalog import DIALECTS
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.plan import MAX_ATTEMPTS
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sources import Source
from tcia_assets_tests.conftest import SMALL, Dagster

OTHER = "RIDER Lung CT" if SMALL != "RIDER Lung CT" else "LCTSC"
SELECTED = {"collections": [SMALL], "modalities": ["RTSTRUCT"]}


def fetched(
    dagster: Dagster, selection: dict[str, Any] | None = None, **chosen: Any
) -> dg.ExecuteInProcessResult:
    ops = {"tcia_image_archives": {"config": {"selection": selection or SELECTED}}}
    return dagster.run("tcia_images", SMALL, SMALL, ops=ops, **chosen)


def manifest(dagster: Dagster) -> list[dict[str, Any]]:
    rows = dagster.warehouse.read(catalog.IMAGE_ARCHIVES, [SMALL]).to_pylist()
    return list(rows)


def files(dagster: Dagster) -> list[Path]:
    return sorted(p for p in (dagster.data_dir / "archives").rglob("*") if p.is_file())


def zips(dagster: Dagster) -> list[Path]:
    return [path for path in files(dagster) if path.suffix == ".zip"]


def without_single_images(dagster: Dagster) -> None:
    """Nothing can set a bad zip right."""
    dagster.sandbox.faults.add(Fault("status", "getSingleImage", times=0, status=500))


@pytest.fixture
def known(dagster: Dagster, source: Source) -> Dagster:
    """The small Collection's Series are known, without the runs that usually ask for them."""
    dagster.instance.add_dynamic_partitions("tcia_collections", [SMALL])
    refresh(catalog.SERIES, SMALL, source, dagster.warehouse, datetime.now(UTC), ProbeBudget(0))
    return dagster


def test_the_selected_series_are_kept_as_served_with_their_proof(known: Dagster) -> None:
    assert fetched(known).success

    rows = manifest(known)
    assert len(rows) == 5
    for row in rows:
        path = known.data_dir / row["path"]
        body = path.read_bytes()
        assert (row["status"], row["verified_by"]) == ("complete", "md5")
        assert row["sha256"] == hashlib.sha256(body).hexdigest()
        assert row["archive_bytes"] == len(body)
        assert row["path"] == f"archives/{SMALL}/{row['SeriesInstanceUID']}.zip"
        assert row["license_name"]
    assert zips(known) == sorted(known.data_dir / row["path"] for row in rows)


def test_fetching_again_fetches_nothing(known: Dagster) -> None:
    fetched(known)
    before = known.sandbox.requests["getImage"]
    rows = manifest(known)
    fetched(known)

    assert known.sandbox.requests["getImage"] == before
    assert manifest(known) == rows


def test_a_lost_or_cut_file_is_fetched_again(known: Dagster) -> None:
    fetched(known)
    lost, cut, *_ = zips(known)
    whole = cut.read_bytes()
    lost.unlink()
    cut.write_bytes(whole[:-1])
    fetched(known)

    assert lost.is_file()
    assert len(cut.read_bytes()) >= len(whole) - 64
    assert {row["status"] for row in manifest(known)} == {"complete"}


@pytest.mark.parametrize("dialect", [d.name for d in DIALECTS])
def test_each_dialect_proves_as_much_as_it_can(dagster: Dagster, dialect: str) -> None:
    dagster.collections(dialect=dialect)
    dagster.run("tcia_refresh", SMALL, SMALL, dialect=dialect)
    assert fetched(dagster, dialect=dialect).success

    proof = "md5" if dialect.startswith("nbia") else "count+size"
    assert {row["verified_by"] for row in manifest(dagster)} == {proof}


@pytest.mark.parametrize("kind", ["zip_short", "zip_traversal"])
def test_a_zip_that_is_not_whole_never_gets_its_name(known: Dagster, kind: str) -> None:
    [uid, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.faults.add(Fault(kind, times=0, series=uid))
    without_single_images(known)
    assert fetched(known).success

    by_uid = {row["SeriesInstanceUID"]: row for row in manifest(known)}
    assert by_uid[uid]["status"] in {"incomplete", "failed"}
    assert by_uid[uid]["error"] and by_uid[uid]["path"] is None
    assert by_uid[uid]["attempts"] == 1
    assert not [p for p in files(known) if uid in p.name]
    assert [r["status"] for u, r in by_uid.items() if u != uid] == ["complete"] * 4
    known.sandbox.faults.clear()
    fetched(known)
    assert {row["status"] for row in manifest(known)} == {"complete"}


def test_an_answer_that_is_no_zip_is_a_row_that_says_why(known: Dagster) -> None:
    known.sandbox.faults.add(Fault("html", "getImage", 0), Fault("html", "getImageWithMD5Hash", 0))
    assert fetched(known).success

    assert {row["status"] for row in manifest(known)} == {"failed"}
    assert all("<html>" in row["error"] for row in manifest(known))
    assert files(known) == []


def test_a_series_that_is_not_public_is_unavailable(known: Dagster) -> None:
    [uid, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.archive.hide([uid])
    fetched(known)

    [row] = [r for r in manifest(known) if r["SeriesInstanceUID"] == uid]
    assert row["status"] == "unavailable"


def test_an_earlier_complete_copy_stays_until_the_new_one_is_proven(known: Dagster) -> None:
    fetched(known)
    [uid, *_] = known.uids(SMALL, "RTSTRUCT")
    path = known.data_dir / f"archives/{SMALL}/{uid}.zip"
    before = path.read_bytes()
    known.sandbox.archive.revise([uid], image_count=2)
    known.run("tcia_refresh", SMALL, SMALL)
    known.sandbox.faults.add(Fault("zip_short", times=0, series=uid))
    without_single_images(known)
    fetched(known)

    [row] = [r for r in manifest(known) if r["SeriesInstanceUID"] == uid]
    assert path.read_bytes() == before
    assert (row["status"], row["path"], row["sha256"]) == (
        "incomplete",
        f"archives/{SMALL}/{uid}.zip",
        hashlib.sha256(before).hexdigest(),
    )
    known.sandbox.faults.clear()
    fetched(known)
    [row] = [r for r in manifest(known) if r["SeriesInstanceUID"] == uid]
    assert (row["status"], row["image_count"]) == ("complete", 2)


def test_what_exceeds_a_runs_budget_is_left_to_the_next(known: Dagster) -> None:
    fetched(known, SELECTED | {"max_series_per_run": 2})
    [event] = known.events("image_archives")
    assert event.metadata["remaining"].value == 3
    assert len(manifest(known)) == 2
    fetched(known, SELECTED | {"max_series_per_run": 2})
    fetched(known, SELECTED | {"max_series_per_run": 2})

    assert len(manifest(known)) == 5


def test_the_collections_of_a_run_share_its_budget(known: Dagster, source: Source) -> None:
    names = sorted([SMALL, OTHER])
    known.instance.add_dynamic_partitions("tcia_collections", [OTHER])
    refresh(catalog.SERIES, OTHER, source, known.warehouse, datetime.now(UTC), ProbeBudget(0))
    # Partitions stand in the order in which they were added.
    config = {"selection": {"where": "true", "max_series_per_run": 2}}
    ops = {"tcia_image_archives": {"config": config}}
    assert known.run("tcia_images", SMALL, OTHER, ops=ops).success

    rows = known.warehouse.read(catalog.IMAGE_ARCHIVES, names)
    assert rows.num_rows == 2
    assert len(known.events("image_archives")) == 2


def test_without_a_selection_nothing_is_fetched(known: Dagster) -> None:
    assert known.run("tcia_images", SMALL, SMALL).success

    [event] = known.events("image_archives")
    assert "no image selection" in str(event.metadata["note"].value)
    assert not known.sandbox.requests["getImageWithMD5Hash"]
    assert not (known.data_dir / "archives").exists()


def test_a_plan_that_the_disk_cannot_hold_is_refused_with_the_numbers(known: Dagster) -> None:
    known.sandbox.faults.add()
    known.warehouse.write(
        catalog.SERIES,
        _with_size(known.warehouse.read(catalog.SERIES, [SMALL]), 10**15),
        SMALL,
    )
    result = fetched(known, raise_on_error=False)

    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data.description)
    assert "1 Series of 1000.0 TB do not fit" in said


def _with_size(series: Any, size: int) -> Any:
    import pyarrow as pa

    place = series.schema.get_field_index("FileSize")
    sizes = pa.array([size] * series.num_rows, pa.int64())
    return series.set_column(place, series.schema.field(place), sizes)


def test_another_dialect_or_a_new_licence_is_no_reason_to_fetch_again(known: Dagster) -> None:
    fetched(known)
    before = sum(known.sandbox.requests[e] for e in ("getImage", "getImageWithMD5Hash"))
    known.run("tcia_refresh", SMALL, SMALL, dialect="nbia-v1")
    fetched(known, dialect="nbia-v1")

    assert sum(known.sandbox.requests[e] for e in ("getImage", "getImageWithMD5Hash")) == before


def test_a_zip_without_a_row_is_proven_and_not_fetched_again(known: Dagster) -> None:
    fetched(known)
    rows = manifest(known)
    known.warehouse.path(catalog.IMAGE_ARCHIVES, SMALL).unlink()
    before = known.sandbox.requests["getImage"]
    fetched(known)

    assert known.sandbox.requests["getImage"] == before
    facts = ("SeriesInstanceUID", "status", "sha256", "verified_by", "archive_bytes", "path")
    assert [[r[f] for f in facts] for r in manifest(known)] == [[r[f] for f in facts] for r in rows]


def test_drafts_of_killed_runs_are_removed(known: Dagster) -> None:
    folder = known.data_dir / "archives" / SMALL
    folder.mkdir(parents=True)
    draft = folder / ".1.2.3.zip.draft"
    draft.write_bytes(b"half of it")
    fetched(known)

    assert not draft.exists()


# --- The runs -------------------------------------------------------------------------------------


def config(**chosen: Any) -> dict[str, object]:
    return {"tcia_image_archives": {"config": {"selection": SELECTED} | chosen}}


def objects(dagster: Dagster) -> list[dict[str, Any]]:
    return list(dagster.warehouse.read(catalog.IMAGES, [SMALL]).to_pylist())


def tables(result: dg.ExecuteInProcessResult) -> list[str]:
    """What a run has materialized, in its order."""
    events = result.get_asset_materialization_events()
    return [str(event.asset_key.path[-1]) for event in events if event.asset_key]


def test_the_headers_follow_the_zips_in_the_same_run(known: Dagster) -> None:
    result = fetched(known)

    assert tables(result) == ["image_archives", "images", "references", "targets"]
    [event] = known.events("images")
    assert event.partition == SMALL
    assert (event.metadata["new"].value, event.metadata["kept"].value) == (5, 0)
    assert {row["SeriesInstanceUID"] for row in objects(known)} == {
        row["SeriesInstanceUID"] for row in manifest(known)
    }
    fetched(known)
    assert known.events("images")[-1].metadata["kept"].value == 5


def test_an_update_refreshes_then_fetches_then_reads(known: Dagster) -> None:
    [changed, *_] = known.uids(SMALL, "RTSTRUCT")
    fetched(known)
    known.sandbox.archive.revise([changed])
    ops = config() | {"tcia_metadata": {"config": {"max_size_requests": 0}}}
    result = known.run("tcia_update", SMALL, SMALL, ops=ops)

    assert {"series", "patients"} < set(tables(result)[:-2])
    assert tables(result)[-4:] == ["image_archives", "images", "references", "targets"]
    facts = known.events("image_archives")[-1].metadata
    assert (facts["fetched"].value, facts["complete"].value) == (1, 5)
    assert known.events("images")[-1].metadata["new"].value == 1


def test_the_materialization_tells_what_was_fetched_and_what_is_left(known: Dagster) -> None:
    [hidden, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.archive.hide([hidden])
    result = fetched(known, SELECTED | {"max_series_per_run": 4})

    [event] = known.events("image_archives")
    facts = {name: value.value for name, value in event.metadata.items()}
    rows = manifest(known)
    assert facts["dagster/partition_row_count"] == len(rows) == 4
    tried = {row["SeriesInstanceUID"] for row in rows}
    assert facts["unavailable"] == facts["not_fetched"] == int(hidden in tried)
    assert facts["fetched"] == facts["complete"] == 4 - facts["unavailable"]
    assert (facts["remaining"], facts["given_up"], facts["denied_by_licence"]) == (1, 0, 0)
    assert facts["remaining_bytes"] > 0
    assert facts["bytes_on_disk"] == sum(path.stat().st_size for path in zips(known))
    assert facts["received_bytes"] >= facts["bytes_on_disk"] > 0
    assert facts["shard"] == "0-of-1"
    assert result.success


def observed(result: dg.ExecuteInProcessResult) -> list[dict[str, Any]]:
    """The facts of each observation."""
    found = []
    for event in result.get_asset_observation_events():
        observation = event.asset_observation_data.asset_observation
        assert observation.partition == SMALL
        assert observation.asset_key == dg.AssetKey(["tcia", "image_archives"])
        found.append({name: value.value for name, value in observation.metadata.items()})
    return found


def test_a_run_has_an_observation_for_each_failure_and_one_for_all(known: Dagster) -> None:
    hidden = known.uids(SMALL, "RTSTRUCT")[:2]
    known.sandbox.archive.hide(hidden)
    *failures, summary = observed(fetched(known))

    assert sorted(each["SeriesInstanceUID"] for each in failures) == hidden
    assert all(each["status"] == "unavailable" and each["error"] for each in failures)
    assert (summary["complete"], summary["unavailable"]) == (3, 2)
    assert summary["bytes"] == sum(path.stat().st_size for path in zips(known))


def test_where_nothing_is_fetched_nothing_is_observed(known: Dagster) -> None:
    fetched(known)

    assert observed(fetched(known)) == []


def test_a_large_run_is_summed_up_in_batches_and_its_failures_are_bounded(
    known: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_assets.defs.fetch_reporter._SUMMARY_EVERY_SERIES", 2)
    monkeypatch.setattr("tcia_assets.defs.fetch_reporter._MAX_FAILURES_OBSERVED", 1)
    known.sandbox.archive.hide(known.uids(SMALL, "RTSTRUCT")[:3])
    seen = observed(fetched(known))
    failures = [each for each in seen if "SeriesInstanceUID" in each]
    summaries = [each for each in seen if "SeriesInstanceUID" not in each]

    assert len(failures) == 1
    counts = [each.get("complete", 0) + each.get("unavailable", 0) for each in summaries]
    assert counts == [2, 2, 1]
    assert sum(each.get("unavailable", 0) for each in summaries) == 3


def test_shards_are_runs_that_together_fetch_all_and_nothing_twice(known: Dagster) -> None:
    for shard in (0, 1):
        assert known.run("tcia_images", SMALL, SMALL, ops=config(shards=2, shard=shard)).success

    one, other = (event.metadata for event in known.events("image_archives"))
    assert (one["shard"].value, other["shard"].value) == ("0-of-2", "1-of-2")
    assert one["fetched"].value + other["fetched"].value == 5
    assert known.sandbox.requests["getImage"] == 5
    assert {row["status"] for row in manifest(known)} == {"complete"}
    assert len(objects(known)) == 5


def test_a_shard_that_cannot_be_fails_the_run_with_the_reason(known: Dagster) -> None:
    ops = config(shards=2, shard=2)
    result = known.run("tcia_images", SMALL, SMALL, ops=ops, raise_on_error=False)

    assert not result.success
    [failure, *_] = result.get_step_failure_events()
    assert "shard 2 of 2: it must be one of 0 to 1" in str(failure.step_failure_data.error)
    assert not known.sandbox.requests["getImage"]


def test_what_was_given_up_is_tried_again_only_when_told_to(known: Dagster) -> None:
    [hidden, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.archive.hide([hidden])
    fetched(known)
    tired = [
        replace(row, attempts=MAX_ATTEMPTS)
        for row in read_rows(known.warehouse, SMALL)
        if row.series_instance_uid == hidden
    ]
    merge_rows(known.warehouse, SMALL, tired)
    known.sandbox.archive.show([hidden])
    fetched(known)
    assert known.events("image_archives")[-1].metadata["given_up"].value == 1
    known.run("tcia_images", SMALL, SMALL, ops=config(retry=True))

    assert known.events("image_archives")[-1].metadata["given_up"].value == 0
    assert {row["status"] for row in manifest(known)} == {"complete"}


# --- The checks -----------------------------------------------------------------------------------


def checked(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def against(evaluation: dg.AssetCheckEvaluation) -> list[str]:
    return list(evaluation.metadata["against"].value)


def test_what_is_as_it_was_proven_and_as_the_archive_has_it_passes(known: Dagster) -> None:
    fetched(known)
    found = checked(fetched(known))

    assert found["archives_intact"].passed and found["hashes_equal"].passed
    assert found["archives_intact"].metadata["checked"].value == 5
    assert found["hashes_equal"].metadata["equal"].value == 5


def test_what_a_run_has_just_proven_it_does_not_hash_again(known: Dagster) -> None:
    fetched(known)
    [again, *others] = zips(known)
    again.unlink()
    found = checked(fetched(known))

    intact, equal = found["archives_intact"], found["hashes_equal"]
    assert (intact.metadata["checked"].value, intact.metadata["just_proven"].value) == (4, 1)
    assert intact.description and intact.description.startswith(
        "4 zips were hashed; 1 more were verified by this run"
    )
    # It is compared with the archive all the same.
    assert equal.passed and equal.metadata["equal"].value == len(others) + 1


def test_a_zip_that_has_changed_on_disk_fails_a_check_and_is_repaired(known: Dagster) -> None:
    fetched(known)
    path = zips(known)[0]
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    found = checked(fetched(known))["archives_intact"]

    assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    [said] = against(found)
    assert said.startswith(f"{path.stem}: its zip has changed since it was verified")
    assert checked(fetched(known))["archives_intact"].passed
    assert path.read_bytes() != bytes(body)


def test_a_series_that_differs_at_the_archive_fails_a_check(known: Dagster) -> None:
    fetched(known)
    [changed, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.archive.revise([changed])
    found = checked(fetched(known))["hashes_equal"]

    assert not found.passed
    assert against(found) == [changed]


def test_an_archive_that_does_not_answer_a_check_fails_the_check_and_not_the_run(
    known: Dagster,
) -> None:
    fetched(known)
    known.sandbox.faults.add(Fault("status", "getMD5Hierarchy", times=0, status=404))
    result = fetched(known)
    found = checked(result)["hashes_equal"]

    assert result.success and not found.passed
    assert "not checked: " in against(found)[0]


def test_where_the_dialect_tells_no_hash_there_is_nothing_to_compare(dagster: Dagster) -> None:
    dagster.collections(dialect="bindaas-v4")
    dagster.run("tcia_refresh", SMALL, SMALL, dialect="bindaas-v4")
    found = checked(fetched(dagster, dialect="bindaas-v4"))["hashes_equal"]

    assert found.passed
    assert "provides no MD5 hashes" in str(found.metadata["note"].value)


def test_a_licence_that_changes_stands_beside_the_zips_after_the_refresh(known: Dagster) -> None:
    fetched(known)
    beside = known.data_dir / "archives" / SMALL / "LICENSES.md"
    assert "MIT" not in beside.read_text()
    known.sandbox.archive._change(known.uids(SMALL, "RTSTRUCT"), LicenseName="MIT")
    known.run("tcia_refresh", SMALL, SMALL)

    assert "MIT" in beside.read_text()
