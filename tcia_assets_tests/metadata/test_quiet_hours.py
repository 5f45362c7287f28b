"""Hours of each day in which no images are fetched."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from tcia_assets.errors import TciaError
from tcia_assets.metadata.quiet_hours import QuietHours

OFFICE = QuietHours(time(8), time(18), "Europe/Berlin")
NIGHT = QuietHours(time(22), time(6, 30))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        # Berlin is two hours ahead of UTC in summer, and one in winter.
        (OFFICE, "2026-07-01T05:59:59", None),
        (OFFICE, "2026-07-01T06:00:00", "2026-07-01T16:00:00"),
        (OFFICE, "2026-07-01T15:59:59", "2026-07-01T16:00:00"),
        (OFFICE, "2026-07-01T16:00:00", None),
        (OFFICE, "2026-12-01T06:30:00", None),
        (OFFICE, "2026-12-01T07:00:00", "2026-12-01T17:00:00"),
        (NIGHT, "2026-12-31T21:59:59", None),
        (NIGHT, "2026-12-31T22:00:00", "2027-01-01T06:30:00"),
        (NIGHT, "2027-01-01T00:00:00", "2027-01-01T06:30:00"),
        (NIGHT, "2027-01-01T06:30:00", None),
    ],
)
def test_a_moment_is_in_quiet_hours_by_local_time(
    quiet: QuietHours, now: str, until: str | None
) -> None:
    assert quiet.until(at(now)) == (at(until) if until else None)


@pytest.mark.parametrize(
    ("quiet", "now", "begin", "end"),
    [
        (OFFICE, "2026-07-01T05:00:00", "2026-07-01T06:00:00", "2026-06-30T16:00:00"),
        (OFFICE, "2026-07-01T17:00:00", "2026-07-02T06:00:00", "2026-07-01T16:00:00"),
        (NIGHT, "2027-01-01T07:00:00", "2027-01-01T22:00:00", "2027-01-01T06:30:00"),
        # Summer time begins on 2026-03-29 at 01:00 UTC.
        (OFFICE, "2026-03-28T23:00:00", "2026-03-29T06:00:00", "2026-03-28T17:00:00"),
    ],
)
def test_the_quiet_hours_before_and_after_a_moment_are_known(
    quiet: QuietHours, now: str, begin: str, end: str
) -> None:
    assert (quiet.next_begin(at(now)), quiet.last_end(at(now))) == (at(begin), at(end))


def test_their_fields_are_those_that_they_are_made_from() -> None:
    fields = {"from": "08:00", "to": "18:00", "timezone": "Europe/Berlin"}
    assert QuietHours.from_fields(fields) == OFFICE and OFFICE.to_fields() == fields
    assert QuietHours.from_fields({"from": "22:00", "to": "06:30"}) == NIGHT
    exact = QuietHours(time(8, 0, 1), time(9, 30))
    assert QuietHours.from_fields(exact.to_fields()) == exact
    assert str(OFFICE) == "08:00 to 18:00, Europe/Berlin"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("08:00-18:00", "it must be like {from: "),
        ({"from": "08:00"}, "it must be like {from: "),
        ({"from": "8", "to": "18"}, "from is '8'; it must be a time such as"),
        ({"from": "08:00", "to": "25:00"}, "to is '25:00'"),
        ({"from": "08:00+02:00", "to": "18:00"}, "from is '08:00"),
        ({"from": "08:00", "to": "08:00"}, "from and to are the same time"),
        ({"from": "08:00", "to": "18:00", "timezone": "Berlin"}, "no time zone 'Berlin'"),
        ({"from": "08:00", "to": "18:00", "timezone": "../x"}, r"no time zone '\.\./x'"),
        ({"from": "08:00", "to": "18:00", "zone": "UTC"}, "'zone'"),
    ],
)
def test_what_cannot_be_used_is_refused(given: object, said: str) -> None:
    with pytest.raises(TciaError, match=said):
        QuietHours.from_fields(given)
