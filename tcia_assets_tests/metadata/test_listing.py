"""Merging a listing removes no Series, and dates what happened to each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import SERIES
from tcia_assets.errors import RepeatedKey, UnknownReply, UsageError
from tcia_assets.metadata.listing import (
    LISTED,
    MergeResult,
    count_lost,
    mark_moved,
    mark_withdrawn,
    merge,
)
from tcia_assets.store.conform import check
from tcia_assets_tests.examples import examples
from tcia_assets_tests.metadata.listings import DAY_1, SOURCE, UNKNOWN, after, day, listed, row


def test_a_source_lists_all_columns_except_those_that_are_maintained_here() -> None:
    assert set(SERIES.column_names) - set(LISTED.column_names) == {
        "source",
        "fingerprint",
        "first_seen_at",
        "listed_since",
        "changed_at",
        "missing_since",
        "missing_snapshots",
        "missing_counted_at",
        "withdrawn_at",
        "withdrawn_in_release",
        "moved_to",
        "changes",
    }


def test_all_series_of_a_first_listing_are_new() -> None:
    seen = after(listed(b=1, a=2))
    assert (seen.new, seen.unchanged, seen.rows.num_rows) == (2, 0, 2)
    assert seen.rows.schema.equals(SERIES.schema, check_metadata=True)
    assert seen.rows["SeriesInstanceUID"].to_pylist() == ["a", "b"]
    assert row(seen, "a") | {"fingerprint": ""} == dict.fromkeys(SERIES.column_names) | {
        "SeriesInstanceUID": "a",
        "Collection": "4D-Lung",
        "ImageCount": 2,
        "source": SOURCE,
        "fingerprint": "",
        "first_seen_at": DAY_1,
        "listed_since": DAY_1,
        "changed_at": DAY_1,
        "missing_snapshots": 0,
    }


def test_an_equal_listing_changes_nothing() -> None:
    first = after(listed(a=1, b=1))
    again = merge(first.rows, listed(b=1, a=1), at=day(2), source=SOURCE)
    assert again.rows.equals(first.rows, check_metadata=True)
    assert (again.new, again.changed, again.unchanged) == (0, 0, 2)


def test_changed_at_moves_only_with_the_fingerprint() -> None:
    seen = after(listed(a=1, b=1), listed(a=1, b=1), listed(a=1, b=2))
    assert (seen.changed, seen.unchanged) == (1, 1)
    assert (row(seen, "a")["changed_at"], row(seen, "b")["changed_at"]) == (DAY_1, day(3))
    assert row(seen, "b")["first_seen_at"] == DAY_1
    assert row(seen, "b")["ImageCount"] == 2


def test_columns_outside_the_fingerprint_are_updated_without_a_change() -> None:
    names = listed(a=1)
    adult = names.append_column("PatientAge", pa.array(["063Y"]))
    seen = after(names, adult)
    assert (seen.changed, seen.unchanged) == (0, 1)
    assert row(seen, "a")["PatientAge"] == "063Y"


def test_a_series_that_is_no_longer_listed_stays_and_is_missing_at_once() -> None:
    seen = after(listed(a=1, b=1), listed(a=1), listed(a=1))
    assert (seen.missing, seen.withdrawn, seen.unchanged) == (1, 0, 1)
    gone = row(seen, "b")
    assert (gone["missing_since"], gone["missing_snapshots"]) == (day(2), 2)
    assert gone["withdrawn_at"] is None
    assert gone["ImageCount"] == 1


def test_a_listing_that_only_adds_leaves_absent_series_unchanged() -> None:
    seen = after(listed(a=1, b=1, c=1), listed(a=1, b=1))
    added = merge(seen.rows, listed(a=2, d=1), at=day(9), source=SOURCE, only_adds=True)
    assert (added.new, added.changed, added.due) == (1, 1, ())
    for uid in "bc":
        assert row(added, uid) == row(seen, uid)


def test_a_series_that_moved_away_belongs_here_again_when_it_reappears() -> None:
    seen = after(listed(a=1, b=1))
    rows = mark_moved(seen.rows, {"b": "LCTSC"})
    still = merge(rows, listed(a=1, b=1), at=day(2), source=SOURCE)
    assert still.rows.equals(rows)
    gone = merge(rows, listed(a=1), at=day(2), source=SOURCE)
    assert (gone.missing, gone.moved) == (0, 1)
    back = merge(gone.rows, listed(a=1, b=1), at=day(3), source=SOURCE)
    assert row(back, "b")["moved_to"] is None
    assert row(back, "b")["listed_since"] == day(3)
    assert row(back, "b")["first_seen_at"] == DAY_1


def test_a_listing_id_has_its_instant_and_a_hash_of_all_that_it_listed() -> None:
    first = after(listed(a=1, b=1))
    assert first.listing_id == after(listed(b=1, a=1)).listing_id
    assert first.listing_id.startswith("20260101T000000.000000Z ")
    others = [
        merge(first.rows, names, at=DAY_1, source=SOURCE).listing_id
        for names in (listed(a=1), listed(a=1, b=2), listed(a=1, c=1), listed(a=1, b=1, c=1))
    ]
    assert len({first.listing_id, *others}) == 5
    assert (
        merge(first.rows, listed(a=1, b=1), at=day(2), source=SOURCE).listing_id != first.listing_id
    )


def test_lost_series_are_counted_among_those_listed_until_now() -> None:
    seen = after(listed(a=1, b=1, c=1), listed(a=1, b=1))
    assert count_lost(seen.rows, listed(b=1, x=1)) == (2, 1)
    assert count_lost(UNKNOWN, listed(a=1)) == (0, 0)


@pytest.mark.parametrize("absences", [1, 3])
def test_a_series_that_reappears_is_as_before(absences: int) -> None:
    seen = after(listed(a=1, b=1), *[listed(a=1)] * absences)
    rows = mark_withdrawn(seen.rows, seen.due, at=day(4))
    back = merge(rows, listed(a=1, b=1), at=day(5), source=SOURCE)
    assert (back.reappeared, back.new, back.changed, back.unchanged) == (1, 0, 0, 1)
    found = row(back, "b")
    assert found["missing_since"] is None
    assert found["withdrawn_at"] is None
    assert found["missing_snapshots"] == 0
    assert (found["first_seen_at"], found["changed_at"]) == (DAY_1, DAY_1)


def test_an_empty_listing_is_refused_if_series_are_known() -> None:
    seen = after(listed(a=1))
    with pytest.raises(UnknownReply, match="no Series are listed, although 1 are known"):
        merge(seen.rows, listed(), at=day(2), source=SOURCE)


def test_an_empty_listing_of_an_empty_collection_is_accepted() -> None:
    seen = merge(UNKNOWN, listed(), at=DAY_1, source=SOURCE)
    assert seen == replace(
        MergeResult(SERIES.schema.empty_table()), rows=seen.rows, listing_id=seen.listing_id
    )
    assert merge(seen.rows, listed(), at=day(2), source=SOURCE).rows.num_rows == 0


def test_a_listing_that_contradicts_itself_is_refused() -> None:
    names = pa.concat_tables([listed(a=1), listed(a=2)])
    with pytest.raises(RepeatedKey, match="'a' differ in ImageCount"):
        merge(UNKNOWN, names, at=DAY_1, source=SOURCE)


def test_a_listing_may_repeat_rows() -> None:
    assert after(pa.concat_tables([listed(a=1), listed(a=1)])).rows.num_rows == 1


def test_the_time_of_a_listing_needs_a_time_zone() -> None:
    with pytest.raises(UsageError, match="time zone"):
        merge(UNKNOWN, listed(a=1), at=datetime(2026, 1, 1), source=SOURCE)  # noqa: DTZ001
    tokyo = timezone(timedelta(hours=9))
    seen = merge(UNKNOWN, listed(a=1), at=datetime(2026, 1, 1, 9, tzinfo=tokyo), source=SOURCE)
    assert row(seen, "a")["first_seen_at"] == DAY_1


def test_rows_stored_before_a_column_existed_are_merged() -> None:
    old = after(listed(a=1, b=1)).rows.drop_columns(["missing_snapshots", "source", "Authorized"])
    seen = merge(old, listed(a=1), at=day(2), source=SOURCE)
    assert row(seen, "b")["missing_snapshots"] == 1
    assert (row(seen, "a")["source"], row(seen, "b")["source"]) == (SOURCE, None)


@dataclass
class Life:
    """The expected row of one Series, listing by listing."""

    count: int
    first_seen_at: datetime
    changed_at: datetime
    missing: list[datetime] = field(default_factory=list)

    def listed_with(self, count: int, at: datetime) -> None:
        if count != self.count:
            self.count, self.changed_at = count, at
        self.missing = []

    def as_row(self) -> tuple[Any, ...]:
        since = self.missing[0] if self.missing else None
        times = min(len(self.missing), 3)
        return self.count, self.first_seen_at, self.changed_at, since, times


LISTS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 2), min_size=1)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(LISTS, min_size=1, max_size=7))
def test_every_history_follows_the_rules_and_loses_nothing(lists: list[dict[str, int]]) -> None:
    lives: dict[str, Life] = {}
    rows = UNKNOWN
    for number, names in enumerate(lists, start=1):
        at = day(number)
        for uid, count in names.items():
            lives.setdefault(uid, Life(count, at, at)).listed_with(count, at)
        for uid in lives.keys() - names.keys():
            lives[uid].missing.append(at)
        seen = merge(rows, listed(**names), at=at, source=SOURCE)
        rows = seen.rows
        check(SERIES, rows)
        facts = ("ImageCount", "first_seen_at", "changed_at", "missing_since")
        found = zip(
            *(rows[name].to_pylist() for name in (*facts, "missing_snapshots")),
            strict=True,
        )
        uids = rows["SeriesInstanceUID"].to_pylist()
        assert dict(zip(uids, found, strict=True)) == {u: x.as_row() for u, x in lives.items()}
        counts = (seen.new, seen.changed, seen.reappeared, seen.unchanged)
        assert sum(counts) == len(names)
        assert seen.missing == len(lives) - len(names)
        assert set(seen.due) == {u for u, life in lives.items() if len(life.missing) >= 3}


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(LISTS, min_size=2, max_size=4))
def test_merging_the_same_listing_twice_is_merging_it_once(lists: list[dict[str, int]]) -> None:
    everything = {uid: 1 for names in lists for uid in names} | lists[-1]
    once = after(*(listed(**names) for names in lists), listed(**everything))
    twice = merge(once.rows, listed(**everything), at=day(99), source=SOURCE)
    assert twice.rows.equals(once.rows, check_metadata=True)
