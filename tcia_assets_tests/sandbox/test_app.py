"""Paths and methods (archive-api.md 5.5)."""

from __future__ import annotations

import pytest
import requests

from tcia_assets.catalog import DIALECTS as SPOKEN
from tcia_assets.catalog import dialect
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox

from .api_client import BINDAAS, DIALECTS, NBIA, ApiClient

ONE = series_rows.load().slice(0, 1).to_pylist()[0]


UID = ONE["SeriesInstanceUID"]


BROKEN = "Server was not able to process your request"


@pytest.mark.parametrize("name", NBIA)
def test_a_wrong_path_or_method_is_a_500_in_plain_text(
    api: ApiClient, sandbox: Sandbox, name: str
) -> None:
    base = sandbox.base_url(name)
    for method, path, problem in [
        ("GET", "getseries", "HTTP 404 Not Found"),
        ("GET", "getSeries/", "HTTP 404 Not Found"),
        ("POST", "getSeries", "HTTP 405 Method Not Allowed"),
        ("DELETE", "getImage", "HTTP 405 Method Not Allowed"),
    ]:
        reply = api.session.request(method, f"{base}/{path}", timeout=5)
        assert (reply.status_code, reply.text) == (500, f"{BROKEN}\n{problem}")
        assert reply.headers["Content-Type"] == "text/plain"


def test_v4_has_no_shared_lists(api: ApiClient, sandbox: Sandbox) -> None:
    assert api.session.get(f"{sandbox.base_url()}/getContentsByName", timeout=5).status_code == 500


@pytest.mark.parametrize("name", BINDAAS)
def test_an_unknown_query_is_a_404_in_bindaas(api: ApiClient, sandbox: Sandbox, name: str) -> None:
    url = f"{sandbox.base_url(name)}/TCIA/query/getUpdatedSeries"
    assert api.session.get(url, headers=api.credentials(name), timeout=5).status_code == 404


def test_the_path_of_shared_lists_is_beside_tcia(api: ApiClient, sandbox: Sandbox) -> None:
    base = sandbox.base_url("bindaas-v4")
    sent = {"name": "Segmentations"}
    right = api.session.get(f"{base}/SharedList/query/ContentsByName", params=sent, timeout=5)
    wrong = api.session.get(f"{base}/TCIA/query/ContentsByName", params=sent, timeout=5)
    assert (right.status_code, wrong.status_code) == (200, 404)


def test_every_declared_path_is_served(sandbox: Sandbox, api: ApiClient) -> None:
    for spoken in SPOKEN:
        for endpoint in spoken.endpoints:
            reply = api(spoken.name, endpoint.name)
            assert reply.status_code != 404
            assert "HTTP 40" not in reply.text


@pytest.mark.parametrize("name", DIALECTS)
def test_a_head_request_runs_the_handler(api: ApiClient, sandbox: Sandbox, name: str) -> None:
    path = dialect(name).endpoint("getImage").path
    reply = requests.head(
        f"{sandbox.base_url(name)}/{path}",
        params={"SeriesInstanceUID": UID},
        headers=api.credentials(name),
        timeout=5,
    )
    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "[::1]:{port}"}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Host": "evil.org"}, 403),
        ({"Host": "127.0.0.1.evil.org:{port}"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.org"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/_sandbox/hold", "/nbia-api/services/v4/getCollectionValues"])
def test_a_page_of_another_site_is_refused(
    sandbox: Sandbox, path: str, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(port=sandbox.port) for name, value in headers.items()}
    sent["Content-Type"] = "text/plain"
    method = "POST" if "_sandbox" in path else "GET"
    body = '{"series": []}' if method == "POST" else ""
    reply = requests.request(method, sandbox.url + path, data=body, headers=sent, timeout=5)
    assert (reply.status_code == 403) == (status == 403), reply.text


def test_a_body_has_a_limit(sandbox: Sandbox) -> None:
    for body in (bytes(17 << 20), iter([bytes(1 << 20)] * 17)):
        try:
            reply = requests.post(f"{sandbox.url}/_sandbox/hold", data=body, timeout=20)
        except requests.ConnectionError:  # it is answered, and closed, before all is sent
            continue
        assert reply.status_code == 413
