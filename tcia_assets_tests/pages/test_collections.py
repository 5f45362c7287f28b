"""The facts of Collections, from the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tcia_assets.pages.collections import read_collections
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import series_row, write_series


def test_facts_count_what_the_source_lists_and_what_is_on_disk(mirror: Warehouse) -> None:
    [facts] = read_collections(mirror, [SMALL])
    assert (facts.patients, facts.studies, facts.series, facts.on_disk) == (5, 5, 10, 5)
    assert facts.bytes_on_disk == sum(
        file.size_bytes for file in mirror.archives.list(SMALL) if file.name.endswith(".zip")
    )
    assert facts.values("modality") == ("CT", "RTSTRUCT")
    assert facts.status["complete"] == 5
    assert [day.fetched for day in facts.days if day.fetched] == [5]
    [publication] = facts.publications
    assert publication.url == "https://doi.org/10.7937/k9/tcia.2017.3r3fvz08"
    assert "@misc{" in facts.bibtex


def test_withdrawn_and_moved_series_count_only_in_the_history(empty_mirror: Warehouse) -> None:
    gone = datetime(2026, 12, 1, tzinfo=UTC)
    write_series(
        empty_mirror,
        series_row(1),
        series_row(2, withdrawn_at=gone, missing_since=gone),
        series_row(3, moved_to="Others"),
    )
    [facts] = read_collections(empty_mirror, ["Lungs"])
    assert (facts.series, facts.patients) == (1, 1)
    assert [(day.day, day.series) for day in facts.days] == [
        (date(2026, 11, 27), 2),
        (date(2026, 12, 1), -1),
    ]
    assert facts.status["withdrawn"] == 1


def test_a_patient_counts_once_with_the_first_age(empty_mirror: Warehouse) -> None:
    one = {"PatientID": "P", "PatientSex": "F"}
    write_series(
        empty_mirror,
        series_row(1, PatientAge="071Y", **one),
        series_row(2, PatientAge="068Y", **one),
        series_row(3, PatientSex="m", PatientAge="018M"),
        series_row(4, PatientAge="old"),
    )
    [facts] = read_collections(empty_mirror, ["Lungs"])
    assert {(p.sex, p.decade, p.patients) for p in facts.people} == {
        ("F", 60, 1),
        ("M", 0, 1),
        ("", None, 1),
    }
