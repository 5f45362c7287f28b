"""Image archives: only what is proven whole gets its name. Real zips over real HTTP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tcia_assets import catalog
from tcia_assets.catalog import DIALECTS
from tcia_assets.sandbox.faults import ARCHIVES, Fault
from tcia_assets_tests.conftest import SMALL, Dagster

SELECTED = {"collections": [SMALL], "modalities": ["RTSTRUCT"]}
HARMLESS = {"zip_nested"}


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


@pytest.fixture
def known(dagster: Dagster) -> Dagster:
    dagster.collections()
    assert dagster.run("tcia_refresh", SMALL, SMALL).success
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
    assert files(known) == sorted(known.data_dir / row["path"] for row in rows)


def test_fetching_again_fetches_nothing(known: Dagster) -> None:
    fetched(known)
    before = known.sandbox.requests["getImage"]
    rows = manifest(known)
    fetched(known)

    assert known.sandbox.requests["getImage"] == before
    assert manifest(known) == rows


def test_a_lost_or_cut_file_is_fetched_again(known: Dagster) -> None:
    fetched(known)
    lost, cut, *_ = files(known)
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

    proof = "md5" if dialect.startswith("nbia") else "count"
    assert {row["verified_by"] for row in manifest(dagster)} == {proof}


@pytest.mark.parametrize("kind", sorted(set(ARCHIVES) - HARMLESS))
def test_a_zip_that_is_not_whole_never_gets_its_name(known: Dagster, kind: str) -> None:
    [uid, *_] = known.uids(SMALL, "RTSTRUCT")
    known.sandbox.faults.add(Fault(kind, times=0, series=uid))
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


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault("html", times=0), "failed"),
        (Fault("empty", times=0), "failed"),
        (Fault("status", times=0, status=500, body="Server was not able"), "failed"),
        (Fault("status", times=0, status=502), "failed"),
        (Fault("unterminated", times=0, after_bytes=2000), "failed"),
        (Fault("reset", times=0, after_bytes=2000), "failed"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else value,
)
def test_an_answer_that_is_no_zip_is_a_row_that_says_why(
    known: Dagster, fault: Fault, status: str
) -> None:
    known.sandbox.faults.add(
        *(Fault(**{**vars(fault), "endpoint": e}) for e in ("getImage", "getImageWithMD5Hash"))
    )
    assert fetched(known).success

    assert {row["status"] for row in manifest(known)} == {status}
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
    assert "1 Series of 1000000.0 GB do not fit" in said


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
    draft = folder / ".1.2.3.zip.99.draft"
    draft.write_bytes(b"half of it")
    fetched(known)

    assert not draft.exists()
