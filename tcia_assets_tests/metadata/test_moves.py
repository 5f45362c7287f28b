"""A Series belongs to one Collection, whichever of them is refreshed first."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import SERIES, SERIES_CHANGES
from tcia_assets.metadata import moves
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import FROM, TO, SandboxMirror, day


@pytest.mark.parametrize("order", [(FROM, TO), (TO, FROM)], ids=["old first", "new first"])
@pytest.mark.parametrize(
    "apart", [0, pytest.param(1, marks=pytest.mark.slow)], ids=["one run", "two runs"]
)
def test_a_move_is_the_same_whichever_collection_is_refreshed_first(
    mirror: SandboxMirror, order: tuple[str, str], apart: int
) -> None:
    [uid] = mirror.uids(FROM, 1)
    mirror.refresh(day(1), FROM, TO)
    mirror.archive.move([uid], to=TO)
    if apart:
        for number, name in enumerate(order, start=2):
            mirror.refresh(day(number), name)
            assert mirror.homes(uid) == ([FROM] if (name, number) == (FROM, 2) else [TO])
    else:
        mirror.refresh(day(2), *order)

    assert mirror.homes(uid) == [TO]
    assert mirror.row(uid, FROM)["moved_to"] == TO
    assert moves.moved_series(TO, mirror.warehouse) == {FROM: [uid]}
    assert moves.moved_series(FROM, mirror.warehouse) == {}
    events = {(where, event) for _, where, event, _ in mirror.events([uid])}
    expected = {(FROM, "added"), (FROM, "missing"), (FROM, "moved"), (TO, "added")}
    assert events == expected
    assert len(mirror.events([uid])) == 4
    # It is not withdrawn from its old Collection, and needs no probe.
    for number in range(5, 9):
        [done] = mirror.refresh(day(number), FROM)
        assert (done.facts["due"], done.cost.requests) == (0, 1)
    assert mirror.row(uid, FROM)["withdrawn_at"] is None


def test_a_series_listed_by_two_collections_belongs_to_the_latest(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(FROM, 1)
    mirror.refresh(day(1), FROM, TO)
    mirror.archive.move([uid], to=TO)
    mirror.refresh(day(2), TO)
    mirror.archive.move([uid], to=FROM)  # as a cached listing would show it
    mirror.refresh(day(3), FROM)
    assert mirror.homes(uid) == [TO]
    files = [mirror.warehouse.path(t, FROM) for t in (SERIES, SERIES_CHANGES)]
    before = [path.read_bytes() for path in files]
    mirror.refresh(day(4), FROM)
    assert [path.read_bytes() for path in files] == before
    mirror.refresh(day(5), TO)
    assert mirror.homes(uid) == [FROM]


def test_a_series_found_in_a_collection_that_is_not_mirrored_has_moved_there(
    mirror: SandboxMirror,
) -> None:
    [uid] = mirror.uids(FROM, 1)
    mirror.refresh(day(1), FROM)
    mirror.archive.move([uid], to="New Collection")
    for number in (2, 3, 4):
        mirror.refresh(day(number), FROM)
    assert mirror.row(uid, FROM)["moved_to"] == "New Collection"
    assert [event for *_, event, _ in mirror.events([uid])] == ["added", "missing", "moved"]
    assert mirror.homes(uid) == []


def test_a_collection_that_is_renamed_has_each_series_once(mirror: SandboxMirror) -> None:
    uids = mirror.uids(SMALL, 100)
    mirror.start()
    mirror.archive.move(uids, to="Renamed")
    mirror.refresh(day(2), "Renamed")
    assert {tuple(mirror.homes(uid)) for uid in uids} == {("Renamed",)}
    assert mirror.row(uids[0], SMALL)["missing_since"] is None
