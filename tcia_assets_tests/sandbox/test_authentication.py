"""Tokens and API keys (archive-api.md 8)."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox

from .api_client import ApiClient

ONE = series_rows.load().slice(0, 1).to_pylist()[0]


UID = ONE["SeriesInstanceUID"]


BROKEN = "Server was not able to process your request"


LISTS = ("getSeries", "getPatient", "getPatientStudy", "getSeriesSize", "getUpdatedSeries")


VALUES = ("getCollectionValues", "getModalityValues", "getBodyPartValues", "getManufacturerValues")


@pytest.mark.parametrize("endpoint", LISTS)
def test_v2_without_a_token_returns_empty_lists(api: ApiClient, endpoint: str) -> None:
    needed = dialect("nbia-v2").endpoint(endpoint).parameters
    sent = {p.name: UID for p in needed if p.required}
    reply = api("nbia-v2", endpoint, sent, credentials=False)
    assert (reply.status_code, reply.content) == (200, b"")
    assert api("nbia-v2", endpoint, sent).content


@pytest.mark.parametrize("endpoint", [*VALUES, "getImage", "getDCMImage"])
def test_v2_without_a_token_fails_for_values_and_images(api: ApiClient, endpoint: str) -> None:
    sent = {} if endpoint in VALUES else {"SeriesInstanceUID": UID}
    reply = api("nbia-v2", endpoint, sent, credentials=False)
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nnull")
    assert reply.headers["Content-Length"] == "48"  # as captured from production


@pytest.mark.parametrize("name", ["nbia-v2", "nbia-v4"])
def test_an_expired_token_gets_an_empty_reply_or_a_401(
    api: ApiClient, sandbox: Sandbox, name: str
) -> None:
    expired = {"Authorization": f"Bearer {api.token()}"}
    assert api(name, "getPatient", headers=expired).json()
    sandbox.authenticator.expire()
    assert api(name, "getPatient", headers=expired).content == b""
    for endpoint in ("getCollectionValues", "getImage"):
        sent = {"SeriesInstanceUID": UID} if endpoint == "getImage" else {}
        reply = api(name, endpoint, sent, headers=expired)
        assert (reply.status_code, reply.content) == (401, b"")
    series = api(name, "getSeries", headers=expired)
    assert series.status_code == (500 if name == "nbia-v4" else 200)


def test_a_token_expires_after_expires_in(api: ApiClient, sandbox: Sandbox) -> None:
    now = [1000.0]
    sandbox.authenticator.clock = lambda: now[0]
    try:
        granted = api.grant().json()
        bearer = {"Authorization": f"Bearer {granted['access_token']}"}
        assert granted["token_type"] == "Bearer"
        now[0] += granted["expires_in"] - 1
        assert api("nbia-v2", "getCollectionValues", headers=bearer).status_code == 200
        now[0] += 2
        assert api("nbia-v2", "getCollectionValues", headers=bearer).status_code == 401
        renewed = api.grant(grant_type="refresh_token", refresh_token=granted["refresh_token"])
        bearer = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
        assert api("nbia-v2", "getCollectionValues", headers=bearer).status_code == 200
    finally:
        sandbox.authenticator.clock = type(sandbox.authenticator)().clock


def test_a_token_without_its_prefix_is_invalid(api: ApiClient) -> None:
    token = api.token()
    reply = api("nbia-v2", "getCollectionValues", headers={"Authorization": token})
    assert reply.status_code == 401


def test_wrong_credentials_get_the_error_of_keycloak(api: ApiClient) -> None:
    for fields in ({"password": "wrong"}, {"grant_type": "refresh_token", "refresh_token": "x"}):
        reply = api.grant(**fields)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_grant")
    assert api.grant(grant_type="magic").status_code == 500


def test_v1_and_guests_of_v4_need_no_token(api: ApiClient) -> None:
    for name, token in (("nbia-v1", "Bearer garbage"), ("nbia-v4", "Bearer undefined")):
        assert api(name, "getSeries", headers={"Authorization": token}).json()


def test_bindaas_v3_accepts_its_key_as_a_header_or_a_parameter(
    api: ApiClient, sandbox: Sandbox
) -> None:
    key = sandbox.authenticator.api_key
    for sent in ({"headers": {"api_key": key}}, {"api_key": key}):
        reply = api("bindaas-v3", "getSeries", credentials=False, format="json", **sent)
        assert reply.json()
    for wrong in ({}, {"api_key": "wrong"}):
        reply = api("bindaas-v3", "getImage", credentials=False, **wrong)
        assert reply.status_code == 401
    assert api("bindaas-v4", "getSeries", format="json").json()
