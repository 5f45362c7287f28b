"""Requests with unknown or missing parameters (archive-api.md 5.5)."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.endpoints import SERVED

from .api_client import NBIA, ApiClient

ONE = series_rows.load().slice(0, 1).to_pylist()[0]


UID = ONE["SeriesInstanceUID"]


SENTENCES = {
    "getSeriesSize": "A parameter, SeriesInstanceUID is required for this API call.",
    "getSOPInstanceUIDs": "A parameter, SeriesInstanceUID is required for this API call.",
    "getImage": "A parameter, SeriesInstanceUID, is required for this API call.",
    "getImageWithMD5Hash": "A parameter, SeriesInstanceUID, is required for this API call.",
    "getSingleImage": (
        "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call."
    ),
    "NewPatientsInCollection": ("A parameter, Collection and Date are required for this API call."),
    "NewStudiesInPatientCollection": (
        "A parameter, Collection and Date are required for this API call."
    ),
    "getPatientByCollectionAndModality": (
        "A parameter, Collection and Modality, are required for this API call."
    ),
    "getContentsByName": "A parameter, name is required for this API call.",
    "getDCMImage": "A parameter, SeriesInstanceUID, is required for this API call.",
    "getDeniedSeries": (
        "A parameter, seriesList,  a list of SeriesInstanceUID is required for this API call."
    ),
}


@pytest.mark.parametrize("name", NBIA)
@pytest.mark.parametrize("endpoint", SENTENCES)
def test_a_missing_parameter_is_a_text_with_the_type_json(
    api: ApiClient, name: str, endpoint: str
) -> None:
    if dialect(name).has(endpoint):
        reply = api(name, endpoint)
        assert (reply.status_code, reply.text) == (400, SENTENCES[endpoint])
        assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nbia-v1", SENTENCES["getSeriesSize"]),
        ("nbia-v2", SENTENCES["getSeriesSize"]),
        (
            "nbia-v4",
            "A form parameter, list, containing at least one SeriesInstanceUID is required.",
        ),
    ],
)
def test_metadata_without_a_uid_is_refused(api: ApiClient, name: str, sentence: str) -> None:
    reply = api(name, "getSeriesMetadata")
    assert (reply.status_code, reply.text) == (400, sentence)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("endpoint", SENTENCES)
def test_bindaas_refuses_with_json(api: ApiClient, endpoint: str) -> None:
    if dialect("bindaas-v4").has(endpoint):
        reply = api("bindaas-v4", endpoint)
        assert (reply.status_code, reply.json()) == (500, {"errorMessage": SENTENCES[endpoint]})


STRICT = [
    e.endpoint.name for e in SERVED if e.dialect.name == "nbia-v4" and e.rejects_unknown_parameters
]


@pytest.mark.parametrize("endpoint", STRICT)
def test_v4_refuses_every_unknown_parameter(api: ApiClient, endpoint: str) -> None:
    declared = dialect("nbia-v4").endpoint(endpoint)
    reply = api("nbia-v4", endpoint, COLLECTION="LCTSC")
    kind = "form" if declared.method == "POST" else "query"
    assert reply.status_code == 400
    assert "Content-Type" not in reply.headers
    start, names = reply.text.split("Allowed parameters are: ")
    assert start == f"Invalid {kind} parameter: 'COLLECTION'. "
    allowed = {p.wire_name for p in declared.parameters} | (
        {"format"} if declared.formats else set()
    )
    assert set(names.strip("[]").split(", ")) - {""} == allowed


def test_v4_ignores_parameters_of_an_endpoint_without_any(api: ApiClient) -> None:
    plain = api("nbia-v4", "getCollectionValuesAndCounts").json()
    assert api("nbia-v4", "getCollectionValuesAndCounts", format="csv", Collection="x").json()
    assert len(plain) == len({row["Collection"] for row in plain})


def test_the_md5_of_an_image_is_a_text_in_every_format(api: ApiClient) -> None:
    reply = api("nbia-v4", "getMD5HashForImage", {"SOPInstanceUID": "1.2.3"}, format="json")
    assert (reply.status_code, reply.content) == (200, b"")


def test_v4_refuses_a_format_for_an_image(api: ApiClient) -> None:
    reply = api("nbia-v4", "getImage", {"SeriesInstanceUID": UID}, format="zip")
    assert reply.status_code == 400
    assert reply.text.startswith("Invalid query parameter: 'format'.")
