"""The refusal of images that are not public (archive-api.md 5.5)."""

from __future__ import annotations

import pytest

from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox

from .api_client import NBIA, ApiClient

ONE = series_rows.load().slice(0, 1).to_pylist()[0]


UID = ONE["SeriesInstanceUID"]


BROKEN = "Server was not able to process your request"


@pytest.mark.parametrize("endpoint", ["getImage", "getImageWithMD5Hash", "getDCMImage"])
@pytest.mark.parametrize("name", NBIA)
def test_images_of_unknown_and_hidden_series_are_not_public(
    api: ApiClient, sandbox: Sandbox, name: str, endpoint: str
) -> None:
    sandbox.archive.hide([UID])
    for uid in ("1.2.3", UID, ""):
        reply = api(name, endpoint, {"SeriesInstanceUID": uid})
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
def test_a_single_image_that_does_not_exist_is_a_500(api: ApiClient, name: str) -> None:
    sent = {"SeriesInstanceUID": UID, "SOPInstanceUID": "1.2.3"}
    reply = api(name, "getSingleImage", sent)
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nnull")


def test_bindaas_replies_to_a_wrong_single_image_with_json(api: ApiClient) -> None:
    sent = {"SeriesInstanceUID": UID, "SOPInstanceUID": "1.2.3"}
    reply = api("bindaas-v4", "getSingleImage", sent)
    assert reply.status_code == 200
    assert "IndexOutOfBounds" in reply.json()["errorMessage"]


@pytest.mark.parametrize("accept", ["application/zip", "application/json"])
def test_an_image_is_refused_if_the_client_accepts_only_other_types(
    api: ApiClient, accept: str
) -> None:
    sent = {"SeriesInstanceUID": UID}
    reply = api("nbia-v4", "getImage", sent, headers={"Accept": accept})
    assert (reply.status_code, reply.text) == (500, f"{BROKEN}\nHTTP 406 Not Acceptable")
    for good in ("*/*", "text/html, application/octet-stream;q=0.9"):
        assert api("nbia-v4", "getImage", sent, headers={"Accept": good}).status_code == 200
