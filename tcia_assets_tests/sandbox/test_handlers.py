"""What the sandbox answers follows from the declarations, in each dialect."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json

import pyarrow.compute as pc
import pytest

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, DIALECTS, dialect
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.spec import Endpoint

from . import released_series
from .api_client import BINDAAS, NBIA, ApiClient
from .api_client import DIALECTS as NAMES

ROWS = [
    (spoken.name, endpoint.name)
    for spoken in DIALECTS
    for endpoint in spoken.endpoints
    if endpoint.columns
]
CATALOGUE = released_series.CATALOGUE
COLLECTION = "RIDER Lung CT"
SERIES = CATALOGUE.filter(pc.equal(CATALOGUE["Collection"], COLLECTION)).to_pylist()
ONE = next(row for row in SERIES if row["Modality"] == "CT")
UID, NOBODY = ONE["SeriesInstanceUID"], "1.2.3"


def values_for(endpoint: Endpoint) -> dict[str, str]:
    """Something that every endpoint has rows for."""
    known = {
        "Collection": COLLECTION,
        "SeriesInstanceUID": NOBODY if endpoint.name == "getDeniedSeries" else UID,
        "Modality": "CT",
        "since": dt.date(1990, 1, 1).strftime(endpoint.since_format or "%Y"),
        "list_name": "One Series per Collection",
    }
    return {p.name: known[p.name] for p in endpoint.parameters if p.required}


@pytest.mark.parametrize(("name", "endpoint_name"), ROWS)
def test_every_endpoint_returns_the_declared_columns_in_order(
    api: ApiClient, name: str, endpoint_name: str
) -> None:
    endpoint = dialect(name).endpoint(endpoint_name)
    rows = api.rows(name, endpoint_name, **values_for(endpoint))
    assert rows
    for row in rows:
        places = [endpoint.columns.index(key) for key in row]
        assert places == sorted(places)
        assert None not in row.values()


@pytest.mark.parametrize("name", NAMES)
def test_get_series_returns_the_complete_catalogue(api: ApiClient, name: str) -> None:
    arrived = {row["SeriesInstanceUID"]: row for row in api.rows(name, "getSeries")}
    assert len(arrived) == CATALOGUE.num_rows
    told = {
        wire: COLUMNS_BY_WIRE_NAME[wire].name
        for wire in dialect(name).endpoint("getSeries").columns
    }
    known = {wire: column for wire, column in told.items() if column in CATALOGUE.column_names}
    for expected in CATALOGUE.to_pylist():
        row = arrived[expected["SeriesInstanceUID"]]
        for wire, column in known.items():
            value = expected[column]
            if isinstance(value, dt.date):
                assert wire in row  # how it is written is the next test's
            else:
                assert row.get(wire) == value


@pytest.mark.parametrize("name", NAMES)
def test_dates_and_times_have_the_declared_formats(api: ApiClient, name: str) -> None:
    [row] = api.rows(name, "getSeries", SeriesInstanceUID=ONE["SeriesInstanceUID"])
    released, submitted = ONE["DateReleased"], ONE["MaxSubmissionTimestamp"]
    if name == "nbia-v4":
        assert row["DateReleased"] == released.strftime("%m-%d-%Y")
        assert row["MaxSubmissionTimestamp"] == submitted.strftime("%m-%d-%Y")
    elif name in NBIA:
        assert row["DateReleased"] == f"{released:%Y-%m-%d} 00:00:00.0"
        assert row["TimeStamp"] == f"{submitted:%Y-%m-%d %H:%M:%S}.0"
    else:
        dated = api.rows(name, "getPatientStudy", StudyInstanceUID=ONE["StudyInstanceUID"])
        assert dated[0]["StudyDate"] == ONE["StudyDate"].strftime(dialect(name).value_format.day)


@pytest.mark.parametrize("name", NAMES)
def test_a_size_is_a_number_except_in_bindaas(api: ApiClient, name: str) -> None:
    size, count = ONE["ImageCount"] * phantom.object_bytes("CT"), ONE["ImageCount"]
    rows = api.rows(name, "getSeriesSize", SeriesInstanceUID=ONE["SeriesInstanceUID"])
    expected = f"{size}.000000" if name in BINDAAS else size
    assert rows == [{"TotalSizeInBytes": expected, "ObjectCount": count}]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("nbia-v4", b""),
        ("nbia-v1", b"[{}]"),
        ("nbia-v2", b"[{}]"),
        ("bindaas-v4", b"[]"),
        ("bindaas-v3", b"[]"),
    ],
)
def test_the_size_of_an_unknown_or_hidden_series(
    api: ApiClient, sandbox: Sandbox, name: str, body: bytes
) -> None:
    sandbox.archive.hide([ONE["SeriesInstanceUID"]])
    for uid in ("1.2.3", ONE["SeriesInstanceUID"]):
        reply = api(name, "getSeriesSize", {"SeriesInstanceUID": uid}, format="json")
        assert (reply.status_code, reply.content) == (200, body)


def test_the_csv_of_an_unknown_size_is_malformed_in_nbia_v1(api: ApiClient) -> None:
    reply = api("nbia-v1", "getSeriesSize", {"SeriesInstanceUID": "1.2.3"}, format="csv")
    assert reply.text == '"TotalSizeInBytes","ObjectCount"\n","",""\n'


@pytest.mark.parametrize("name", NBIA)
def test_a_reply_without_rows_is_an_empty_200_in_every_format(api: ApiClient, name: str) -> None:
    for form in ("json", "csv", "xml", "html", "klingon", ""):
        reply = api(name, "getSeries", {"Collection": "Nowhere"}, format=form)
        assert (reply.status_code, reply.content) == (200, b"")
        assert "Content-Type" not in reply.headers


@pytest.mark.parametrize("name", BINDAAS)
def test_a_reply_without_rows_is_an_empty_array_in_bindaas(api: ApiClient, name: str) -> None:
    assert api(name, "getSeries", {"Collection": "Nowhere"}, format="json").json() == []


@pytest.mark.parametrize("name", NBIA)
def test_an_unknown_format_fails_where_there_are_rows(api: ApiClient, name: str) -> None:
    for form in ("klingon", ""):
        reply = api(name, "getSeries", {"Collection": COLLECTION}, format=form)
        assert reply.status_code == 500
        assert reply.text == "Server was not able to process your request"


def test_a_format_ignores_case_and_the_default_depends_on_the_dialect(api: ApiClient) -> None:
    assert api("nbia-v4", "getCollectionValues").text.startswith("[{")
    assert api("nbia-v1", "getCollectionValues", format="CSV").text.startswith("Collection\n")
    assert api("bindaas-v4", "getCollectionValues").text.startswith("Collection\n")


@pytest.mark.parametrize("name", NAMES)
def test_content_types_have_no_charset(api: ApiClient, name: str) -> None:
    kinds = {
        "json": "application/json",
        "csv": "text/csv",
        "xml": "application/xml",
        "html": "text/html",
    }
    for form, kind in kinds.items():
        reply = api(name, "getCollectionValues", format=form)
        assert reply.headers["Content-Type"] == kind
        assert reply.headers["Content-Length"] == str(len(reply.content))


def test_a_download_of_csv_is_an_attachment(api: ApiClient) -> None:
    many = api("nbia-v4", "getPatient", format="CSV-DOWNLOAD")
    assert many.headers["Content-Disposition"] == "attachment; filename=SeriesMetaData.csv"
    single = api("nbia-v4", "getCollectionValues", format="CSV-DOWNLOAD")
    assert single.headers["Content-Type"] == "application/force-download"
    assert api("nbia-v4", "getPatient", format="CSVQUOTED").text.startswith('"PatientId"')
    assert api("nbia-v4", "getCollectionValues", format="CSVQUOTED").status_code == 500


def test_values_are_sorted_with_null_first_and_in_capitals_only_in_v4(api: ApiClient) -> None:
    makers = {name: api.rows(name, "getManufacturerValues") for name in ("nbia-v1", "nbia-v4")}
    told = {name: [row.get("Manufacturer") for row in rows] for name, rows in makers.items()}
    assert told["nbia-v4"][0] is told["nbia-v1"][0] is None
    named = told["nbia-v4"][1:]
    assert named == sorted({maker.upper() for maker in told["nbia-v1"][1:]})
    assert [m.upper() for m in told["nbia-v1"][1:]] == sorted(
        m.upper() for m in told["nbia-v1"][1:]
    )
    assert any(maker != maker.upper() for maker in told["nbia-v1"][1:])


def test_collections_come_in_ascii_order_as_they_are_spelled(api: ApiClient) -> None:
    for name in NAMES:
        told = [row["Collection"] for row in api.rows(name, "getCollectionValues")]
        assert told == sorted(set(CATALOGUE["Collection"].to_pylist()))


def test_a_patient_in_two_collections_is_two_rows(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.archive.move([ONE["SeriesInstanceUID"]], to="Elsewhere")
    rows = api.rows("nbia-v1", "getPatient")
    places = [row["Collection"] for row in rows if row["PatientId"] == ONE["PatientID"]]
    assert sorted(places) == ["Elsewhere", COLLECTION]


def test_a_study_in_two_collections_is_one_row_that_counts_both(
    api: ApiClient, sandbox: Sandbox
) -> None:
    study = ONE["StudyInstanceUID"]
    [before] = api.rows("nbia-v4", "getPatientStudy", StudyInstanceUID=study)
    sandbox.archive.move([ONE["SeriesInstanceUID"]], to="Elsewhere")
    [after] = api.rows("nbia-v4", "getPatientStudy", StudyInstanceUID=study)
    assert after["SeriesCount"] == before["SeriesCount"]
    [there] = api.rows("nbia-v4", "getPatientStudy", StudyInstanceUID=study, Collection="Elsewhere")
    assert (there["Collection"], there["SeriesCount"]) == ("Elsewhere", 1)


def test_patients_without_a_recorded_species_are_human(api: ApiClient) -> None:
    row = api.rows("nbia-v1", "getPatient", Collection=COLLECTION)[0]
    facts = [row[key] for key in ("Phantom", "SpeciesCode", "SpeciesDescription")]
    assert facts == ["NO", "337915000", "Homo sapiens"]


def test_rows_have_a_different_order_each_time(api: ApiClient) -> None:
    orders = {
        tuple(row["SeriesInstanceUID"] for row in api.rows("nbia-v4", "getSeries"))
        for _ in range(3)
    }
    assert len(orders) == 3
    assert len({frozenset(order) for order in orders}) == 1


def test_the_same_requests_after_a_reset_get_the_same_bytes(
    api: ApiClient, sandbox: Sandbox
) -> None:
    first = api("nbia-v4", "getSeries").content
    sandbox.reset()
    assert api("nbia-v4", "getSeries").content == first


def test_shared_lists_are_found_in_any_case_and_contain_visible_series(
    api: ApiClient, sandbox: Sandbox
) -> None:
    uids = [row["SeriesInstanceUID"] for row in SERIES[:3]]
    sandbox.archive.share("My List", uids)
    for name in ("nbia-v1", "bindaas-v4"):
        rows = api.rows(name, "getContentsByName", list_name="MY LIST ")
        assert {row["SeriesInstanceUID"] for row in rows} == set(uids)
    assert "Date Released" in api.rows("nbia-v1", "getContentsByName", list_name="my list")[0]
    sandbox.archive.hide(uids[:1])
    assert len(api.rows("nbia-v1", "getContentsByName", list_name="my list")) == 2
    assert api("nbia-v1", "getContentsByName", {"list_name": "nobody's"}).content == b""


def test_a_shared_list_is_json_in_every_format(api: ApiClient) -> None:
    reply = api("nbia-v1", "getContentsByName", name="Segmentations", format="csv")
    assert json.loads(reply.content)


@pytest.mark.parametrize("name", NAMES)
def test_sop_instance_uids_of_hidden_series_are_returned_too(
    api: ApiClient, sandbox: Sandbox, name: str
) -> None:
    uid = ONE["SeriesInstanceUID"]
    sandbox.archive.hide([uid])
    told = {
        row["SOPInstanceUID"] for row in api.rows(name, "getSOPInstanceUIDs", SeriesInstanceUID=uid)
    }
    assert told == set(phantom.sop_instance_uids(uid, ONE["ImageCount"]))
    sandbox.archive.withdraw([uid])
    assert api.rows(name, "getSOPInstanceUIDs", SeriesInstanceUID=uid) == []


# --- What downloaders are told --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nbia-v1", "nbia-v2"])
def test_the_metadata_of_a_series_is_text(api: ApiClient, name: str) -> None:
    [row] = api.rows(name, "getSeriesMetadata", SeriesInstanceUID=UID)
    assert {type(value) for value in row.values()} == {str}
    released, submitted = ONE["DateReleased"], ONE["MaxSubmissionTimestamp"]
    expected = {
        "Series UID": UID,
        "Collection": COLLECTION,
        "Subject ID": ONE["PatientID"],
        "Study Date": ONE["StudyDate"].strftime("%m-%d-%Y"),
        "Number of Images": str(ONE["ImageCount"]),
        "File Size": str(ONE["ImageCount"] * phantom.object_bytes("CT")),
        "Series Number": f"{ONE['SeriesNumber']}.000000",
        "License URL": ONE["LicenseURI"],
        "Annotation Size": "0",
        "Date Released": f"{released:%a %b %d} 00:00:00 UTC {released:%Y}",
        "TimeStamp": f"{submitted:%a %b %d %H:%M:%S} UTC {submitted:%Y}",
        "SOP Class UID": ONE["SOPClassUID"],
    }
    assert expected.items() <= row.items()


def test_v1_strips_texts_for_downloaders(api: ApiClient, sandbox: Sandbox) -> None:
    odd = "A/B, C_d (e).f-1"
    place = sandbox.archive.find(UID)
    assert place is not None
    values = ["SeriesDescription = ?, StudyDescription = ?, Manufacturer = ?", [odd] * 3]
    sandbox.archive._database.change([place.row_number], *values)
    [row] = api.rows("nbia-v1", "getSeriesMetadata", SeriesInstanceUID=UID)
    assert row["Series Description"] == row["Study Description"] == "AB Cd e.f-1"
    assert row["Manufacturer"] == "A/B  C_d (e).f-1"
    [other] = api.rows("nbia-v4", "getSeriesMetadata", SeriesInstanceUID=UID)
    assert other["SeriesDescription"] == odd


@pytest.mark.parametrize("name", ["nbia-v1", "nbia-v2"])
def test_metadata_of_an_unknown_series_is_a_204_and_without_a_licence_an_error(
    api: ApiClient, sandbox: Sandbox, name: str
) -> None:
    for form in ("json", "csv", "klingon"):
        sent = {"SeriesInstanceUID": NOBODY}
        reply = api(name, "getSeriesMetadata", sent, format=form)
        assert (reply.status_code, reply.content) == (204, b"")
        assert not {"Content-Type", "Content-Length"} & set(reply.headers)
    facts = sandbox.archive.find(UID)
    assert facts is not None
    sandbox.archive._database.change([facts.row_number], "LicenseURI = ?", [None])
    assert api(name, "getSeriesMetadata", {"SeriesInstanceUID": UID}).status_code == 500
    sandbox.archive.hide([UID])
    assert api(name, "getSeriesMetadata", {"SeriesInstanceUID": UID}).status_code == 204


def test_v4_returns_metadata_of_many_series_with_only_two_numbers(
    api: ApiClient, sandbox: Sandbox
) -> None:
    uids = [row["SeriesInstanceUID"] for row in SERIES[:3]]
    listed = ", ".join([*uids, NOBODY])
    rows = api.rows("nbia-v4", "getSeriesMetadata", SeriesInstanceUID=f"[{listed}]")
    assert {row["SeriesInstanceUID"] for row in rows} == set(uids)
    numbers = {key for row in rows for key, value in row.items() if not isinstance(value, str)}
    assert numbers == {"ImageCount", "FileSize"}
    [row] = api.rows("nbia-v4", "getSeriesMetadata", SeriesInstanceUID=UID)
    expected = {
        "PatientID": ONE["PatientID"],
        "SeriesNumber": f"{ONE['SeriesNumber']}.000000",
        "ImageCount": ONE["ImageCount"],
        "MaxSubmissionTimestamp": ONE["MaxSubmissionTimestamp"].strftime("%m-%d-%Y"),
        "Phantom": "NO",
        "Authorized": "1",
    }
    assert expected.items() <= row.items()
    sandbox.archive.hide([UID])
    reply = api("nbia-v4", "getSeriesMetadata", {"SeriesInstanceUID": UID}, format="json")
    assert (reply.status_code, reply.content) == (200, b"")


def test_v4_accepts_a_list_in_one_field_or_several(api: ApiClient, sandbox: Sandbox) -> None:
    uids = [row["SeriesInstanceUID"] for row in SERIES[:4]]
    form = {"list": [uids[0], f"{uids[1]},{uids[2]}", uids[3]], "format": ["JSON", "CSV"]}
    url = f"{sandbox.base_url()}/getSeriesMetadata"
    reply = api.session.post(url, data=form, timeout=20)
    assert {row["SeriesInstanceUID"] for row in reply.json()} == set(uids)


@pytest.mark.parametrize("form", [{}, {"format": "CSV"}, {"format": "CSV-DOWNLOAD"}])
def test_v4_returns_metadata_as_a_csv_attachment_by_default(
    api: ApiClient, sandbox: Sandbox, form: dict[str, str]
) -> None:
    url = f"{sandbox.base_url()}/getSeriesMetadata"
    reply = api.session.post(url, data={"list": UID, **form}, timeout=20)
    assert reply.headers["Content-Type"] == "text/csv"
    assert reply.headers["Content-Disposition"] == "attachment; filename=SeriesMetaData.csv"
    [row] = csv.DictReader(io.StringIO(reply.text))
    assert tuple(row) == dialect("nbia-v4").endpoint("getSeriesMetadata").columns
    assert row["ImageCount"] == str(ONE["ImageCount"])  # no decimals here
    assert row["FileSize"].isdigit()


@pytest.mark.parametrize("name", NBIA)
def test_denied_series_are_those_that_are_not_public(
    api: ApiClient, sandbox: Sandbox, name: str
) -> None:
    hidden = SERIES[1]["SeriesInstanceUID"]
    sandbox.archive.hide([hidden])
    asked = f"{UID},{hidden},{NOBODY}"
    rows = api.rows(name, "getDeniedSeries", SeriesInstanceUID=asked)
    assert rows == [{"SeriesInstanceUID": hidden}, {"SeriesInstanceUID": NOBODY}]
    lines = api(name, "getDeniedSeries", {"SeriesInstanceUID": asked}, format="csv").text
    assert lines == f"SeriesInstanceUID\n{hidden}\n{NOBODY}\n"
    none = api(name, "getDeniedSeries", {"SeriesInstanceUID": UID}, userName="somebody")
    assert (none.status_code, none.content) == (204, b"")


def test_the_server_is_up(api: ApiClient, sandbox: Sandbox) -> None:
    assert api.session.get(f"{sandbox.url}/nbia-api/services/up", timeout=5).text == "up"
