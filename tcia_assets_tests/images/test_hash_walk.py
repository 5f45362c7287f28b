"""A walk compares a whole node by one request, and Series one by one below what differs."""

from __future__ import annotations

from tcia_assets.images.hash_walk import ComparedSeries, HashWalk
from tcia_assets.sandbox.faults import Fault
from tcia_assets_tests.images.place import Place

UNKNOWN = "1.2.3"


def leaf(uid: str, digest: str | None) -> dict[str, str | None]:
    return {"SeriesInstanceUID": uid, "hash": digest}


def test_a_series_without_a_hash_is_skipped_and_one_that_is_gone_has_none(fetched: Place) -> None:
    known = fetched.uids[0]
    with fetched.source() as source:
        right = source.md5_hash(SeriesInstanceUID=known)
        walk = HashWalk(source)
        walk.compare_series([leaf(known, right), leaf(UNKNOWN, "f" * 32), leaf("1.2.4", None)])

    assert walk.compared == [
        ComparedSeries(known, right, right),
        ComparedSeries(UNKNOWN, "f" * 32, ""),
    ]
    assert [each.is_equal for each in walk.compared] == [True, False]
    assert (walk.requests, walk.not_requested) == (2, 0)


def test_what_a_source_has_answered_is_not_requested_again(fetched: Place) -> None:
    leaves = [leaf(uid, "f" * 32) for uid in (*fetched.uids[:2], UNKNOWN)]
    with fetched.source() as source:
        first = HashWalk(source)
        first.compare_series(leaves)
        again = HashWalk(source, answers=first.answers)
        again.compare_series(leaves)

    assert again.compared == first.compared
    assert (first.requests, again.requests) == (3, 0)


def test_requests_end_at_their_limit_and_what_is_left_is_counted(fetched: Place) -> None:
    seen: list[tuple[int, int]] = []
    with fetched.source() as source:
        walk = HashWalk(source, 1, lambda done, total, *_: seen.append((done, total)))
        walk.compare_series([leaf(uid, "f" * 32) for uid in fetched.uids[:3]])

    assert (walk.requests, len(walk.compared), walk.not_requested) == (1, 1, 2)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_failure_ends_the_walk_and_keeps_what_was_compared(fetched: Place) -> None:
    failing = fetched.uids[1]
    fetched.sandbox.faults.add(
        Fault("status", "getMD5Hierarchy", series=failing, times=0, status=404)
    )
    with fetched.source() as source:
        walk = HashWalk(source)
        walk.compare_series([leaf(uid, "f" * 32) for uid in fetched.uids[:3]])

    assert [each.uid for each in walk.compared] == [fetched.uids[0]]
    assert "404" in walk.failure and walk.not_requested == 2
