"""What became of each Series, replayed: the history is the script, and every day comes back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tcia_assets.catalog import RESTORED_COLUMNS, SERIES, SERIES_CHANGES, SNAPSHOTS
from tcia_assets.errors import DataError, UnknownReply, UsageError
from tcia_assets.metadata import history, moves, plausibility
from tcia_assets.metadata.budget import RunBudget
from tcia_assets.metadata.events import diff_events
from tcia_assets.metadata.history import FetchEvent, record_fetch_events
from tcia_assets.metadata.listing import WithdrawalPolicy, merge
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for

DAY_1 = datetime(2026, 1, 1, 3, tzinfo=UTC)
# Large enough that a few Series less are plausible.
FROM, TO = "RIDER PHANTOM PET-CT", "Vestibular-Schwannoma-MC-RC"


def day(number: int) -> datetime:
    return DAY_1 + timedelta(days=number - 1)


class Mirror:
    """A warehouse that follows the sandbox, one refresh after the other."""

    def __init__(self, sandbox: Sandbox, root: Path, **chosen: int) -> None:
        settings = settings_for(sandbox, root).replace(**chosen)
        self.archive, self.sandbox = sandbox.archive, sandbox
        self.source = open_source(settings, pacing=IMPATIENT)
        self.warehouse = Warehouse(root)

    def refresh(self, at: datetime, *collections: str, probes: int = 100) -> list[RefreshResult]:
        budget = RunBudget(0, probes)
        done = [
            refresh(SERIES, name, self.source, self.warehouse, at, budget) for name in collections
        ]
        moves.settle_moves(self.warehouse, at)
        return done

    def uids(self, collection: str, count: int) -> list[str]:
        rows = self.archive.rows(
            "SELECT SeriesInstanceUID AS uid FROM archive.series WHERE Collection = ? "
            "ORDER BY uid LIMIT ?",
            [collection, count],
        )
        return [row["uid"] for row in rows]

    def events(self, uids: list[str] | None = None) -> list[tuple[str, str, str, datetime]]:
        """UID, Collection, event and when, in the order in which they were seen."""
        rows = self.warehouse.query(
            "SELECT SeriesInstanceUID, Collection, event, seen_at FROM changes_since('1970-01-01') "
            "ORDER BY seen_at, SeriesInstanceUID, Collection, number"
        ).to_pylist()
        found = [tuple(row.values()) for row in rows]
        return [event for event in found if uids is None or event[0] in uids]

    def changes(self, uid: str) -> list[dict[str, Any]]:
        return self.warehouse.query(
            "FROM series_changes WHERE SeriesInstanceUID = $uid ORDER BY seen_at, number",
            {"uid": uid},
        ).to_pylist()

    def row(self, uid: str, collection: str) -> dict[str, Any]:
        [row] = self.warehouse.query(
            "FROM series WHERE SeriesInstanceUID = $uid AND Collection = $collection",
            {"uid": uid, "collection": collection},
        ).to_pylist()
        return row

    def homes(self, uid: str) -> list[str]:
        """The Collections in which a Series is current."""
        rows = self.warehouse.query(
            "SELECT Collection FROM current_series WHERE SeriesInstanceUID = $uid", {"uid": uid}
        )
        return rows["Collection"].to_pylist()

    def known(self) -> list[dict[str, Any]]:
        """All that is known now and that the history can restore."""
        names = ", ".join(("SeriesInstanceUID", "Collection", *RESTORED_COLUMNS))
        return self.warehouse.query(f"SELECT {names} FROM series ORDER BY ALL").to_pylist()

    def known_at(self, at: datetime) -> list[dict[str, Any]]:
        return self.warehouse.query("FROM series_as_of($at) ORDER BY ALL", {"at": at}).to_pylist()


@pytest.fixture
def mirror(sandbox: Sandbox, tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(sandbox, tmp_path)
    with made.source:
        yield made


# --- Thirty days ----------------------------------------------------------------------------------


def test_thirty_days_of_a_scripted_archive_are_the_scripted_history(mirror: Mirror) -> None:
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
    for number in range(1, 31):
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


def test_an_event_tells_what_changed_from_what_to_what(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.refresh(day(1), SMALL)
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


def test_a_series_that_comes_back_changed_says_so_in_one_event(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.refresh(day(1), SMALL)
    mirror.archive.hide([uid])
    mirror.refresh(day(2), SMALL)
    mirror.archive.show([uid])
    mirror.archive.revise([uid], image_count=3)
    mirror.refresh(day(3), SMALL)

    assert [e["event"] for e in mirror.changes(uid)] == ["added", "missing", "reappeared"]
    assert "ImageCount" in mirror.changes(uid)[-1]["changed_columns"]
    assert mirror.changes(uid)[1]["changed_columns"] == []


def test_where_nothing_changed_nothing_is_written_but_that_it_was_compared(mirror: Mirror) -> None:
    def files() -> dict[Path, bytes]:
        paths = (mirror.warehouse.path(table, SMALL) for table in (SERIES, SERIES_CHANGES))
        return {path: path.read_bytes() for path in paths}

    mirror.refresh(day(1), SMALL)
    before = files()
    [done] = mirror.refresh(day(2), SMALL)
    assert files() == before
    assert not done.written.changed
    assert done.facts["events"] == 0
    taken = mirror.warehouse.read(SNAPSHOTS, [SMALL])
    assert taken["taken_at"].to_pylist() == [day(1), day(2)]
    assert taken["changes"].to_pylist() == [10, 0]


# --- Any script against a model -------------------------------------------------------------------


@dataclass
class Known:
    """What the mirror should know of a Series in a Collection."""

    count: int
    first: datetime
    since: datetime
    missing: list[datetime] = field(default_factory=list)
    withdrawn: bool = False
    moved_to: str | None = None


class Model:
    """The rules in plain Python: where each Series is, who was asked when, and what follows."""

    def __init__(self, homes: dict[str, tuple[str, int]]) -> None:
        self.real: dict[str, tuple[str, int, bool]] = {u: (*h, True) for u, h in homes.items()}
        self.deleted: set[str] = set()
        self.known: dict[tuple[str, str], Known] = {}
        self.events: list[tuple[str, str, str, datetime]] = []

    def refresh(self, collection: str, at: datetime) -> None:
        for uid, (home, count, visible) in self.real.items():
            key = (uid, collection)
            if visible and home == collection:
                self.listed(key, count, at)
            elif key in self.known:
                self.unlisted(key, at)

    def listed(self, key: tuple[str, str], count: int, at: datetime) -> None:
        known = self.known.get(key)
        if known is None:
            self.known[key] = Known(count, at, at)
            self.tell(key, "added", at)
        elif known.missing:
            self.tell(key, "reappeared", at)
            self.known[key] = Known(count, known.first, at)
        elif known.count != count:
            self.tell(key, "changed", at)
            known.count = count

    def unlisted(self, key: tuple[str, str], at: datetime) -> None:
        known = self.known[key]
        if not known.missing:
            self.tell(key, "missing", at)
            known.missing = [at]
        elif not known.withdrawn and not known.moved_to:
            known.missing.append(at)
        home, _, visible = self.real[key[0]]
        if len(known.missing) >= 3 and not known.withdrawn and not known.moved_to:
            if visible:
                known.moved_to = home
                self.tell(key, "moved", at)
            else:
                known.withdrawn = True
                self.tell(key, "withdrawn", at)

    def settle(self, at: datetime) -> None:
        for uid in {uid for uid, _ in self.known}:
            rows = {c: k for (u, c), k in self.known.items() if u == uid}
            here = [(k.since, c) for c, k in rows.items() if not k.missing]
            for name, known in rows.items() if here else ():
                goal = None if name == max(here)[1] else max(here)[1]
                if known.moved_to != goal:
                    self.tell((uid, name), "moved" if goal else "reappeared", at)
                    known.moved_to = goal

    def tell(self, key: tuple[str, str], event: str, at: datetime) -> None:
        self.events.append((*key, event, at))

    def rows(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        return {
            key: (
                *(k.count, k.first, k.since, k.missing[0] if k.missing else None),
                *(k.withdrawn, k.moved_to),
            )
            for key, k in self.known.items()
        }


ACTIONS = st.tuples(
    st.sampled_from(["hide", "show", "withdraw", "move", "revise"]), st.integers(0, 2)
)
DAYS = st.lists(
    st.tuples(
        st.lists(ACTIONS, max_size=2),
        st.sampled_from([(FROM, TO), (TO, FROM), (FROM,), (TO,), ()]),
    ),
    min_size=3,
    max_size=9,
)


def act(model: Model, mirror: Mirror, action: str, uid: str, number: int) -> None:
    if uid in model.deleted:  # which nobody can undo
        return
    home, count, visible = model.real[uid]
    if action == "withdraw":
        mirror.archive.withdraw([uid])
        model.deleted.add(uid)
        model.real[uid] = (home, count, False)
    elif action == "move":
        home = TO if home == FROM else FROM
        mirror.archive.move([uid], to=home)
        model.real[uid] = (home, count, visible)
    elif action == "revise":
        mirror.archive.revise([uid], image_count=100 + number)
        model.real[uid] = (home, 100 + number, visible)
    else:
        getattr(mirror.archive, action)([uid])
        model.real[uid] = (home, count, action == "show")


def rows_of(mirror: Mirror, uids: list[str]) -> dict[tuple[str, str], tuple[Any, ...]]:
    rows = [row for row in mirror.known() if row["SeriesInstanceUID"] in uids]
    return {
        (row["SeriesInstanceUID"], row["Collection"]): (
            *(row[n] for n in ("ImageCount", "first_seen_at", "listed_since", "missing_since")),
            row["withdrawn_at"] is not None,
            row["moved_to"],
        )
        for row in rows
    }


@contextmanager
def fresh_mirror(sandbox: Sandbox) -> Iterator[Mirror]:
    sandbox.reset()
    with tempfile.TemporaryDirectory() as folder:
        made = Mirror(sandbox, Path(folder))
        with made.source:
            yield made
    sandbox.reset()


@examples(max_examples=6, deadline=None)
@given(DAYS)
def test_any_script_gives_the_history_and_the_days_that_the_rules_say(
    served: Sandbox, days: list[tuple[list[tuple[str, int]], tuple[str, ...]]]
) -> None:
    with fresh_mirror(served) as mirror:
        uids = mirror.uids(FROM, 2) + mirror.uids(TO, 1)
        rows = mirror.archive.rows("SELECT * FROM archive.series")
        facts = {r["SeriesInstanceUID"]: (r["Collection"], r["ImageCount"]) for r in rows}
        model = Model({uid: facts[uid] for uid in uids})
        seen: dict[int, list[dict[str, Any]]] = {}
        for number, (actions, asked) in enumerate([([], (FROM, TO)), *days, ([], (TO, FROM))]):
            for action, place in actions:
                act(model, mirror, action, uids[place], number)
            at = day(number)
            mirror.refresh(at, *asked)
            for name in asked:
                model.refresh(name, at)
            model.settle(at)
            assert rows_of(mirror, uids) == model.rows()
            seen[number] = mirror.known()
            for uid in uids:
                assert len(mirror.homes(uid)) <= 1
        assert sorted(mirror.events(uids)) == sorted(model.events)
        for number, known in seen.items():
            assert mirror.known_at(day(number)) == known


# --- Withdrawal -----------------------------------------------------------------------------------


def refreshed_without(mirror: Mirror, *, days: int = 3, probes: int = 100) -> list[RefreshResult]:
    """Refreshes on as many days, from the second on; the first Series of LCTSC is hidden then."""
    mirror.refresh(day(1), SMALL)
    mirror.archive.hide(mirror.uids(SMALL, 1))
    return [
        done
        for number in range(2, days + 2)
        for done in mirror.refresh(day(number), SMALL, probes=probes)
    ]


def test_a_series_is_withdrawn_only_when_the_archive_asked_for_it_knows_it_no_more(
    mirror: Mirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    *_, second, third = refreshed_without(mirror)
    assert (second.facts["due"], second.facts["asked_singly"], second.requests) == (0, 0, 1)
    assert (third.facts["due"], third.facts["asked_singly"], third.facts["withdrawn"]) == (1, 1, 1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4)
    [fourth] = mirror.refresh(day(5), SMALL)
    assert (fourth.facts["due"], fourth.requests) == (0, 1)


def test_probes_beyond_the_budget_are_left_to_the_next_run(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    *_, third = refreshed_without(mirror, probes=0)
    assert (third.facts["due"], third.facts["asked_singly"], third.requests) == (1, 0, 1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] is None
    mirror.refresh(day(5), SMALL, probes=1)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(5)


def test_a_series_that_only_the_list_lacks_is_never_withdrawn(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=2)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    due = rows.filter(pc.equal(rows["SeriesInstanceUID"], uid))
    # The archive answers for the Series, whatever its list of the Collection lacks.
    mirror.archive.show([uid])
    probed = mirror.source.probe(SMALL, due, rows, 10)
    assert (list(probed.gone), probed.elsewhere, probed.failure) == ([], {}, None)


def test_series_that_the_archive_still_knows_keep_no_other_from_being_asked(mirror: Mirror) -> None:
    """Whichever comes first in the table: each is asked sooner or later."""
    for known, gone in (mirror.uids(SMALL, 2), mirror.uids(SMALL, 2)[::-1]):
        mirror.refresh(day(1), SMALL)
        rows = mirror.warehouse.read(SERIES, [SMALL])
        is_due = pc.is_in(rows["SeriesInstanceUID"], value_set=pa.array([known, gone]))
        # Both are counted in their Study, as where the archive tells no counts.
        due, listed = (
            rows.filter(is_due),
            rows.filter(pc.not_equal(rows["SeriesInstanceUID"], gone)),
        )
        mirror.archive.hide([gone])
        found = [mirror.source.probe(SMALL, due, listed, 1).gone for _ in range(40)]
        assert [gone] in found and [] in found
        mirror.archive.show([gone])


def test_a_study_that_counts_more_than_it_lists_keeps_its_series(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.refresh(day(1), SMALL)
    mirror.archive.hide([uid])
    mirror.refresh(day(2), SMALL)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    due = rows.filter(pc.equal(rows["SeriesInstanceUID"], uid))
    study = due["StudyInstanceUID"][0].as_py()
    listed = rows.filter(pc.is_null(rows["missing_since"]))
    fewer = listed.filter(pc.not_equal(listed["StudyInstanceUID"], study))
    assert mirror.source.probe(SMALL, due, listed, 10).gone == [uid]
    probed = mirror.source.probe(SMALL, due, fewer, 10)
    assert (list(probed.gone), probed.probed) == ([], 0)


def test_nothing_is_withdrawn_while_the_archive_has_no_answer_for_what_it_lists(
    mirror: Mirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=2)
    control = mirror.uids(SMALL, 1)[0]
    assert control != uid
    # The list of the Collection comes; then questions about single Series have no answer.
    mirror.sandbox.faults.add(
        *(Fault("empty", "getSeries", times=0, series=each) for each in (uid, control))
    )
    with pytest.raises(UnknownReply):
        mirror.refresh(day(4), SMALL)
    row = mirror.row(uid, SMALL)
    assert (row["withdrawn_at"], row["missing_snapshots"]) == (None, 3)
    mirror.sandbox.faults.clear()
    mirror.refresh(day(4) + timedelta(minutes=5), SMALL)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4) + timedelta(minutes=5)


def test_a_collection_that_is_listed_no_more_loses_no_series(mirror: Mirror) -> None:
    refreshed_without(mirror, days=2)
    rows = mirror.warehouse.read(SERIES, [SMALL])
    mirror.archive.withdraw(collection=SMALL)
    probed = mirror.source.probe(SMALL, rows, rows, 100)
    assert (list(probed.gone), probed.probed) == ([], 0)


def test_a_list_that_lacks_too_much_only_adds_until_days_confirm_it(mirror: Mirror) -> None:
    mirror.refresh(day(1), SMALL)
    gone = mirror.uids(SMALL, 4)
    mirror.archive.withdraw(gone)
    [kept] = mirror.archive.revise(collection=SMALL, count=1, image_count=2)
    facts = {n: mirror.refresh(day(n), SMALL)[0].facts for n in range(2, 8)}

    assert [facts[n]["plausible"] for n in facts] == [False, False, True, True, True, True]
    assert (facts[2]["listed_before"], facts[2]["listed"], facts[2]["missing"]) == (10, 6, 0)
    assert "lacks 4 of the 10 Series" in str(facts[2]["implausible_because"])
    assert mirror.row(kept, SMALL)["changed_at"] == day(2)
    assert {event[1:] for event in mirror.events(gone)} == {
        (SMALL, "added", day(1)),
        (SMALL, "missing", day(4)),
        (SMALL, "withdrawn", day(6)),
    }
    log = mirror.warehouse.read(SNAPSHOTS, [SMALL])
    assert log["lost"].to_pylist() == [0, 4, 4, 4, 0, 0, 0]


def test_a_short_list_that_passes_leaves_no_trace_but_its_mark(mirror: Mirror) -> None:
    mirror.refresh(day(1), SMALL)
    before = mirror.known()
    mirror.archive.hide(collection=SMALL, count=6)
    mirror.refresh(day(2), SMALL)
    mirror.archive.show(collection=SMALL)
    mirror.refresh(day(3), SMALL)
    assert mirror.known() == before
    assert {event for *_, event, _ in mirror.events()} == {"added"}


@examples(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8), st.integers(1, 9))
def test_how_often_implausible_lists_must_be_seen(
    lists: list[tuple[bool, int]], listed: int
) -> None:
    at, rows = DAY_1, []
    for plausible, hours in lists:
        at += timedelta(hours=hours)
        rows.append((at, plausible))
    at += timedelta(hours=5)
    earlier = pa.table(
        {
            "taken_at": pa.array([at for at, _ in rows], pa.timestamp("us", "UTC")),
            "plausible": pa.array([p for _, p in rows], pa.bool_()),
            "listed": pa.array([listed] * len(rows), pa.int64()),
        }
    )
    run = []
    for when, plausible in reversed(rows):
        if plausible:
            break
        run.insert(0, when)
    counted: list[datetime] = []
    for when in [*run, at]:
        if not counted or when >= counted[-1] + timedelta(hours=20):
            counted.append(when)
    verdict = plausibility.judge(listed, 100, 100 - listed, earlier, at, WithdrawalPolicy())
    assert verdict.plausible == (len(counted) >= 3)


def test_after_the_clock_was_set_back_series_are_withdrawn_and_lists_compared_as_before(
    mirror: Mirror,
) -> None:
    [uid] = mirror.uids(SMALL, 1)
    refreshed_without(mirror, days=0)
    mirror.refresh(day(3650), SMALL)
    assert plausibility.last_compared(mirror.warehouse, day(2)) == {SMALL: day(1)}
    for number in (2, 3):
        mirror.refresh(day(number), SMALL)
        assert mirror.row(uid, SMALL)["withdrawn_at"] is None
    assert plausibility.last_compared(mirror.warehouse, day(3)) == {SMALL: day(3)}
    mirror.refresh(day(4), SMALL)
    assert mirror.row(uid, SMALL)["withdrawn_at"] == day(4)


def test_the_log_of_snapshots_reaches_back_however_often_is_asked(mirror: Mirror) -> None:
    for minutes in range(0, 300, 20):
        mirror.refresh(day(1) + timedelta(minutes=minutes), SMALL)
    taken = mirror.warehouse.read(SNAPSHOTS, [SMALL])["taken_at"].to_pylist()
    assert len(taken) <= 2 * 5
    assert (taken[0], taken[-1]) == (day(1), day(1) + timedelta(minutes=280))
    assert plausibility.last_compared(mirror.warehouse, day(2)) == {SMALL: taken[-1]}


# --- Moves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(FROM, TO), (TO, FROM)], ids=["old first", "new first"])
@pytest.mark.parametrize("apart", [0, 1], ids=["one run", "two runs"])
def test_a_move_is_the_same_whichever_collection_is_asked_first(
    mirror: Mirror, order: tuple[str, str], apart: int
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
    assert moves.previous_collections(TO, mirror.warehouse) == {uid: [FROM]}
    assert moves.previous_collections(FROM, mirror.warehouse) == {}
    events = {(where, event) for _, where, event, _ in mirror.events([uid])}
    expected = {(FROM, "added"), (FROM, "missing"), (FROM, "moved"), (TO, "added")}
    assert events == expected
    assert len(mirror.events([uid])) == 4
    # It is not withdrawn from where it was, and costs no question.
    for number in range(5, 9):
        [done] = mirror.refresh(day(number), FROM)
        assert (done.facts["due"], done.requests) == (0, 1)
    assert mirror.row(uid, FROM)["withdrawn_at"] is None


def test_a_series_that_two_collections_list_is_at_home_where_it_came_last(mirror: Mirror) -> None:
    [uid] = mirror.uids(FROM, 1)
    mirror.refresh(day(1), FROM, TO)
    mirror.archive.move([uid], to=TO)
    mirror.refresh(day(2), TO)
    mirror.archive.move([uid], to=FROM)  # which is what a list from a cache says
    mirror.refresh(day(3), FROM)
    assert mirror.homes(uid) == [TO]
    files = [mirror.warehouse.path(t, FROM) for t in (SERIES, SERIES_CHANGES)]
    before = [path.read_bytes() for path in files]
    mirror.refresh(day(4), FROM)
    assert [path.read_bytes() for path in files] == before
    mirror.refresh(day(5), TO)
    assert mirror.homes(uid) == [FROM]


def test_a_series_found_in_a_collection_that_is_not_mirrored_has_moved_there(
    mirror: Mirror,
) -> None:
    [uid] = mirror.uids(FROM, 1)
    mirror.refresh(day(1), FROM)
    mirror.archive.move([uid], to="New Collection")
    for number in (2, 3, 4):
        mirror.refresh(day(number), FROM)
    assert mirror.row(uid, FROM)["moved_to"] == "New Collection"
    assert [event for *_, event, _ in mirror.events([uid])] == ["added", "missing", "moved"]
    assert mirror.homes(uid) == []


def test_a_collection_that_is_renamed_has_each_series_once(mirror: Mirror) -> None:
    uids = mirror.uids(SMALL, 100)
    mirror.refresh(day(1), SMALL)
    mirror.archive.move(uids, to="Renamed")
    mirror.refresh(day(2), "Renamed")
    assert {tuple(mirror.homes(uid)) for uid in uids} == {("Renamed",)}
    assert mirror.row(uids[0], SMALL)["missing_since"] is None


# --- Kills ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("table", [SERIES_CHANGES, SERIES, SNAPSHOTS], ids=lambda t: t.name)
@pytest.mark.parametrize("what_then", ["the same", "another change", "as before"])
def test_a_kill_between_two_writes_neither_loses_nor_doubles_an_event(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, table: Table, what_then: str
) -> None:
    gone, other = mirror.uids(SMALL, 2)
    mirror.refresh(day(1), SMALL)
    mirror.archive.hide([gone])
    write = mirror.warehouse.write

    def killed(written: Table, *more: Any) -> Any:
        if written is table:
            raise Killed
        return write(written, *more)

    with monkeypatch.context() as patch:
        patch.setattr(mirror.warehouse, "write", killed)
        with pytest.raises(Killed):
            mirror.refresh(day(2), SMALL)
    known = mirror.known()
    # What nobody owns disturbs no day of the past, and no present.
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


def test_a_first_refresh_that_was_killed_starts_anew(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = mirror.warehouse.write

    def killed(written: Table, *more: Any) -> Any:
        if written is SERIES:
            raise Killed
        return write(written, *more)

    with monkeypatch.context() as patch:
        patch.setattr(mirror.warehouse, "write", killed)
        with pytest.raises(Killed):
            mirror.refresh(day(1), SMALL)
    assert mirror.known_at(day(9)) == []
    mirror.refresh(day(2), SMALL)
    assert {at for *_, at in mirror.events()} == {day(2)}
    assert len(mirror.events()) == 10


def test_series_that_were_taken_away_do_not_take_their_history_along(mirror: Mirror) -> None:
    refreshed_without(mirror, days=1)
    mirror.warehouse.path(SERIES, SMALL).unlink()
    before = mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes()
    with pytest.raises(DataError, match="the Series of 'LCTSC' are missing, but their history"):
        mirror.refresh(day(3), SMALL)
    assert mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes() == before


def test_series_that_are_older_than_the_history_were_added_when_they_were_first_seen(
    mirror: Mirror,
) -> None:
    mirror.refresh(day(1), SMALL)
    uid, path = mirror.uids(SMALL, 1)[0], mirror.warehouse.path(SERIES, SMALL)
    old = pq.ParquetFile(path).read()
    new = ("changes", "listed_since", "moved_to", "missing_counted_at")
    pq.write_table(old.drop_columns(list(new)), path)
    mirror.warehouse.path(SERIES_CHANGES, SMALL).unlink()
    mirror.archive.revise([uid], image_count=3)
    mirror.refresh(day(2), SMALL)
    assert {event[2:] for event in mirror.events()} == {("added", day(1))}
    assert mirror.row(uid, SMALL)["listed_since"] == day(1)


# --- What became of images ------------------------------------------------------------------------


def fetched(uid: str, mark: str, at: datetime, event: str = "fetched") -> FetchEvent:
    return FetchEvent(uid, event, at, mark, fingerprint_after="f")


def test_what_became_of_images_is_kept_once_and_beside_the_life(mirror: Mirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.refresh(day(1), SMALL)
    record_fetch_events(SMALL, [fetched(uid, "abc", day(2))], mirror.warehouse)
    before = mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes()
    record_fetch_events(SMALL, [fetched(uid, "abc", day(3))], mirror.warehouse)
    record_fetch_events(SMALL, [], mirror.warehouse)
    assert mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes() == before
    again = fetched(uid, "def", day(4), "refetched")
    record_fetch_events(SMALL, [again, again], mirror.warehouse)
    mirror.archive.hide([uid])
    mirror.refresh(day(5), SMALL)

    assert mirror.events([uid]) == [
        (uid, SMALL, "added", day(1)),
        (uid, SMALL, "fetched", day(2)),
        (uid, SMALL, "refetched", day(4)),
        (uid, SMALL, "missing", day(5)),
    ]
    assert len(mirror.known_at(day(2))) == 10


def test_what_is_no_event_of_images_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match="'changed' is not one of fetched and refetched"):
        record_fetch_events(SMALL, [fetched("1", "a", DAY_1, "changed")], warehouse)
    with pytest.raises(UsageError, match="time zone"):
        record_fetch_events(SMALL, [fetched("1", "a", DAY_1.replace(tzinfo=None))], warehouse)
    assert not warehouse.has(SERIES_CHANGES, SMALL)


# --- Asking ---------------------------------------------------------------------------------------


def test_an_empty_warehouse_has_a_history_too(warehouse: Warehouse) -> None:
    known = warehouse.query("FROM series_as_of('2026-01-01')")
    assert known.column_names == ["SeriesInstanceUID", "Collection", *RESTORED_COLUMNS]
    assert known.num_rows == 0
    changes = warehouse.query("FROM changes_since(DATE '2026-01-01')")
    assert changes.column_names == list(SERIES_CHANGES.column_names)
    assert changes.schema.types == SERIES_CHANGES.schema.types


TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=9)
FACTS = st.tuples(
    TEXTS,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.dates(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.booleans(),
)
NAMES = ("SeriesDescription", "SeriesNumber", "SeriesDate", "MaxSubmissionTimestamp", "Authorized")


ANOTHER = numbers(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("shared"))


@examples(max_examples=15, deadline=None)
@given(st.lists(FACTS, min_size=2, max_size=4))
def test_every_value_comes_back_as_it_was(
    shared: Warehouse, versions: list[tuple[Any, ...]]
) -> None:
    key, before = f"of {next(ANOTHER)}", empty(SERIES)
    schema = pa.schema(
        [SERIES.schema.field(n) for n in ("SeriesInstanceUID", "Collection", *NAMES)]
    )
    for number, facts in enumerate(versions, start=1):
        row = {"SeriesInstanceUID": "1.2", "Collection": key} | dict(zip(NAMES, facts, strict=True))
        listed = pa.Table.from_pylist([row], schema=schema)
        seen = merge(before, listed, at=day(number), source="x")
        rows, events = diff_events(before, seen.rows, at=day(number), listing_id=seen.listing_id)
        history.write_events(key, before, events, shared)
        shared.write(SERIES, rows, key)
        before = rows
    for number, facts in enumerate(versions, start=1):
        question = f"SELECT {', '.join(NAMES)} FROM series_as_of($at) WHERE Collection = $key"
        [known] = shared.query(question, {"at": day(number), "key": key}).to_pylist()
        assert tuple(known.values()) == facts
