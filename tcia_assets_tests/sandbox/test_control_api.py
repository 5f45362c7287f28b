"""Control of the sandbox from another process."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.one_collection import COLLECTION, UIDS, list_series, row_of

from .api_client import ApiClient


@pytest.fixture
def control(sandbox: Sandbox, session: requests.Session) -> Any:
    def post(name: str, sent: Any = None, status: int = 200) -> Any:
        reply = session.post(f"{sandbox.url}/_sandbox/{name}", json=sent or {}, timeout=5)
        assert reply.status_code == status, reply.text
        return reply.json()

    return post


def test_another_process_can_change_the_archive(api: ApiClient, control: Any) -> None:
    held = control("hold", {"collection": COLLECTION, "count": 2})["uids"]
    assert held == UIDS[-2:]
    assert list_series(api) == UIDS[:-2]
    control("release", {"uids": held, "day": "2026-01-02"})
    assert row_of(api, held[0])["DateReleased"].startswith("2026-01-02")
    control("revise", {"uids": held, "image_count": 3})
    assert row_of(api, held[0])["ImageCount"] == 3
    control("move", {"uids": held, "to": "Elsewhere"})
    assert list_series(api, "Elsewhere") == held
    control("hide", {"uids": held})
    control("show", {"uids": held})
    control("withdraw", {"uids": held})
    control("share", {"name": "mine", "uids": UIDS[:1]})
    assert len(api.rows("nbia-v1", "getContentsByName", list_name="mine")) == 1
    control("reset")
    assert list_series(api) == UIDS


def test_another_process_sees_state_and_requests(
    api: ApiClient, sandbox: Sandbox, session: requests.Session, control: Any
) -> None:
    list_series(api)
    control("hold", {"collection": COLLECTION, "count": 2})
    state = session.get(f"{sandbox.url}/_sandbox/state", timeout=5).json()
    [mine] = [c for c in state["collections"] if c["name"] == COLLECTION]
    assert (mine["visible"], mine["hidden"]) == (len(UIDS) - 2, 2)
    seen = session.get(f"{sandbox.url}/_sandbox/requests", timeout=5).json()
    assert seen["counts"] == {"getSeries": 1}
    assert seen["last"][0]["parameters"] == {"Collection": COLLECTION, "format": "json"}
    control("requests/clear")
    assert len(sandbox.requests) == 0


def test_another_process_can_publish_releases(sandbox: Sandbox, control: Any) -> None:
    assert control("idc/publish", {"without": UIDS[:1]}) == {"release": "26.0.0"}
    control("idc/redact", {"uids": UIDS[1:2]})
    assert sandbox.idc.find(sandbox.idc.uuid_of(UIDS[1])) is None
    assert control("idc/page_size", {"objects": 7}) == {"objects": 7}
    assert sandbox.idc.page_size == 7
    assert "after 26.0.0" in control("idc/publish", {"release": "2.0"}, 400)["error"]
    control("reset")
    assert sandbox.idc.release == "25.0.5"


def test_another_process_can_request_faults(api: ApiClient, sandbox: Sandbox, control: Any) -> None:
    fault = {"kind": "status", "status": 502}
    assert control("faults", [fault, {"kind": "empty"}]) == {"due": 2}
    assert api("nbia-v4", "getSeries").status_code == 502
    control("faults/clear")
    assert api("nbia-v4", "getSeries").json()
    token = {"Authorization": f"Bearer {api.token()}"}
    control("tokens/expire")
    assert api("nbia-v2", "getCollectionValues", headers=token).status_code == 401
    assert len(sandbox.faults) == 0


@pytest.mark.parametrize(
    ("name", "sent", "hint"),
    [
        ("hold", {"collection": "LCTS"}, "LCTSC"),
        ("hold", {"colection": "LCTSC"}, "colection"),
        ("hold", {"uids": ["1.2.3"]}, "1.2.3"),
        ("release", {"uids": [], "day": "soon"}, "soon"),
        ("revise", {"uids": UIDS[:1], "image_count": "many"}, "many"),
        ("faults", {"kind": "earthquake"}, "earthquake"),
        ("faults", {"endpoint": "getSeries"}, "needs a kind"),
        ("faults", {"kind": "empty", "tmes": 2}, "times"),
    ],
)
def test_a_wrong_control_request_is_an_error_that_names_the_mistake(
    control: Any, name: str, sent: Any, hint: str
) -> None:
    assert hint in control(name, sent, status=400)["error"]
    control("revise", {"uids": UIDS[:1]})


def test_an_unknown_control_path_is_an_error_with_the_valid_ones(control: Any) -> None:
    assert "withdraw" in control("nothing", status=404)["error"]
