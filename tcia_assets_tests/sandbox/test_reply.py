"""What the sandbox says no to, in the words of each dialect (archive-api.md 5.5 and 8)."""

from __future__ import annotations

import pytest
import requests

from tcia_assets.catalog import DIALECTS as SPOKEN
from tcia_assets.catalog import dialect
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.endpoints import SERVED
from tcia_assets.sandbox.server import Sandbox

from .conftest import BINDAAS, DIALECTS, NBIA, Asker

ONE = series_rows.load().slice(0, 1).to_pylist()[0]
UID = ONE["SeriesInstanceUID"]
BROKEN = "Server was not able to process your request"
LISTS = ("getSeries", "getPatient", "getPatientStudy", "getSeriesSize", "getUpdatedSeries")
VALUES = ("getCollectionValues", "getModalityValues", "getBodyPartValues", "getManufacturerValues")

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


# --- Parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NBIA)
@pytest.mark.parametrize("endpoint", SENTENCES)
def test_a_missing_parameter_is_a_sentence_labelled_json(
    ask: Asker, name: str, endpoint: str
) -> None:
    if dialect(name).has(endpoint):
        reply = ask(name, endpoint)
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
def test_metadata_without_a_uid_are_refused(ask: Asker, name: str, sentence: str) -> None:
    reply = ask(name, "getSeriesMetadata")
    assert (reply.status_code, reply.text) == (400, sentence)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("endpoint", SENTENCES)
def test_bindaas_refuses_with_an_object(ask: Asker, endpoint: str) -> None:
    if dialect("bindaas-v4").has(endpoint):
        reply = ask("bindaas-v4", endpoint)
        assert (reply.status_code, reply.json()) == (500, {"errorMessage": SENTENCES[endpoint]})


STRICT = [
    e.endpoint.name for e in SERVED if e.dialect.name == "nbia-v4" and e.rejects_unknown_parameters
]


@pytest.mark.parametrize("endpoint", STRICT)
def test_v4_refuses_every_parameter_that_it_does_not_know(ask: Asker, endpoint: str) -> None:
    declared = dialect("nbia-v4").endpoint(endpoint)
    reply = ask("nbia-v4", endpoint, COLLECTION="LCTSC")
    kind = "form" if declared.method == "POST" else "query"
    assert reply.status_code == 400
    assert "Content-Type" not in reply.headers
    start, names = reply.text.split("Allowed parameters are: ")
    assert start == f"Invalid {kind} parameter: 'COLLECTION'. "
    allowed = {p.wire_name for p in declared.parameters} | (
        {"format"} if declared.formats else set()
    )
    assert set(names.strip("[]").split(", ")) - {""} == allowed


def test_v4_looks_at_no_parameter_where_it_takes_none(ask: Asker) -> None:
    plain = ask("nbia-v4", "getCollectionValuesAndCounts").json()
    assert ask("nbia-v4", "getCollectionValuesAndCounts", format="csv", Collection="x").json()
    assert len(plain) == len({row["Collection"] for row in plain})


def test_the_hash_of_an_image_is_a_text_whatever_format_is_asked_for(ask: Asker) -> None:
    reply = ask("nbia-v4", "getMD5HashForImage", {"SOPInstanceUID": "1.2.3"}, format="json")
    assert (reply.status_code, reply.content) == (200, b"")


def test_v4_refuses_a_format_for_an_image(ask: Asker) -> None:
    reply = ask("nbia-v4", "getImage", {"SeriesInstanceUID": UID}, format="zip")
    assert reply.status_code == 400
    assert reply.text.startswith("Invalid query parameter: 'format'.")


# --- Paths and methods --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NBIA)
def test_a_wrong_path_or_method_is_a_500_in_plain_text(
    ask: Asker, sandbox: Sandbox, name: str
) -> None:
    base = sandbox.base_url(name)
    for method, path, problem in [
        ("GET", "getseries", "HTTP 404 Not Found"),
        ("GET", "getSeries/", "HTTP 404 Not Found"),
        ("POST", "getSeries", "HTTP 405 Method Not Allowed"),
        ("DELETE", "getImage", "HTTP 405 Method Not Allowed"),
    ]:
        reply = ask.session.request(method, f"{base}/{path}", timeout=5)
        assert (reply.status_code, reply.text) == (500, f"{BROKEN}\n{problem}")
        assert reply.headers["Content-Type"] == "text/plain"


def test_v4_has_no_shared_lists(ask: Asker, sandbox: Sandbox) -> None:
    assert ask.session.get(f"{sandbox.base_url()}/getContentsByName", timeout=5).status_code == 500


@pytest.mark.parametrize("name", BINDAAS)
def test_an_unknown_query_is_a_404_in_bindaas(ask: Asker, sandbox: Sandbox, name: str) -> None:
    url = f"{sandbox.base_url(name)}/TCIA/query/getUpdatedSeries"
    assert ask.session.get(url, headers=ask.credentials(name), timeout=5).status_code == 404


def test_shared_lists_are_a_sibling_of_tcia_not_below_it(ask: Asker, sandbox: Sandbox) -> None:
    base = sandbox.base_url("bindaas-v4")
    sent = {"name": "Segmentations"}
    right = ask.session.get(f"{base}/SharedList/query/ContentsByName", params=sent, timeout=5)
    wrong = ask.session.get(f"{base}/TCIA/query/ContentsByName", params=sent, timeout=5)
    assert (right.status_code, wrong.status_code) == (200, 404)


def test_every_declared_path_is_served(sandbox: Sandbox, ask: Asker) -> None:
    for spoken in SPOKEN:
        for endpoint in spoken.endpoints:
            reply = ask(spoken.name, endpoint.name)
            assert reply.status_code != 404
            assert "HTTP 40" not in reply.text


# --- Images that are not public -----------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["getImage", "getImageWithMD5Hash", "getDCMImage"])
@pytest.mark.parametrize("name", NBIA)
def test_images_of_unknown_and_hidden_series_are_not_public(
    ask: Asker, sandbox: Sandbox, name: str, endpoint: str
) -> None:
    sandbox.archive.hide([UID])
    for uid in ("1.2.3", UID, ""):
        reply = ask(name, endpoint, {"SeriesInstanceUID": uid})
        assert reply.status_code == 400
        assert reply.headers["Content-Type"] == "application/json"
        if name == "nbia-v1" or (name, endpoint) == ("nbia-v4", "getDCMImage"):
            sentence = f"Image with given SeriesInstanceUID,{uid}, is not in public domain."
        else:
            sentence = (
                "The user has not been granted the access to image with given SeriesInstanceUID,"
                f"{uid}. Please contact System Admin to resolve this issue."
            )
        assert reply.text == sentence


@pytest.mark.parametrize("name", NBIA)
def test_a_single_image_that_does_not_exist_is_a_500(ask: Asker, name: str) -> None:
    sent = {"SeriesInstanceUID": UID, "SOPInstanceUID": "1.2.3"}
    reply = ask(name, "getSingleImage", sent)
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nnull")


def test_bindaas_answers_a_wrong_single_image_with_an_object(ask: Asker) -> None:
    sent = {"SeriesInstanceUID": UID, "SOPInstanceUID": "1.2.3"}
    reply = ask("bindaas-v4", "getSingleImage", sent)
    assert reply.status_code == 200
    assert "IndexOutOfBounds" in reply.json()["errorMessage"]


@pytest.mark.parametrize("accept", ["application/zip", "application/json"])
def test_an_image_cannot_be_asked_for_as_something_else(ask: Asker, accept: str) -> None:
    sent = {"SeriesInstanceUID": UID}
    reply = ask("nbia-v4", "getImage", sent, headers={"Accept": accept})
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nHTTP 406 Not Acceptable")
    for good in ("*/*", "text/html, application/octet-stream;q=0.9"):
        assert ask("nbia-v4", "getImage", sent, headers={"Accept": good}).status_code == 200


# --- Credentials --------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", LISTS)
def test_v2_without_a_token_answers_lists_with_nothing(ask: Asker, endpoint: str) -> None:
    needed = dialect("nbia-v2").endpoint(endpoint).parameters
    sent = {p.name: UID for p in needed if p.required}
    reply = ask("nbia-v2", endpoint, sent, credentials=False)
    assert (reply.status_code, reply.content) == (200, b"")
    assert ask("nbia-v2", endpoint, sent).content


@pytest.mark.parametrize("endpoint", [*VALUES, "getImage", "getDCMImage"])
def test_v2_without_a_token_breaks_on_values_and_images(ask: Asker, endpoint: str) -> None:
    sent = {} if endpoint in VALUES else {"SeriesInstanceUID": UID}
    reply = ask("nbia-v2", endpoint, sent, credentials=False)
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nnull")
    assert reply.headers["Content-Length"] == "48"  # as captured from production


@pytest.mark.parametrize("name", ["nbia-v2", "nbia-v4"])
def test_an_expired_token_gets_nothing_or_a_401(ask: Asker, sandbox: Sandbox, name: str) -> None:
    expired = {"Authorization": f"Bearer {ask.token()}"}
    assert ask(name, "getPatient", headers=expired).json()
    sandbox.authenticator.expire()
    assert ask(name, "getPatient", headers=expired).content == b""
    for endpoint in ("getCollectionValues", "getImage"):
        sent = {"SeriesInstanceUID": UID} if endpoint == "getImage" else {}
        reply = ask(name, endpoint, sent, headers=expired)
        assert (reply.status_code, reply.content) == (401, b"")
    series = ask(name, "getSeries", headers=expired)
    assert series.status_code == (500 if name == "nbia-v4" else 200)


def test_a_token_lives_as_long_as_it_says(ask: Asker, sandbox: Sandbox) -> None:
    now = [1000.0]
    sandbox.authenticator.clock = lambda: now[0]
    try:
        granted = ask.grant().json()
        bearer = {"Authorization": f"Bearer {granted['access_token']}"}
        assert granted["token_type"] == "Bearer"
        now[0] += granted["expires_in"] - 1
        assert ask("nbia-v2", "getCollectionValues", headers=bearer).status_code == 200
        now[0] += 2
        assert ask("nbia-v2", "getCollectionValues", headers=bearer).status_code == 401
        renewed = ask.grant(grant_type="refresh_token", refresh_token=granted["refresh_token"])
        bearer = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
        assert ask("nbia-v2", "getCollectionValues", headers=bearer).status_code == 200
    finally:
        sandbox.authenticator.clock = type(sandbox.authenticator)().clock


def test_a_token_without_its_prefix_is_garbage(ask: Asker) -> None:
    token = ask.token()
    reply = ask("nbia-v2", "getCollectionValues", headers={"Authorization": token})
    assert reply.status_code == 401


def test_wrong_credentials_get_the_error_of_keycloak(ask: Asker) -> None:
    for fields in ({"password": "wrong"}, {"grant_type": "refresh_token", "refresh_token": "x"}):
        reply = ask.grant(**fields)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_grant")
    assert ask.grant(grant_type="magic").status_code == 500


def test_v1_and_guests_of_v4_need_no_token(ask: Asker) -> None:
    for name, token in (("nbia-v1", "Bearer garbage"), ("nbia-v4", "Bearer undefined")):
        assert ask(name, "getSeries", headers={"Authorization": token}).json()


def test_bindaas_v3_takes_its_key_as_a_header_or_a_parameter(ask: Asker, sandbox: Sandbox) -> None:
    key = sandbox.authenticator.api_key
    for sent in ({"headers": {"api_key": key}}, {"api_key": key}):
        reply = ask("bindaas-v3", "getSeries", credentials=False, format="json", **sent)
        assert reply.json()
    for wrong in ({}, {"api_key": "wrong"}):
        reply = ask("bindaas-v3", "getImage", credentials=False, **wrong)
        assert reply.status_code == 401
    assert ask("bindaas-v4", "getSeries", format="json").json()


def test_secrets_are_not_kept(ask: Asker, sandbox: Sandbox) -> None:
    ask.grant()
    ask("bindaas-v3", "getCollectionValues", api_key=sandbox.authenticator.api_key)
    kept = str(sandbox.requests.summary())
    assert sandbox.authenticator.api_key not in kept
    assert "'password': '...'" in kept


@pytest.mark.parametrize("name", DIALECTS)
def test_a_head_request_runs_the_handler(ask: Asker, sandbox: Sandbox, name: str) -> None:
    path = dialect(name).endpoint("getImage").path
    reply = requests.head(
        f"{sandbox.base_url(name)}/{path}",
        params={"SeriesInstanceUID": UID},
        headers=ask.credentials(name),
        timeout=5,
    )
    assert (reply.status_code, reply.content) == (200, b"")
