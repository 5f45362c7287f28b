"""Since when a source does not answer follows from what is stored."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.catalog import COLLECTIONS, SNAPSHOTS
from tcia_assets.errors import (
    ArchiveBroken,
    RemoteError,
    RequestRefused,
    SourceGone,
    UnreadableReply,
)
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.source_outage import (
    counts_as_silence,
    find_outage,
    record_answer,
    record_failure,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.settings import Settings
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.metadata.mirror import SandboxMirror, day

SETTINGS = Settings()


def put_listing(warehouse: Warehouse, number: int, source: str = "nbia-v4@a.org") -> None:
    row = {"taken_at": day(number), "snapshot": "1", "listed": 1, "lost": 0, "changes": 0}
    rows = pa.Table.from_pylist([row | {"plausible": True, "source": source}])
    warehouse.write(SNAPSHOTS, conform(SNAPSHOTS, rows, Collection="LCTSC"), "LCTSC")
    warehouse.ensure_views()


def test_the_first_failure_counts_until_there_is_an_answer(warehouse: Warehouse) -> None:
    assert find_outage(warehouse, SETTINGS, day(1)) is None
    assert not record_failure(warehouse, SETTINGS, "reset", day(1)).is_gone
    later = record_failure(warehouse, SETTINGS, "another", day(15))
    assert (later.since, later.days, later.is_gone, later.why) == (day(1), 14, True, "reset")
    record_answer(warehouse, SETTINGS)
    assert find_outage(warehouse, SETTINGS, day(16)) is None


def test_a_listing_that_is_stored_is_an_answer(warehouse: Warehouse) -> None:
    record_failure(warehouse, SETTINGS, "reset", day(1))
    put_listing(warehouse, 10)
    assert find_outage(warehouse, SETTINGS, day(20)) is None
    assert record_failure(warehouse, SETTINGS, "reset", day(20)).since == day(20)


def test_a_listing_of_another_source_is_none(warehouse: Warehouse) -> None:
    record_failure(warehouse, SETTINGS, "reset", day(1))
    put_listing(warehouse, 10, "idc-v25@s3.amazonaws.com")
    outage = find_outage(warehouse, SETTINGS, day(20))
    assert outage is not None
    assert outage.is_gone


def test_an_outage_is_of_one_source_alone(warehouse: Warehouse, tmp_path: Path) -> None:
    record_failure(warehouse, SETTINGS, "reset", day(1))
    other = Settings(source="idc", idc_index=str(tmp_path))
    assert find_outage(warehouse, other, day(20)) is None
    record_answer(warehouse, other)
    assert find_outage(warehouse, SETTINGS, day(20)) is not None


def test_the_text_names_the_other_source_and_the_last_comparison(warehouse: Warehouse) -> None:
    put_listing(warehouse, 1)
    record_failure(warehouse, SETTINGS, "status 410", day(2))
    outage = find_outage(warehouse, SETTINGS, day(20))
    for part in ("18 days", "counts as gone", "2026-01-01 03:00", "TCIA_SOURCE=idc", "status 410"):
        assert part in str(outage)


def test_a_damaged_file_is_no_outage(warehouse: Warehouse) -> None:
    record_failure(warehouse, SETTINGS, "reset", day(1))
    [path] = warehouse.root.glob("source_outage.json")
    path.write_text("{")
    assert find_outage(warehouse, SETTINGS, day(20)) is None
    assert record_failure(warehouse, SETTINGS, "reset", day(20)).since == day(20)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ArchiveBroken("down", status=503), True),
        (UnreadableReply("HTML"), True),
        (RequestRefused("gone", status=410), True),
        (RequestRefused("wrong", status=404), False),
    ],
)
def test_only_what_is_no_answer_counts(error: RemoteError, *, expected: bool) -> None:
    assert counts_as_silence(error) is expected


def test_a_refresh_of_a_source_that_is_gone_says_how_to_go_on(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(Fault("status", "getCollectionValues", times=0, status=410))
    at, budget = day(1), ProbeBudget(0)
    with pytest.raises(RequestRefused):
        refresh(COLLECTIONS, "", mirror.source, mirror.warehouse, at, budget)
    with pytest.raises(SourceGone, match="TCIA_SOURCE=idc"):
        refresh(COLLECTIONS, "", mirror.source, mirror.warehouse, at + timedelta(days=14), budget)
    mirror.sandbox.faults.clear()
    refresh(COLLECTIONS, "", mirror.source, mirror.warehouse, day(16), budget)
    assert find_outage(mirror.warehouse, mirror.source.settings, day(40)) is None
