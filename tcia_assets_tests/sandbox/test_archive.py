"""Changes to Series, as clients see them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tcia_assets.errors import UnknownName
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.one_collection import (
    COLLECTION,
    UIDS,
    collections,
    list_series,
    row_of,
)

from .api_client import ApiClient


def test_series_are_held_and_released_on_a_date(api: ApiClient, sandbox: Sandbox) -> None:
    held = sandbox.archive.hold(collection=COLLECTION, count=3)
    assert held == UIDS[-3:]
    assert list_series(api) == UIDS[:-3]
    assert sandbox.archive.release(collection=COLLECTION, count=1, day=dt.date(2026, 5, 4)) == [
        UIDS[-1]
    ]
    assert row_of(api, UIDS[-1])["DateReleased"] == "2026-05-04 00:00:00.0"
    sandbox.archive.release(held)
    assert list_series(api) == UIDS
    today = dt.datetime.now(dt.UTC).date().isoformat()
    assert row_of(api, UIDS[-3])["DateReleased"].startswith(today)


def test_a_hidden_series_reappears_with_its_release_date(api: ApiClient, sandbox: Sandbox) -> None:
    before = row_of(api, UIDS[0])
    sandbox.archive.hide(UIDS[:1])
    assert list_series(api) == UIDS[1:]
    sandbox.archive.show(UIDS[:1])
    assert row_of(api, UIDS[0]) == before


def test_a_revision_changes_the_bytes_the_timestamp_and_optionally_the_count(
    api: ApiClient, sandbox: Sandbox
) -> None:
    uid = UIDS[0]
    before, size = row_of(api, uid), api.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=uid)
    image = api("nbia-v4", "getImage", {"SeriesInstanceUID": uid}).content
    sandbox.archive.revise([uid], image_count=before["ImageCount"] + 2)
    after = row_of(api, uid)
    assert after["ImageCount"] == before["ImageCount"] + 2
    assert after["TimeStamp"] > before["TimeStamp"]
    assert after["DateReleased"] == before["DateReleased"]
    per_object = before["FileSize"] // before["ImageCount"]
    assert after["FileSize"] == per_object * after["ImageCount"]
    [resized] = api.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=uid)
    assert resized == {"TotalSizeInBytes": after["FileSize"], "ObjectCount": after["ImageCount"]}
    assert [resized] != size
    assert api("nbia-v4", "getImage", {"SeriesInstanceUID": uid}).content != image


def test_a_collection_without_visible_series_disappears(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.archive.withdraw(collection=COLLECTION)
    assert COLLECTION not in collections(api)
    for endpoint in ("getSeries", "getPatient", "getPatientStudy", "getModalityValues"):
        assert api("nbia-v4", endpoint, {"Collection": COLLECTION}).content == b""


def test_a_withdrawn_series_cannot_be_released(sandbox: Sandbox) -> None:
    sandbox.archive.withdraw(UIDS[:1])
    with pytest.raises(UnknownName):
        sandbox.archive.release(UIDS[:2])
    assert sandbox.archive.find(UIDS[1])


def test_a_moved_series_is_in_its_new_collection_only(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.archive.move(UIDS[:2], to="New Home")
    assert list_series(api, "new home") == UIDS[:2]
    assert list_series(api) == UIDS[2:]
    assert "New Home" in collections(api)


def test_an_unknown_collection_is_an_error_with_suggestions(sandbox: Sandbox) -> None:
    with pytest.raises(UnknownName, match="LCTSC"):
        sandbox.archive.hold(collection="LCTS")


def test_a_reset_undoes_all_changes(api: ApiClient, sandbox: Sandbox) -> None:
    before = sorted(map(str, api.rows("nbia-v1", "getSeries")))
    sandbox.archive.hold(collection="VICTRE")
    sandbox.archive.revise(UIDS, image_count=1)
    sandbox.archive.move(UIDS[:3], to="X")
    sandbox.archive.share("mine", UIDS)
    sandbox.reset()
    assert sorted(map(str, api.rows("nbia-v1", "getSeries"))) == before
    assert "mine" not in sandbox.archive.lists


def test_changes_are_kept_over_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.parquet"
    with Sandbox(state=state) as first:
        held = first.archive.hold(collection=COLLECTION, count=2)
        [revised] = first.archive.revise(UIDS[:1], image_count=3)
    with Sandbox(state=state) as again:
        listed = again.archive.rows("SELECT SeriesInstanceUID AS uid FROM archive.series")
        facts = again.archive.find(revised)
        assert not {row["uid"] for row in listed} & set(held)
        assert facts is not None
        assert (facts.image_count, facts.revision) == (3, 1)
        assert len(dict(again.archive.objects(facts))) == 3
        again.reset()
    with Sandbox(state=state) as anew:
        listed = anew.archive.rows("SELECT SeriesInstanceUID AS uid FROM archive.series")
        assert set(held) < {row["uid"] for row in listed}
