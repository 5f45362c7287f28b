"""A shared list keeps the rows of Series that it no longer shows."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import SHARED_LISTS
from tcia_assets.errors import UnknownName, UnknownReply
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day
from tcia_assets_tests.store.tables import drop_columns

NAME = "my list"


def refresh_list(mirror: SandboxMirror, number: int) -> RefreshResult:
    at, budget = day(number), ProbeBudget(0)
    return refresh(SHARED_LISTS, NAME, mirror.source, mirror.warehouse, at, budget)


def missing(mirror: SandboxMirror) -> dict[str, object]:
    rows = mirror.warehouse.read(SHARED_LISTS, [NAME]).to_pylist()
    return {row["SeriesInstanceUID"]: row["missing_since"] for row in rows}


def test_a_series_that_is_not_shown_any_more_keeps_its_row(mirror: SandboxMirror) -> None:
    hidden, dropped, *kept = uids = mirror.uids(SMALL, 4)
    mirror.archive.share(NAME, uids)
    first = refresh_list(mirror, 1)
    shown = mirror.warehouse.read(SHARED_LISTS, [NAME])
    mirror.archive.hide([hidden])
    second = refresh_list(mirror, 2)
    mirror.archive.share(NAME, [hidden, *kept])
    third = refresh_list(mirror, 3)

    assert missing(mirror) == {hidden: day(2), dropped: day(3)} | dict.fromkeys(kept)
    stored = mirror.warehouse.read(SHARED_LISTS, [NAME])
    assert stored.drop_columns("missing_since") == shown.drop_columns("missing_since")
    counts = ("listed_before", "listed", "missing")
    assert [[r.facts[n] for n in counts] for r in (first, second, third)] == [
        [0, 4, 0],
        [4, 3, 1],
        [3, 2, 2],
    ]


def test_a_series_that_is_shown_again_is_not_missing(mirror: SandboxMirror) -> None:
    hidden, *_ = uids = mirror.uids(SMALL, 3)
    mirror.archive.share(NAME, uids)
    refresh_list(mirror, 1)
    mirror.archive.hide([hidden])
    refresh_list(mirror, 2)
    mirror.archive.show([hidden])
    refresh_list(mirror, 3)
    assert missing(mirror) == dict.fromkeys(uids)


def test_without_changes_the_file_stays(mirror: SandboxMirror) -> None:
    hidden, *_ = uids = mirror.uids(SMALL, 3)
    mirror.archive.share(NAME, uids)
    refresh_list(mirror, 1)
    mirror.archive.hide([hidden])
    refresh_list(mirror, 2)
    assert not refresh_list(mirror, 3).written.changed


def test_a_list_of_a_version_before_is_read_and_kept(mirror: SandboxMirror) -> None:
    hidden, *_ = uids = mirror.uids(SMALL, 3)
    mirror.archive.share(NAME, uids)
    refresh_list(mirror, 1)
    drop_columns(mirror.warehouse.files(SHARED_LISTS, NAME), "missing_since")
    mirror.archive.hide([hidden])
    refresh_list(mirror, 2)
    assert missing(mirror) == {hidden: day(2)} | dict.fromkeys(uids[1:])


def test_a_list_that_shows_nothing_is_unchanged_and_a_failure(mirror: SandboxMirror) -> None:
    uids = mirror.uids(SMALL, 3)
    mirror.archive.share(NAME, uids)
    refresh_list(mirror, 1)
    mirror.archive.hide(uids)
    with pytest.raises(UnknownReply):
        refresh_list(mirror, 2)
    assert missing(mirror) == dict.fromkeys(uids)


def test_an_unknown_list_is_named(mirror: SandboxMirror) -> None:
    with pytest.raises(UnknownName, match=r"shared list \(or it is empty\).*'my list'"):
        refresh_list(mirror, 1)
    mirror.sandbox.faults.add(Fault("empty", times=0))
    with pytest.raises(UnknownReply):
        refresh_list(mirror, 1)
