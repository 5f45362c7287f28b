"""A change event has the columns that changed and their values before and after."""

from __future__ import annotations

import json
from pathlib import Path

from tcia_assets.catalog import SERIES, SNAPSHOTS
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day


def test_an_event_has_the_columns_that_changed_and_their_values(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.start()
    before = mirror.row(uid, SMALL)
    mirror.archive.revise([uid], image_count=before["ImageCount"] + 1)
    mirror.refresh(day(2), SMALL)
    now = mirror.row(uid, SMALL)

    added, changed = mirror.changes(uid)
    assert (added["event_id"], added["before"], added["changed_columns"]) == ("1 added", None, None)
    assert added["fingerprint_after"] == before["fingerprint"] == changed["fingerprint_before"]
    assert changed["fingerprint_after"] == now["fingerprint"]
    assert changed["changed_columns"] == ["ImageCount", "MaxSubmissionTimestamp", "FileSize"]
    assert json.loads(changed["before"])["ImageCount"] == before["ImageCount"]
    assert json.loads(changed["after"])["ImageCount"] == now["ImageCount"]
    names = mirror.warehouse.read(SNAPSHOTS, [SMALL])["snapshot"].to_pylist()
    assert [added["snapshot"], changed["snapshot"]] == names
    assert now["changes"] == 2


def test_a_series_that_reappears_changed_has_one_event(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.start()
    mirror.archive.hide([uid])
    mirror.refresh(day(2), SMALL)
    mirror.archive.show([uid])
    mirror.archive.revise([uid], image_count=3)
    mirror.refresh(day(3), SMALL)

    assert [e["event"] for e in mirror.changes(uid)] == ["added", "missing", "reappeared"]
    assert "ImageCount" in mirror.changes(uid)[-1]["changed_columns"]
    assert mirror.changes(uid)[1]["changed_columns"] == []


def test_the_same_archive_under_a_different_port_is_no_change(
    mirror: SandboxMirror, tmp_path: Path
) -> None:
    mirror.start()
    with Sandbox() as other:
        elsewhere = SandboxMirror(other, tmp_path)
        with elsewhere.source:
            elsewhere.refresh(day(2), SMALL)

    assert {event for _, _, event, _ in mirror.events()} == {"added"}
    sources = mirror.warehouse.read(SERIES, [SMALL])["source"].unique().to_pylist()
    assert sources == [f"nbia-v4@127.0.0.1:{other.port}"]
