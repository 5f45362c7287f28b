"""The history keeps each event once, and restores each day of the past."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count as numbers
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import RESTORED_COLUMNS, SERIES, SERIES_CHANGES
from tcia_assets.errors import DataError, UsageError
from tcia_assets.metadata import history
from tcia_assets.metadata.events import diff_events
from tcia_assets.metadata.history import FetchEvent, record_fetch_events
from tcia_assets.metadata.listing import merge
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.examples import examples
from tcia_assets_tests.metadata.mirror import DAY_1, SandboxMirror, day, refreshed_without
from tcia_assets_tests.store.tables import drop_columns


def test_removed_rows_of_series_do_not_remove_their_history(mirror: SandboxMirror) -> None:
    refreshed_without(mirror, days=1)
    mirror.warehouse.path(SERIES, SMALL).unlink()
    before = mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes()
    with pytest.raises(DataError, match="the Series of 'LCTSC' are missing, but their history"):
        mirror.refresh(day(3), SMALL)
    assert mirror.warehouse.path(SERIES_CHANGES, SMALL).read_bytes() == before


def test_series_stored_before_the_history_were_added_when_first_seen(
    mirror: SandboxMirror,
) -> None:
    mirror.start()
    uid = mirror.uids(SMALL, 1)[0]
    new = ("changes", "listed_since", "moved_to", "missing_counted_at")
    drop_columns(mirror.warehouse.files(SERIES, SMALL), *new)
    mirror.warehouse.path(SERIES_CHANGES, SMALL).unlink()
    mirror.archive.revise([uid], image_count=3)
    mirror.refresh(day(2), SMALL)
    assert {event[2:] for event in mirror.events()} == {("added", day(1))}
    assert mirror.row(uid, SMALL)["listed_since"] == day(1)


def fetched(uid: str, mark: str, at: datetime, event: str = "fetched") -> FetchEvent:
    return FetchEvent(uid, event, at, mark, fingerprint_after="f")


def test_a_fetch_event_is_stored_once(mirror: SandboxMirror) -> None:
    [uid] = mirror.uids(SMALL, 1)
    mirror.start()
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


def test_an_event_that_is_not_a_fetch_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match="'changed' is not one of fetched and refetched"):
        record_fetch_events(SMALL, [fetched("1", "a", DAY_1, "changed")], warehouse)
    with pytest.raises(UsageError, match="time zone"):
        record_fetch_events(SMALL, [fetched("1", "a", DAY_1.replace(tzinfo=None))], warehouse)
    assert not warehouse.has(SERIES_CHANGES, SMALL)


def test_the_history_of_an_empty_warehouse_is_empty(warehouse: Warehouse) -> None:
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


VERSIONS = st.lists(st.lists(FACTS, min_size=4, max_size=4), min_size=2, max_size=4)


@settings(max_examples=examples(5), deadline=None)
@given(VERSIONS)
def test_every_value_comes_back_as_it_was(
    shared: Warehouse, versions: list[list[tuple[Any, ...]]]
) -> None:
    key, before = f"of {next(ANOTHER)}", empty(SERIES)
    names = ("SeriesInstanceUID", "Collection", *NAMES)
    schema = pa.schema([SERIES.schema.field(name) for name in names])
    for number, facts in enumerate(versions, start=1):
        rows = [
            dict(zip(names, (f"1.{place}", key, *values), strict=True))
            for place, values in enumerate(facts)
        ]
        listed = pa.Table.from_pylist(rows, schema=schema)
        merged = merge(before, listed, at=day(number), source="x")
        after, events = diff_events(
            before, merged.rows, at=day(number), listing_id=merged.listing_id
        )
        history.write_events(key, before, events, shared)
        shared.write(SERIES, after, key)
        before = after
    for number, facts in enumerate(versions, start=1):
        known = shared.query(
            f"SELECT {', '.join(NAMES)} FROM series_as_of($at) WHERE Collection = $key "
            "ORDER BY SeriesInstanceUID",
            {"at": day(number), "key": key},
        )
        assert [tuple(row.values()) for row in known.to_pylist()] == facts
