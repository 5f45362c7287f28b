"""Which selected Series are to be tried now, by Collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tcia_assets.images.run_reasons import (
    find_images_to_fetch,
    find_other_releases,
    pending_images,
)
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets_tests.images.many import put, selected
from tcia_assets_tests.images.place import COLLECTION, Place


def pending(place: Place, *, after: timedelta = timedelta(0), **chosen: Any) -> list[Any]:
    now = datetime.now(UTC) + after
    return pending_images(selected(**chosen), place.warehouse, now)


def test_series_not_tried_as_they_are_now_are_pending(mirror: Place) -> None:
    done, failed, changed = mirror.uids[:3]
    mirror.spoil("status", failed, status=502)
    mirror.fetch(done, failed, changed)
    mirror.sandbox.archive.revise([changed])
    mirror.refresh()
    [(collection, count, digest)] = pending(mirror)

    waiting = [changed, *mirror.uids[3:]]
    assert (collection, count) == (COLLECTION, len(waiting))
    assert pending(mirror, series=waiting) == [(collection, count, digest)]


def test_a_failed_series_is_pending_again_after_one_hour_then_two(
    mirror: Place,
) -> None:
    uid = mirror.uids[0]
    mirror.spoil("status", uid, status=502)
    hour, digests = timedelta(hours=1), []
    mirror.fetch(uid)
    for attempts in (1, 2, 3):
        put(mirror, mirror.rows[uid] | {"attempts": attempts})
        assert pending(mirror, series=(uid,), after=0.9 * attempts * hour) == []
        [(_, _, digest)] = pending(mirror, series=(uid,), after=attempts * hour)
        digests.append(digest)

    assert len(set(digests)) == 3
    mirror.sandbox.faults.clear()
    mirror.fetch(uid)
    assert pending(mirror, series=(uid,), after=24 * hour) == []


def test_the_digest_changes_with_each_pending_series(mirror: Place) -> None:
    def digest() -> str:
        [(_, _, found)] = pending(mirror)
        return found

    before = digest()
    assert digest() == before
    mirror.sandbox.archive.revise([mirror.uids[3]])
    mirror.refresh()
    assert digest() != before


def test_images_are_not_to_be_fetched_in_quiet_hours_and_again_after_them(mirror: Place) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    during = QuietHours((now - hour).time(), (now + hour).time())
    before = [QuietHours((now - 3 * hour).time(), (now - ended * hour).time()) for ended in (1, 2)]
    assert find_images_to_fetch(selected(quiet_hours=during), mirror.warehouse) == []
    # A run that quiet hours ended may have fetched nothing: it must be requested once more.
    digests = {
        reason.digest
        for quiet in (None, *before)
        for reason in find_images_to_fetch(selected(quiet_hours=quiet), mirror.warehouse)
    }
    assert len(digests) == 3


def test_a_collection_that_was_compared_with_another_release_is_found(mirror: Place) -> None:
    listed, others = [COLLECTION, "unknown"], "25.0.5"
    assert find_other_releases("", listed, mirror.warehouse) == []
    [first] = find_other_releases(others, listed, mirror.warehouse)
    assert (first.collection, first.series) == (COLLECTION, 0)
    assert find_other_releases(others, listed, mirror.warehouse) == [first]
    assert find_other_releases(others, ["unknown"], mirror.warehouse) == []
    # After another comparison it is another reason, so that a run can be requested again.
    mirror.refresh()
    assert find_other_releases(others, listed, mirror.warehouse) != [first]
