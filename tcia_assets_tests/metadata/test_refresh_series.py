"""A refresh of Series writes events, rows and the record of the listing, in this order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tcia_assets.catalog import SERIES, SERIES_CHANGES, SNAPSHOTS
from tcia_assets.spec import Table
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import (
    DAY_1,
    FROM,
    TO,
    SandboxMirror,
    day,
    killed_before_writing,
)


@pytest.mark.slow
def test_thirty_scripted_days_give_the_scripted_history(mirror: SandboxMirror) -> None:
    late, revised, gone, back, mover, relabelled = uids = mirror.uids(FROM, 6)
    archive = mirror.archive
    script: dict[int, Callable[[], object]] = {
        1: lambda: archive.hold([late]),
        3: lambda: archive.revise([revised], image_count=7),
        5: lambda: archive.release([late]),
        6: lambda: archive.withdraw([gone]),
        9: lambda: archive.hide([back]),
        11: lambda: archive.show([back]),
        14: lambda: archive.move([mover], to=TO),
        17: lambda: archive.hide([back]),
        20: lambda: archive.move([mover], to=FROM),
        22: lambda: (archive.show([back]), archive.revise([back], image_count=9)),
        25: lambda: archive.revise([revised, relabelled], image_count=8),
    }
    days = {}
    # A Series is withdrawn by the third listing that lacks it; other quiet days change nothing.
    quiet = (2, 4, 7, 8, 10, 18, 19, 30)
    for number in sorted([*script, *quiet]):
        script.get(number, lambda: None)()
        mirror.refresh(day(number), FROM, TO)
        days[number] = mirror.known()

    expected = [
        *((uid, FROM, "added", day(1)) for uid in uids if uid != late),
        (revised, FROM, "changed", day(3)),
        (late, FROM, "added", day(5)),
        (gone, FROM, "missing", day(6)),
        (gone, FROM, "withdrawn", day(8)),
        (back, FROM, "missing", day(9)),
        (back, FROM, "reappeared", day(11)),
        (mover, FROM, "missing", day(14)),
        (mover, FROM, "moved", day(14)),
        (mover, TO, "added", day(14)),
        (back, FROM, "missing", day(17)),
        (back, FROM, "withdrawn", day(19)),
        (mover, FROM, "reappeared", day(20)),
        (mover, TO, "missing", day(20)),
        (mover, TO, "moved", day(20)),
        (back, FROM, "reappeared", day(22)),
        (revised, FROM, "changed", day(25)),
        (relabelled, FROM, "changed", day(25)),
    ]
    assert sorted(mirror.events(uids)) == sorted(expected)
    everything = mirror.events()
    assert {event for uid, _, event, _ in everything if uid not in uids} == {"added"}
    for number, known in days.items():
        assert mirror.known_at(day(number)) == known
    assert mirror.known_at(day(14) + timedelta(hours=23)) == days[14]
    assert mirror.known_at(DAY_1 - timedelta(microseconds=1)) == []
    since = mirror.warehouse.query("FROM changes_since($at)", {"at": day(22)})
    assert set(since["seen_at"].to_pylist()) == {day(25)}


def test_without_changes_only_the_record_of_the_listing_is_written(
    mirror: SandboxMirror,
) -> None:
    def files() -> dict[Path, bytes]:
        paths = (mirror.warehouse.path(table, SMALL) for table in (SERIES, SERIES_CHANGES))
        return {path: path.read_bytes() for path in paths}

    mirror.start()
    before = files()
    [done] = mirror.refresh(day(2), SMALL)
    assert files() == before
    assert not done.written.changed
    assert done.facts["events"] == 0
    taken = mirror.warehouse.read(SNAPSHOTS, [SMALL])
    assert taken["taken_at"].to_pylist() == [day(1), day(2)]
    assert taken["changes"].to_pylist() == [10, 0]


@pytest.mark.parametrize(
    ("table", "what_then"),
    [
        # What is expected differs between these; the others end as one of them does.
        (SERIES_CHANGES, "as before"),
        (SERIES, "another change"),
        (SERIES, "as before"),
        (SNAPSHOTS, "the same"),
        (SNAPSHOTS, "as before"),
        pytest.param(SERIES_CHANGES, "the same", marks=pytest.mark.slow),
        pytest.param(SERIES_CHANGES, "another change", marks=pytest.mark.slow),
        pytest.param(SERIES, "the same", marks=pytest.mark.slow),
        pytest.param(SNAPSHOTS, "another change", marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_kill_between_two_writes_neither_loses_nor_doubles_an_event(
    mirror: SandboxMirror, monkeypatch: pytest.MonkeyPatch, table: Table, what_then: str
) -> None:
    gone, other = mirror.uids(SMALL, 2)
    mirror.start()
    mirror.archive.hide([gone])
    with killed_before_writing(table, monkeypatch):
        mirror.refresh(day(2), SMALL)
    known = mirror.known()
    # Events that no row counts change neither the past nor the present.
    assert mirror.known_at(day(2)) == known
    if what_then == "another change":
        mirror.archive.revise([other], image_count=77)
    if what_then == "as before":
        mirror.archive.show([gone])
    mirror.refresh(day(3), SMALL)

    seen_at = day(2) if table is SNAPSHOTS else day(3)
    expected = [(uid, SMALL, "added", day(1)) for uid in (gone, other)]
    if what_then != "as before":
        expected.append((gone, SMALL, "missing", seen_at))
    elif table is SNAPSHOTS:
        expected += [(gone, SMALL, "missing", day(2)), (gone, SMALL, "reappeared", day(3))]
    if what_then == "another change":
        expected.append((other, SMALL, "changed", day(3)))
    assert sorted(mirror.events([gone, other])) == sorted(expected)
    owned = mirror.warehouse.query("SELECT sum(changes)::BIGINT AS n FROM series")
    kept = mirror.warehouse.query("SELECT count(number) AS n FROM series_changes")
    assert owned["n"].to_pylist() == kept["n"].to_pylist()


def test_a_first_refresh_that_was_killed_starts_again(
    mirror: SandboxMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_before_writing(SERIES, monkeypatch):
        mirror.refresh(day(1), SMALL)
    assert mirror.known_at(day(9)) == []
    mirror.refresh(day(2), SMALL)
    assert {at for *_, at in mirror.events()} == {day(2)}
    assert len(mirror.events()) == 10
