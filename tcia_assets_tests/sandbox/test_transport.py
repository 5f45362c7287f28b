"""Faults of the connection."""

from __future__ import annotations

import itertools
import json
import time

import pytest
import requests

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import COLLECTION, image, list_series

from .api_client import ApiClient

CUT_OFF = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


def test_a_status_carries_its_body_and_retry_after(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(
        Fault("status", status=429, retry_after="7", body="slow down", content_type="text/plain")
    )
    reply = list_series(api)
    assert (reply.status_code, reply.text) == (429, "slow down")
    assert reply.headers["Retry-After"] == "7"


def test_replies_of_html_no_bytes_and_no_data(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("html"), Fault("empty"), Fault("no_data"))
    page, empty, no_data = (list_series(api) for _ in range(3))
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    assert page.text.startswith("<html>")
    assert (empty.status_code, empty.content) == (200, b"")
    assert "Content-Type" not in empty.headers
    assert (no_data.status_code, no_data.text) == (500, "No data found.")


@pytest.mark.parametrize("kind", ["reset", "unterminated"])
@pytest.mark.parametrize("send", [list_series, image])
def test_a_connection_breaks_in_the_middle(
    api: ApiClient, sandbox: Sandbox, kind: str, send: object
) -> None:
    sandbox.faults.add(Fault(kind, after_bytes=700))
    with pytest.raises(CUT_OFF) as caught:
        send(api)  # type: ignore[operator]
    assert ("reset" in str(caught.value).lower()) == (kind == "reset")
    assert send(api).status_code == 200  # type: ignore[operator]


def test_bytes_before_a_break_are_received(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("unterminated", after_bytes=700))
    url = f"{sandbox.base_url()}/getSeries"
    got: list[bytes] = []
    with requests.get(url, stream=True, timeout=5) as reply, pytest.raises(CUT_OFF):
        got.extend(reply.iter_content(100))
    assert sum(map(len, got)) == 700


@pytest.mark.parametrize("send", [list_series, image])
def test_a_cut_body_looks_complete(api: ApiClient, sandbox: Sandbox, send: object) -> None:
    sandbox.faults.add(Fault("cut", after_bytes=1234))
    reply = send(api)  # type: ignore[operator]
    assert (reply.status_code, len(reply.content)) == (200, 1234)


def test_json_is_cut_right_after_a_comma(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("cut_after_comma", after_bytes=5000))
    body = list_series(api).content
    assert body.endswith(b",")
    assert 4000 < len(body) <= 5000
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_xml_is_cut_in_the_middle(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("cut", after_bytes=3000))
    assert not list_series(api, format="xml").text.endswith("</Results>")


def test_a_hang_lasts_as_long_as_its_seconds_and_blocks_no_other_request(
    api: ApiClient, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("hang", seconds=5))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{sandbox.base_url()}/getSeries", timeout=0.1)
    start = time.monotonic()
    assert list_series(api).status_code == 200
    assert time.monotonic() - start < 4
    sandbox.faults.add(Fault("hang", seconds=0.3))
    start = time.monotonic()
    assert list_series(api).json()
    assert time.monotonic() - start >= 0.3


def test_a_drip_sends_single_bytes(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("drip", seconds=0.02))
    url, sent = f"{sandbox.base_url()}/getSeries", {"Collection": COLLECTION}
    with requests.get(url, params=sent, stream=True, timeout=5) as reply:
        pieces = list(itertools.islice(reply.raw.stream(1, decode_content=False), 5))
    assert pieces == [b"[", b"{", b'"', b"S", b"e"]
