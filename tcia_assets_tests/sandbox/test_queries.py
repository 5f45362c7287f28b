"""Filters and dates, as each server compares them (archive-api.md 5.6 and 7.2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox

from .conftest import DIALECTS, NBIA, Asker

CATALOGUE = series_rows.load()
COLLECTION = "RIDER Lung CT"
OLD = ("nbia-v1", "nbia-v2", "bindaas-v4")


def series(**where: str) -> set[str]:
    rows: pa.Table = CATALOGUE
    for column, value in where.items():
        rows = rows.filter(pc.equal(rows[column], value))
    return set(rows["SeriesInstanceUID"].to_pylist())


def told(ask: Asker, name: str, endpoint: str = "getSeries", **values: str) -> set[str]:
    return {row["SeriesInstanceUID"] for row in ask.rows(name, endpoint, **values)}


def some(column: str) -> str:
    """A value with letters of both cases."""
    values = [v for v in CATALOGUE[column].unique().to_pylist() if v]
    return next((v for v in values if v.upper() != v), values[0])


# --- Filters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    "column",
    ["Collection", "PatientID", "StudyInstanceUID", "Modality", "BodyPartExamined", "Manufacturer"],
)
def test_each_filter_of_get_series_filters(ask: Asker, name: str, column: str) -> None:
    value = some(column)
    assert told(ask, name, **{column: value}) == series(**{column: value}) != set()


@pytest.mark.parametrize("name", DIALECTS)
def test_filters_are_combined(ask: Asker, name: str) -> None:
    expected = series(Collection=COLLECTION, Modality="SEG")
    assert told(ask, name, Collection=COLLECTION, Modality="SEG") == expected != set()


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("column", ["Collection", "PatientID", "Modality"])
def test_case_and_trailing_blanks_are_ignored(ask: Asker, name: str, column: str) -> None:
    value = some(column)
    for variant in (value.lower(), value.upper(), f"{value}  "):
        assert told(ask, name, **{column: variant}) == series(**{column: value})


@pytest.mark.parametrize("column", ["Manufacturer", "ManufacturerModelName"])
def test_makers_have_a_case_before_v4(ask: Asker, column: str) -> None:
    value = some(column)
    assert value != value.upper()
    for name in OLD:
        assert told(ask, name, **{column: f"{value} "}) == series(**{column: value})
        assert told(ask, name, **{column: value.upper()}) == set()
    assert told(ask, "nbia-v4", **{column: value.upper()}) == told(
        ask, "nbia-v4", **{column: value}
    )


@pytest.mark.parametrize("name", DIALECTS)
def test_values_are_filtered_without_regard_to_case(ask: Asker, name: str) -> None:
    rows = ask.rows(name, "getModalityValues", Collection="rider lung ct", BodyPartExamined="chest")
    assert {"Modality": "CT"} in rows
    assert ask.rows(name, "getModalityValues", Collection=COLLECTION) != ask.rows(
        name, "getModalityValues"
    )


def test_v1_never_finds_a_patient_with_lower_case_letters(ask: Asker) -> None:
    patient = some("PatientID")
    assert patient != patient.upper()
    assert ask.rows("nbia-v1", "getPatient", PatientID=patient) == []
    assert ask.rows("nbia-v4", "getPatient", PatientID=patient)
    assert ask.rows("nbia-v4", "getPatient", PatientID=patient.upper()) == []
    upper = next(p for p in CATALOGUE["PatientID"].to_pylist() if p == p.upper())
    assert ask.rows("nbia-v1", "getPatient", PatientID=upper.lower())


@pytest.mark.parametrize("name", NBIA)
def test_a_filter_without_a_value_selects_nothing(ask: Asker, name: str) -> None:
    for column in ("Collection", "PatientID", "SeriesInstanceUID", "BodyPartExamined"):
        assert ask(name, "getSeries", {column: ""}).content == b""


def test_misspelt_parameters_are_ignored_before_v4(ask: Asker) -> None:
    for name in ("nbia-v1", "nbia-v2"):
        for spelling in ("collection", "Collection ", "COLLECTION"):
            rows = ask(name, "getSeries", **{spelling: COLLECTION}).json()
            assert len(rows) == CATALOGUE.num_rows


def test_the_first_of_repeated_parameters_counts(ask: Asker, sandbox: Sandbox) -> None:
    url = f"{sandbox.base_url()}/getSeries?Collection=RIDER+Lung+CT&Collection=LCTSC"
    rows = ask.session.get(url, timeout=10).json()
    assert {row["Collection"] for row in rows} == {COLLECTION}


@pytest.mark.parametrize("name", DIALECTS)
def test_patients_of_a_collection_with_a_modality(ask: Asker, name: str) -> None:
    endpoint = dialect(name).endpoint("getPatientByCollectionAndModality")
    rows = ask.rows(name, endpoint.name, Collection=COLLECTION, Modality="seg")
    wanted = series(Collection=COLLECTION, Modality="SEG")
    patients = {
        row["PatientID"] for row in CATALOGUE.to_pylist() if row["SeriesInstanceUID"] in wanted
    }
    assert {row[endpoint.columns[0]] for row in rows} == patients


# --- Dates --------------------------------------------------------------------------------------

RELEASED = dt.date(2020, 1, 31)
ALL, NONE, LATER = "all", "none", "later"  # than the 31st of January 2020
ODD_DATES = [
    # sent                 getUpdatedSeries v1  New... v1  getUpdatedSeries v4
    ("31/01/2020", NONE, ALL, NONE),
    ("30/01/2020", LATER, ALL, NONE),
    ("01/31/2020", NONE, ALL, NONE),
    ("2020/01/31", ALL, NONE, NONE),
    ("2020/01/30", ALL, LATER, NONE),
    ("5/1/2020", LATER, ALL, NONE),
    ("31/01/20", ALL, ALL, NONE),
    ("2020/02/31", ALL, NONE, NONE),
    ("30/01/2020 23:59", LATER, ALL, NONE),
    ("2020-01-31", NONE, NONE, NONE),
    ("01-30-2020", NONE, NONE, LATER),
    ("01-31-2020", NONE, NONE, NONE),
    ("1-3-2020", NONE, NONE, LATER),
    ("01-30-20", NONE, NONE, LATER),
    ("13-01-2020", NONE, NONE, NONE),
    ("02-31-2020", NONE, NONE, NONE),
    ("00-00-2020", NONE, NONE, LATER),
    ("", NONE, NONE, ALL),
    ("today", NONE, NONE, NONE),
]


@pytest.fixture
def dated(sandbox: Sandbox) -> Mapping[str, set[str]]:
    """One Series released in 1999, one on the last of January 2020, the rest never."""
    sandbox.archive.hold(CATALOGUE["SeriesInstanceUID"].to_pylist())
    old, new = sorted(series(Collection=COLLECTION, Modality="CT"))[:2]
    sandbox.archive.release([old], day=dt.date(1999, 1, 1))
    sandbox.archive.release([new], day=RELEASED)
    return {ALL: {old, new}, LATER: {new}, NONE: set()}


@pytest.mark.parametrize(("sent", "v1", "_new", "v4"), ODD_DATES)
def test_get_updated_series_takes_any_text_for_a_date(
    ask: Asker, dated: Mapping[str, set[str]], sent: str, v1: str, _new: str, v4: str
) -> None:
    assert told(ask, "nbia-v1", "getUpdatedSeries", since=sent) == dated[v1]
    assert told(ask, "nbia-v4", "getUpdatedSeries", since=sent) == dated[v4]


@pytest.mark.parametrize(("sent", "_v1", "new", "_v4"), ODD_DATES)
def test_new_studies_take_any_text_for_a_date(
    ask: Asker, dated: Mapping[str, set[str]], sent: str, _v1: str, new: str, _v4: str
) -> None:
    rows = ask.rows("nbia-v1", "NewStudiesInPatientCollection", Collection=COLLECTION, since=sent)
    assert sum(row["SeriesCount"] for row in rows) == len(dated[new])


@pytest.mark.parametrize("name", NBIA)
def test_get_updated_series_leaves_out_the_day_itself(
    ask: Asker, dated: Mapping[str, set[str]], name: str
) -> None:
    form = dialect(name).endpoint("getUpdatedSeries").since_format
    before = (RELEASED - dt.timedelta(days=1)).strftime(form)
    assert told(ask, name, "getUpdatedSeries", since=RELEASED.strftime(form)) == set()
    assert told(ask, name, "getUpdatedSeries", since=before) == dated[LATER]
    assert told(ask, name, "getUpdatedSeries") == dated[ALL]


@pytest.mark.parametrize("endpoint", ["NewPatientsInCollection", "NewStudiesInPatientCollection"])
def test_what_is_new_includes_the_day_itself_only_in_v4(
    ask: Asker, dated: Mapping[str, set[str]], endpoint: str
) -> None:
    for name, found in (("nbia-v1", 0), ("nbia-v4", 1)):
        since = RELEASED.strftime(dialect(name).endpoint(endpoint).since_format)
        assert len(ask.rows(name, endpoint, Collection=COLLECTION, since=since)) == found


def test_a_series_without_a_release_date_is_never_new(ask: Asker, sandbox: Sandbox) -> None:
    [uid] = sandbox.archive.hold(collection=COLLECTION, count=1)
    sandbox.archive.show([uid])
    assert uid in told(ask, "nbia-v4")
    assert uid not in told(ask, "nbia-v4", "getUpdatedSeries")
    [row] = ask.rows("nbia-v4", "getSeries", SeriesInstanceUID=uid)
    assert not {"DateReleased", "ReleasedStatus"} & set(row)


def test_bindaas_looks_at_the_day_of_submission(ask: Asker, sandbox: Sandbox) -> None:
    today = dt.datetime.now(dt.UTC).date()
    asked = {"Collection": COLLECTION, "since": today.isoformat()}
    assert ask.rows("bindaas-v4", "NewPatientsInCollection", **asked) == []
    sandbox.archive.revise(collection=COLLECTION, count=1)
    assert len(ask.rows("bindaas-v4", "NewPatientsInCollection", **asked)) == 1
