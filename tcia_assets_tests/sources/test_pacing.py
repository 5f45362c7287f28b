"""Waits and limits of retries, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.errors import (
    ArchiveBroken,
    NotPublic,
    RemoteError,
    RequestRefused,
    UnknownReply,
    UnreadableReply,
)
from tcia_assets.sources import Pacing


@given(attempt=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_the_longest_and_are_spread(attempt: int, chance: float) -> None:
    pacing = Pacing(first_wait_s=0.5, longest_wait_s=30)
    longest = min(30, 0.5 * 2 ** (attempt - 1))
    wait = pacing.wait_s(ArchiveBroken("busy"), attempt, chance)
    assert longest / 2 <= wait <= longest


def test_pauses_grow() -> None:
    waits = [Pacing().wait_s(ArchiveBroken("busy"), attempt, 0.5) for attempt in range(1, 6)]
    assert waits == sorted(set(waits))


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (100.0, 60.0)])
def test_what_the_archive_asks_to_wait_is_waited_up_to_a_limit(asked: float, waited: float) -> None:
    error = ArchiveBroken("busy")
    error.retry_after_s = asked
    assert Pacing(longest_retry_after_s=60).wait_s(error, 1, 0.9) == waited


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ArchiveBroken("down", status=503), 5),
        (ArchiveBroken("cut"), 5),
        (ArchiveBroken("typo?", status=500), 3),
        (UnknownReply("nothing"), 3),
        (UnreadableReply("html"), 3),
        (RequestRefused("no", status=400), 1),
        (NotPublic("no", status=400), 1),
    ],
)
def test_how_often_is_asked_depends_on_what_asking_again_can_help(
    error: RemoteError, attempts: int
) -> None:
    made = 1
    while Pacing().may_retry(error, made):
        made += 1
    assert made == attempts == Pacing().most_attempts(error)
