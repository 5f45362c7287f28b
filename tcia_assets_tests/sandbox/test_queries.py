"""Filters and dates, as each server compares them (archive-api.md 5.6 and 7.2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.released_series import (
    ALL,
    CATALOGUE,
    COLLECTION,
    LATER,
    RELEASED,
    series,
    series_uids,
)

from .api_client import DIALECTS, NBIA, ApiClient

OLD = ("nbia-v1", "nbia-v2", "bindaas-v4")


def some(column: str) -> str:
    """A value with letters of both cases."""
    values = [v for v in CATALOGUE[column].unique().to_pylist() if v]
    return next((v for v in values if v.upper() != v), values[0])


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "column",
    ["Collection", "PatientID", "StudyInstanceUID", "Modality", "BodyPartExamined", "Manufacturer"],
)
def test_each_filter_of_get_series_filters(api: ApiClient, name: str, column: str) -> None:
    value = some(column)
    assert series_uids(api, name, **{column: value}) == series(**{column: value}) != set()


@pytest.mark.parametrize("name", DIALECTS)
def test_filters_are_combined(api: ApiClient, name: str) -> None:
    expected = series(Collection=COLLECTION, Modality="SEG")
    assert series_uids(api, name, Collection=COLLECTION, Modality="SEG") == expected != set()


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("column", ["Collection", "PatientID", "Modality"])
def test_case_and_trailing_blanks_are_ignored(api: ApiClient, name: str, column: str) -> None:
    value = some(column)
    for variant in (value.lower(), value.upper(), f"{value}  "):
        assert series_uids(api, name, **{column: variant}) == series(**{column: value})


@pytest.mark.parametrize("column", ["Manufacturer", "ManufacturerModelName"])
def test_manufacturers_are_case_sensitive_before_v4(api: ApiClient, column: str) -> None:
    value = some(column)
    assert value != value.upper()
    for name in OLD:
        assert series_uids(api, name, **{column: f"{value} "}) == series(**{column: value})
        assert series_uids(api, name, **{column: value.upper()}) == set()
    assert series_uids(api, "nbia-v4", **{column: value.upper()}) == series_uids(
        api, "nbia-v4", **{column: value}
    )


@pytest.mark.parametrize("name", DIALECTS)
def test_values_are_filtered_without_regard_to_case(api: ApiClient, name: str) -> None:
    rows = api.rows(name, "getModalityValues", Collection="rider lung ct", BodyPartExamined="chest")
    assert {"Modality": "CT"} in rows
    assert api.rows(name, "getModalityValues", Collection=COLLECTION) != api.rows(
        name, "getModalityValues"
    )


def test_v1_never_finds_a_patient_with_lower_case_letters(api: ApiClient) -> None:
    patient = some("PatientID")
    assert patient != patient.upper()
    assert api.rows("nbia-v1", "getPatient", PatientID=patient) == []
    assert api.rows("nbia-v4", "getPatient", PatientID=patient)
    assert api.rows("nbia-v4", "getPatient", PatientID=patient.upper()) == []
    upper = next(p for p in CATALOGUE["PatientID"].to_pylist() if p == p.upper())
    assert api.rows("nbia-v1", "getPatient", PatientID=upper.lower())


@pytest.mark.parametrize("name", NBIA)
def test_an_empty_filter_selects_no_rows(api: ApiClient, name: str) -> None:
    for column in ("Collection", "PatientID", "SeriesInstanceUID", "BodyPartExamined"):
        assert api(name, "getSeries", {column: ""}).content == b""


def test_misspelt_parameters_are_ignored_before_v4(api: ApiClient) -> None:
    for name in ("nbia-v1", "nbia-v2"):
        for spelling in ("collection", "Collection ", "COLLECTION"):
            rows = api(name, "getSeries", **{spelling: COLLECTION}).json()
            assert len(rows) == CATALOGUE.num_rows


def test_the_first_of_repeated_parameters_counts(api: ApiClient, sandbox: Sandbox) -> None:
    url = f"{sandbox.base_url()}/getSeries?Collection=RIDER+Lung+CT&Collection=LCTSC"
    rows = api.session.get(url, timeout=10).json()
    assert {row["Collection"] for row in rows} == {COLLECTION}


@pytest.mark.parametrize("name", DIALECTS)
def test_patients_of_a_collection_with_a_modality(api: ApiClient, name: str) -> None:
    endpoint = dialect(name).endpoint("getPatientByCollectionAndModality")
    rows = api.rows(name, endpoint.name, Collection=COLLECTION, Modality="seg")
    wanted = series(Collection=COLLECTION, Modality="SEG")
    patients = {
        row["PatientID"] for row in CATALOGUE.to_pylist() if row["SeriesInstanceUID"] in wanted
    }
    assert {row[endpoint.columns[0]] for row in rows} == patients


@pytest.mark.parametrize("name", NBIA)
def test_get_updated_series_leaves_out_the_day_itself(
    api: ApiClient, dated: Mapping[str, set[str]], name: str
) -> None:
    form = dialect(name).endpoint("getUpdatedSeries").since_format
    before = (RELEASED - dt.timedelta(days=1)).strftime(form)
    assert series_uids(api, name, "getUpdatedSeries", since=RELEASED.strftime(form)) == set()
    assert series_uids(api, name, "getUpdatedSeries", since=before) == dated[LATER]
    assert series_uids(api, name, "getUpdatedSeries") == dated[ALL]


@pytest.mark.parametrize("endpoint", ["NewPatientsInCollection", "NewStudiesInPatientCollection"])
def test_new_patients_and_studies_include_the_day_itself_only_in_v4(
    api: ApiClient, dated: Mapping[str, set[str]], endpoint: str
) -> None:
    for name, found in (("nbia-v1", 0), ("nbia-v4", 1)):
        since = RELEASED.strftime(dialect(name).endpoint(endpoint).since_format)
        assert len(api.rows(name, endpoint, Collection=COLLECTION, since=since)) == found


def test_a_series_without_a_release_date_is_never_new(api: ApiClient, sandbox: Sandbox) -> None:
    [uid] = sandbox.archive.hold(collection=COLLECTION, count=1)
    sandbox.archive.show([uid])
    assert uid in series_uids(api, "nbia-v4")
    assert uid not in series_uids(api, "nbia-v4", "getUpdatedSeries")
    [row] = api.rows("nbia-v4", "getSeries", SeriesInstanceUID=uid)
    assert not {"DateReleased", "ReleasedStatus"} & set(row)


def test_bindaas_compares_the_date_of_submission(api: ApiClient, sandbox: Sandbox) -> None:
    today = dt.datetime.now(dt.UTC).date()
    asked = {"Collection": COLLECTION, "since": today.isoformat()}
    assert api.rows("bindaas-v4", "NewPatientsInCollection", **asked) == []
    sandbox.archive.revise(collection=COLLECTION, count=1)
    assert len(api.rows("bindaas-v4", "NewPatientsInCollection", **asked)) == 1
