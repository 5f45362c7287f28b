"""Each zip is read again in time: which are due, and what is recorded."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from tcia_assets.catalog import ZIP_READS
from tcia_assets.errors import UsageError
from tcia_assets.images import zip_parts
from tcia_assets.images.verify import verify_parts, verify_zips
from tcia_assets.images.zip_parts import (
    PARTS,
    PartRead,
    Subset,
    count_proven,
    due_parts,
    list_parts,
    record_reads,
    rows_of_parts,
)
from tcia_assets_tests.images.many import SERIES, put
from tcia_assets_tests.images.place import COLLECTION, Place

LONG_AGO = datetime(2020, 1, 1, 12, tzinfo=UTC)


def part_of(uid: str) -> str:
    return hashlib.md5(uid.encode(), usedforsecurity=False).hexdigest()[:3]


def fetch_at(place: Place, *moments: datetime) -> None:
    """Make the manifest say that the zips were fetched at these moments, one after the other."""
    rows = [place.rows[uid] for uid in place.uids]
    put(
        place,
        *(row | {"fetched_at": moments[n % len(moments)]} for n, row in enumerate(rows)),
    )


def due(place: Place, days: int, now: datetime) -> list[str]:
    return [each.part for each in due_parts(place.warehouse, [COLLECTION], days, now)]


def read_due(place: Place, days: int, now: datetime) -> int:
    """Record the zips that are due as read at a moment; return how many they are."""
    parts = due_parts(place.warehouse, [COLLECTION], days, now)
    record_reads((PartRead(p, now, p.zips, p.bytes, 0) for p in parts), place.warehouse)
    return sum(part.zips for part in parts)


def test_a_zip_is_in_the_part_of_its_uid_whatever_else_is_there(fetched: Place) -> None:
    parts = list_parts(fetched.warehouse, [COLLECTION])

    assert {each.part for each in parts} == {part_of(uid) for uid in fetched.uids}
    assert sum(each.zips for each in parts) == SERIES
    assert sum(each.bytes for each in parts) == sum(
        row["archive_bytes"] for row in fetched.rows.values()
    )
    for part, row in rows_of_parts(parts, fetched.warehouse).__next__():
        assert part.part == part_of(row.series_instance_uid)


@pytest.mark.parametrize("of", [1, 3, 30, PARTS])
def test_subsets_share_all_parts_without_overlap_and_are_of_equal_size(of: int) -> None:
    subsets = [Subset(number, of) for number in range(1, of + 1)]
    names = [f"{number:03x}" for number in range(PARTS)]
    sizes = [sum(each.contains(name) for name in names) for each in subsets[:40]]

    assert all(sum(each.contains(name) for each in subsets) == 1 for name in names[:: PARTS // 16])
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= PARTS // of


@pytest.mark.parametrize(("number", "of"), [(0, 3), (4, 3), (1, 0), (1, PARTS + 1)])
def test_a_subset_that_there_is_not_is_refused(number: int, of: int) -> None:
    with pytest.raises(UsageError, match="K from 1 to N"):
        Subset(number, of)


def test_the_subsets_of_a_collection_are_all_of_its_zips_once(fetched: Place) -> None:
    checked = [
        verify_zips(COLLECTION, fetched.warehouse, subset=Subset(number, 3)).checked
        for number in (1, 2, 3)
    ]

    assert sum(checked) == SERIES and max(checked) < SERIES
    assert fetched.warehouse.row_count(ZIP_READS, COLLECTION) == len(
        {part_of(uid) for uid in fetched.uids}
    )


def test_zips_that_were_fetched_or_read_today_are_not_due(fetched: Place) -> None:
    now = datetime.now(UTC)
    fetch_at(fetched, now)
    assert due(fetched, 1, now) == []

    fetch_at(fetched, LONG_AGO)
    assert verify_parts(due_parts(fetched.warehouse, [COLLECTION], 1, now), fetched.warehouse)
    assert due(fetched, 1, datetime.now(UTC)) == []


def test_each_zip_is_read_within_so_many_days_a_share_a_day(fetched: Place) -> None:
    fetch_at(fetched, LONG_AGO)
    start = LONG_AGO + timedelta(days=1)
    read = [read_due(fetched, 4, start + timedelta(days=day)) for day in range(12)]

    assert sum(read[:5]) >= SERIES
    assert all(2 <= zips <= 4 for zips in read)
    for day in (4, 8, 11):
        now = start + timedelta(days=day)
        [found] = count_proven(fetched.warehouse, [COLLECTION], now - timedelta(days=5))
        assert found["zips_proven"] == found["zips"] == SERIES


def test_a_second_run_of_a_day_reads_what_the_first_has_left(fetched: Place) -> None:
    fetch_at(fetched, LONG_AGO)
    now = LONG_AGO + timedelta(days=1)
    quota = due(fetched, 3, now)
    first, *rest = due_parts(fetched.warehouse, [COLLECTION], 3, now)
    record_reads([PartRead(first, now, first.zips, first.bytes, 0)], fetched.warehouse)

    assert due(fetched, 3, now + timedelta(hours=1)) == [each.part for each in rest]
    assert len(quota) == len(rest) + 1


def test_what_is_overdue_is_read_beyond_the_share_of_the_day(fetched: Place) -> None:
    fetch_at(fetched, LONG_AGO)

    assert len(due(fetched, 90, LONG_AGO + timedelta(days=1))) == 1
    assert len(due(fetched, 90, LONG_AGO + timedelta(days=91))) == len(
        {part_of(uid) for uid in fetched.uids}
    )


def test_those_proven_longest_ago_come_first(fetched: Place) -> None:
    fetch_at(fetched, *(LONG_AGO + timedelta(days=n) for n in reversed(range(SERIES))))
    order = [each.part for each in list_parts(fetched.warehouse, [COLLECTION])]

    assert order == [part_of(uid) for uid in reversed(fetched.uids)]


def test_an_earlier_copy_of_a_series_that_failed_counts_from_its_last_read(fetched: Place) -> None:
    """Its row tells when the fetch failed, not when the zip was proven."""
    uid = fetched.uids[0]
    put(fetched, fetched.rows[uid] | {"status": "incomplete", "fetched_at": datetime.now(UTC)})

    assert list_parts(fetched.warehouse, [COLLECTION])[0].part == part_of(uid)
    verify_zips(COLLECTION, fetched.warehouse)
    [found] = count_proven(fetched.warehouse, [COLLECTION], LONG_AGO)
    assert found["zips_proven"] == SERIES


def test_rows_come_in_batches_in_the_order_of_their_parts(
    fetched: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_parts, "_BATCH_ZIPS", 5)
    parts = list_parts(fetched.warehouse, [COLLECTION])
    batches = list(rows_of_parts(parts, fetched.warehouse))

    assert len(batches) > 1 and all(len(batch) <= 6 for batch in batches)
    assert [part for batch in batches for part, _ in batch] == [
        part for part in parts for _ in range(part.zips)
    ]


def test_a_damaged_zip_is_counted_in_its_part(fetched: Place) -> None:
    uid = fetched.uids[0]
    fetched.zip(uid).write_bytes(b"")
    verify_zips(COLLECTION, fetched.warehouse)
    rows = fetched.warehouse.read(ZIP_READS, [COLLECTION]).to_pylist()

    assert {row["part"]: row["damaged"] for row in rows if row["damaged"]} == {part_of(uid): 1}
    assert sum(row["zips"] for row in rows) == SERIES
