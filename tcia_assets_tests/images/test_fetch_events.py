"""Each fetch of a Series is in its history, once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tcia_assets import catalog
from tcia_assets.images import fetch
from tcia_assets.images.fetch_events import record_new_zips
from tcia_assets_tests.images.many import NOW, put, row
from tcia_assets_tests.images.moves import events
from tcia_assets_tests.images.place import COLLECTION, Place


class Killed(BaseException):
    """What stands for a kill."""


def killed(*_: object) -> None:
    raise Killed


@pytest.fixture
def zipped(mirror: Place) -> Place:
    """The manifest rows of two complete Series and of one that failed."""
    for uid, sha256 in zip(mirror.uids, ("a", "b"), strict=False):
        put(mirror, row(uid, "complete", sha256=sha256, attempts=0, error=None))
    put(mirror, row(mirror.uids[2]))
    return mirror


def recorded(place: Place, uid: str) -> list[str]:
    record_new_zips(COLLECTION, place.warehouse)
    return [event for _, event in events(place, uid) if event != "added"]


def test_a_complete_zip_is_recorded_once(zipped: Place) -> None:
    complete, _, failed, *_ = zipped.uids

    assert recorded(zipped, complete) == ["fetched"]
    before = zipped.warehouse.path(catalog.SERIES_CHANGES, COLLECTION).stat()
    assert (recorded(zipped, complete), recorded(zipped, failed)) == (["fetched"], [])
    assert zipped.warehouse.path(catalog.SERIES_CHANGES, COLLECTION).stat() == before


def test_another_zip_of_a_series_is_a_fetch_of_its_own(zipped: Place) -> None:
    uid = zipped.uids[0]
    recorded(zipped, uid)
    later = NOW + timedelta(days=1)
    put(zipped, row(uid, "complete", sha256="c", attempts=0, error=None, fetched_at=later))

    assert recorded(zipped, uid) == ["fetched", "refetched"]


def test_only_the_series_that_were_added_are_looked_for(zipped: Place) -> None:
    added, other, *_ = zipped.uids
    record_new_zips(COLLECTION, zipped.warehouse, {added})

    assert [len(events(zipped, uid)) for uid in (added, other)] == [2, 1]
    record_new_zips(COLLECTION, zipped.warehouse, set())
    assert len(events(zipped, other)) == 1
    record_new_zips(COLLECTION, zipped.warehouse)
    assert len(events(zipped, other)) == 2


def test_a_run_killed_before_its_fetches_are_recorded_leaves_them_to_the_next(
    mirror: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, then, *_ = mirror.uids
    mirror.fetch(first)
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "record_new_zips", killed)
        with pytest.raises(Killed):
            mirror.fetch(then)
    assert mirror.rows[then]["status"] == "complete"
    assert len(events(mirror, then)) == 1
    mirror.fetch(first)

    assert [event for _, event in events(mirror, then)] == ["added", "fetched"]
    mirror.demand_sound()
