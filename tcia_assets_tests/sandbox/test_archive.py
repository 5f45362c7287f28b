"""What happens to Series, as it shows over HTTP, and the control paths that make it happen."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
import requests

from tcia_assets.errors import UnknownName
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.server import Sandbox

from .conftest import Asker

CATALOGUE = series_rows.load().to_pylist()
COLLECTION = "LCTSC"
UIDS = sorted(r["SeriesInstanceUID"] for r in CATALOGUE if r["Collection"] == COLLECTION)


def listed(ask: Asker, collection: str = COLLECTION) -> list[str]:
    rows = ask.rows("nbia-v4", "getSeries", Collection=collection)
    return sorted(row["SeriesInstanceUID"] for row in rows)


def row_of(ask: Asker, uid: str) -> dict[str, Any]:
    [row] = ask.rows("nbia-v1", "getSeries", SeriesInstanceUID=uid)
    return row


def collections(ask: Asker) -> set[str]:
    return {row["Collection"] for row in ask.rows("nbia-v4", "getCollectionValues")}


def test_series_are_held_back_and_released_on_a_day(ask: Asker, sandbox: Sandbox) -> None:
    held = sandbox.archive.hold(collection=COLLECTION, count=3)
    assert held == UIDS[-3:]
    assert listed(ask) == UIDS[:-3]
    assert sandbox.archive.release(collection=COLLECTION, count=1, day=dt.date(2026, 5, 4)) == [
        UIDS[-1]
    ]
    assert row_of(ask, UIDS[-1])["DateReleased"] == "2026-05-04 00:00:00.0"
    sandbox.archive.release(held)
    assert listed(ask) == UIDS
    today = dt.datetime.now(dt.UTC).date().isoformat()
    assert row_of(ask, UIDS[-3])["DateReleased"].startswith(today)


def test_a_hidden_series_returns_with_its_old_date(ask: Asker, sandbox: Sandbox) -> None:
    before = row_of(ask, UIDS[0])
    sandbox.archive.hide(UIDS[:1])
    assert listed(ask) == UIDS[1:]
    sandbox.archive.show(UIDS[:1])
    assert row_of(ask, UIDS[0]) == before


def test_a_revision_has_other_bytes_a_new_stamp_and_perhaps_another_count(
    ask: Asker, sandbox: Sandbox
) -> None:
    uid = UIDS[0]
    before, size = row_of(ask, uid), ask.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=uid)
    image = ask("nbia-v4", "getImage", {"SeriesInstanceUID": uid}).content
    sandbox.archive.revise([uid], image_count=before["ImageCount"] + 2)
    after = row_of(ask, uid)
    assert after["ImageCount"] == before["ImageCount"] + 2
    assert after["TimeStamp"] > before["TimeStamp"]
    assert after["DateReleased"] == before["DateReleased"]
    per_object = before["FileSize"] // before["ImageCount"]
    assert after["FileSize"] == per_object * after["ImageCount"]
    [resized] = ask.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=uid)
    assert resized == {"TotalSizeInBytes": after["FileSize"], "ObjectCount": after["ImageCount"]}
    assert [resized] != size
    assert ask("nbia-v4", "getImage", {"SeriesInstanceUID": uid}).content != image


def test_a_collection_without_visible_series_vanishes(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.archive.withdraw(collection=COLLECTION)
    assert COLLECTION not in collections(ask)
    for endpoint in ("getSeries", "getPatient", "getPatientStudy", "getModalityValues"):
        assert ask("nbia-v4", endpoint, {"Collection": COLLECTION}).content == b""


def test_a_withdrawn_series_cannot_come_back(sandbox: Sandbox) -> None:
    sandbox.archive.withdraw(UIDS[:1])
    with pytest.raises(UnknownName):
        sandbox.archive.release(UIDS[:2])
    assert sandbox.archive.find(UIDS[1])


def test_a_moved_series_is_in_its_new_collection_only(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.archive.move(UIDS[:2], to="New Home")
    assert listed(ask, "new home") == UIDS[:2]
    assert listed(ask) == UIDS[2:]
    assert "New Home" in collections(ask)


def test_an_unknown_collection_names_near_ones(sandbox: Sandbox) -> None:
    with pytest.raises(UnknownName, match="LCTSC"):
        sandbox.archive.hold(collection="LCTS")


def test_a_reset_undoes_everything(ask: Asker, sandbox: Sandbox) -> None:
    before = sorted(map(str, ask.rows("nbia-v1", "getSeries")))
    sandbox.archive.hold(collection="VICTRE")
    sandbox.archive.revise(UIDS, image_count=1)
    sandbox.archive.move(UIDS[:3], to="X")
    sandbox.archive.share("mine", UIDS)
    sandbox.reset()
    assert sorted(map(str, ask.rows("nbia-v1", "getSeries"))) == before
    assert "mine" not in sandbox.archive.lists


def test_a_reply_is_one_snapshot_while_series_come_and_go(ask: Asker, sandbox: Sandbox) -> None:
    stop = threading.Event()

    def blink() -> None:
        while not stop.is_set():
            sandbox.archive.hide(UIDS)
            sandbox.archive.show(UIDS)

    changing = threading.Thread(target=blink)
    changing.start()
    try:
        for _ in range(60):
            assert listed(ask) in ([], UIDS)
    finally:
        stop.set()
        changing.join()


def test_a_catalogue_may_be_a_file(tmp_path: Any) -> None:
    with Archive(series_rows.SMALL_CATALOGUE) as archive:
        assert archive.source
        assert archive.find(UIDS[0])


# --- The control paths --------------------------------------------------------------------------


@pytest.fixture
def control(sandbox: Sandbox, session: requests.Session) -> Any:
    def post(name: str, sent: Any = None, status: int = 200) -> Any:
        reply = session.post(f"{sandbox.url}/_sandbox/{name}", json=sent or {}, timeout=5)
        assert reply.status_code == status, reply.text
        return reply.json()

    return post


def test_another_process_can_change_the_archive(ask: Asker, control: Any) -> None:
    held = control("hold", {"collection": COLLECTION, "count": 2})["uids"]
    assert held == UIDS[-2:]
    assert listed(ask) == UIDS[:-2]
    control("release", {"uids": held, "day": "2026-01-02"})
    assert row_of(ask, held[0])["DateReleased"].startswith("2026-01-02")
    control("revise", {"uids": held, "image_count": 3})
    assert row_of(ask, held[0])["ImageCount"] == 3
    control("move", {"uids": held, "to": "Elsewhere"})
    assert listed(ask, "Elsewhere") == held
    control("hide", {"uids": held})
    control("show", {"uids": held})
    control("withdraw", {"uids": held})
    control("share", {"name": "mine", "uids": UIDS[:1]})
    assert len(ask.rows("nbia-v1", "getContentsByName", list_name="mine")) == 1
    control("reset")
    assert listed(ask) == UIDS


def test_another_process_sees_state_and_requests(
    ask: Asker, sandbox: Sandbox, session: requests.Session, control: Any
) -> None:
    listed(ask)
    control("hold", {"collection": COLLECTION, "count": 2})
    state = session.get(f"{sandbox.url}/_sandbox/state", timeout=5).json()
    [mine] = [c for c in state["collections"] if c["name"] == COLLECTION]
    assert (mine["visible"], mine["hidden"]) == (len(UIDS) - 2, 2)
    seen = session.get(f"{sandbox.url}/_sandbox/requests", timeout=5).json()
    assert seen["counts"] == {"getSeries": 1}
    assert seen["last"][0]["parameters"] == {"Collection": COLLECTION, "format": "json"}
    control("requests/clear")
    assert len(sandbox.requests) == 0


def test_another_process_can_ask_for_faults(ask: Asker, sandbox: Sandbox, control: Any) -> None:
    fault = {"kind": "status", "status": 502}
    assert control("faults", [fault, {"kind": "empty"}]) == {"due": 2}
    assert ask("nbia-v4", "getSeries").status_code == 502
    control("faults/clear")
    assert ask("nbia-v4", "getSeries").json()
    token = {"Authorization": f"Bearer {ask.token()}"}
    control("tokens/expire")
    assert ask("nbia-v2", "getCollectionValues", headers=token).status_code == 401
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
def test_a_wrong_control_request_says_what_is_wrong(
    control: Any, name: str, sent: Any, hint: str
) -> None:
    assert hint in control(name, sent, status=400)["error"]
    control("revise", {"uids": UIDS[:1]})


def test_an_unknown_control_path_lists_those_that_there_are(control: Any) -> None:
    assert "withdraw" in control("nothing", status=404)["error"]
