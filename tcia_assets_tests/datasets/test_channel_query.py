"""Which Series is each channel of a case: by Study, frame of reference and time."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tcia_assets.catalog import SERIES
from tcia_assets.datasets import cohort_lock
from tcia_assets.datasets.cohort import CHANNEL, IMAGE, Cohort
from tcia_assets.datasets.cohort_diff import diff_cohorts
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.errors import BadDeclaration
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_channels import (
    FLUID,
    SARCOMA,
    T1,
    declared,
    series_of,
    set_rows,
)

ANY = ("Modality = 'MR' AND SeriesDescription NOT ILIKE '%t1%'", "Modality = 'MR'")


def channels(cohort: Cohort) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of the channels of each case."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in cohort.channels.to_pylist():
        found.setdefault(row["image_series_instance_uid"], {})[row["channel"]] = row
    return found


def move_to_first_study(warehouse: Warehouse, uid: str) -> None:
    """Put a second fluid Series into the first Study."""
    first = series_of(warehouse, T1)[0]
    study = warehouse.query(
        f"SELECT StudyInstanceUID AS s FROM series WHERE SeriesInstanceUID = '{first}'"
    )["s"][0].as_py()
    frame = warehouse.query(
        f"SELECT FrameOfReferenceUID AS f FROM images WHERE SeriesInstanceUID = '{first}'"
    )["f"][0].as_py()
    set_rows(warehouse, uid, {"StudyInstanceUID": study}, SERIES)
    set_rows(warehouse, uid, {"StudyInstanceUID": study, "FrameOfReferenceUID": frame})


def test_each_channel_is_the_series_of_the_same_study(fetched_sarcomas: Warehouse) -> None:
    cohort = query_cohort(declared(), fetched_sarcomas)
    t1, fluid = series_of(fetched_sarcomas, T1), series_of(fetched_sarcomas, FLUID)
    assert sorted(cohort.of_role(IMAGE)["SeriesInstanceUID"].to_pylist()) == sorted(t1)
    assert sorted(cohort.of_role(CHANNEL)["SeriesInstanceUID"].to_pylist()) == sorted(fluid)
    found = channels(cohort)
    assert {uid: found[uid]["fluid"]["SeriesInstanceUID"] for uid in t1} == dict(
        zip(t1, fluid, strict=True)
    )
    assert all(found[uid]["t1"]["SeriesInstanceUID"] == uid for uid in t1)
    assert all(row["finding"] is None for case in found.values() for row in case.values())


def test_the_reference_is_the_channel_that_masks_are_drawn_on(fetched_sarcomas: Warehouse) -> None:
    found = channels(query_cohort(declared(), fetched_sarcomas))
    assert {case["t1"]["is_reference"] for case in found.values()} == {True}
    other = query_cohort(declared(("target:", "reference: fluid\ntarget:")), fetched_sarcomas)
    assert {case["fluid"]["is_reference"] for case in channels(other).values()} == {True}
    assert not other.pairs.num_rows
    lost = declared(("kind: RTSTRUCT", "kind: SEG"))
    with pytest.raises(
        BadDeclaration, match="masks are drawn on no channel: name the right one, 'ref"
    ):
        query_cohort(lost, fetched_sarcomas)


def test_of_several_series_the_nearest_in_time_is_taken_and_said(sarcomas: Warehouse) -> None:
    (case, *_), (near, far, *_) = series_of(sarcomas, T1), series_of(sarcomas, FLUID)
    move_to_first_study(sarcomas, far)

    def chosen() -> tuple[str, str | None, str | None]:
        row = channels(query_cohort(declared(), sarcomas))[case]["fluid"]
        return row["SeriesInstanceUID"], row["finding"], row["message"]

    set_rows(sarcomas, near, {"ImageCount": 99}, SERIES)
    assert chosen()[:2] == (near, "channel_ambiguous"), "without times, that with most images"
    for uid, clock in ((case, "100000"), (far, "101500.25"), (near, "093000")):
        set_rows(sarcomas, uid, {"AcquisitionDate": date(2000, 1, 1), "AcquisitionTime": clock})
    uid, finding, message = chosen()
    assert (uid, finding) == (far, "channel_by_time")
    assert message and f"not {near}" in message and "+900 s" in message
    set_rows(sarcomas, far, {"FrameOfReferenceUID": "1.2.3"})
    assert chosen()[:2] == (near, None), "one in another frame of reference is the last choice"


def test_a_missing_channel_is_said_in_the_cohort(sarcomas: Warehouse) -> None:
    case, lost = series_of(sarcomas, T1)[0], series_of(sarcomas, FLUID)[0]
    set_rows(sarcomas, lost, {"Modality": "CT"}, SERIES)
    row = channels(query_cohort(declared(), sarcomas))[case]["fluid"]
    assert (row["SeriesInstanceUID"], row["finding"]) == (None, "channel_missing")
    zeros = declared((f'{FLUID}"', f'{FLUID}", missing: zeros'))
    assert channels(query_cohort(zeros, sarcomas))[case]["fluid"]["finding"] == "channel_zeros"


def test_a_series_is_one_channel_unless_volumes_are_chosen(fetched_sarcomas: Warehouse) -> None:
    with pytest.raises(BadDeclaration) as error:
        query_cohort(declared(ANY), fetched_sarcomas)
    assert "4 Series are both 't1' and 'fluid'" in str(error.value)
    assert "let the conditions exclude each other" in str(error.value)
    chosen = declared(
        ANY,
        ("t1: {", "t1: {choose: {b: 0}, "),
        ("fluid: {", "fluid: {choose: {b: 1000}, "),
        ("target:", "reference: t1\ntarget:"),
    )
    for uid, case in channels(query_cohort(chosen, fetched_sarcomas)).items():
        assert case["fluid"]["SeriesInstanceUID"] == uid
        assert case["fluid"]["finding"] is None


def test_a_condition_that_selects_nothing_or_masks_is_refused(fetched_sarcomas: Warehouse) -> None:
    with pytest.raises(BadDeclaration, match=r"channels\.t1.where: no Series of the"):
        query_cohort(declared((T1, "false")), fetched_sarcomas)
    with pytest.raises(BadDeclaration, match=r"channels\.t1.where: the query fails"):
        query_cohort(declared((T1, "Description = 'x'")), fetched_sarcomas)
    with pytest.raises(BadDeclaration, match="are not images"):
        query_cohort(
            declared((f"Modality = 'MR' AND {T1}", "Modality = 'RTSTRUCT'")), fetched_sarcomas
        )


def test_the_lock_file_holds_the_channels(sarcomas: Warehouse) -> None:
    lock = cohort_lock_path(sarcomas, "sarcomas")
    frozen, _ = cohort_lock.freeze_cohort(declared(), sarcomas, lock)
    assert cohort_lock.read_lock(lock, "sarcomas").channels.equals(frozen.channels)
    lost = series_of(sarcomas, FLUID)[0]
    set_rows(sarcomas, lost, {"Modality": "CT"}, SERIES)
    now = query_cohort(declared(), sarcomas)
    assert now.sha256 != frozen.sha256
    assert any(f"{lost} as 'fluid' of" in line for line in diff_cohorts(frozen, now).pairs_removed)
    assert SARCOMA in str(frozen.query)
