"""A Series of which only a value cannot be read, or can again, has not changed."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from tcia_assets.catalog import SERIES, UNREADABLE_VALUES
from tcia_assets.metadata.fingerprints import fingerprints
from tcia_assets.metadata.listing import LISTED
from tcia_assets.metadata.unreadable_series import (
    kept_fingerprints,
    newly_readable,
    unreadable_columns,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.store.conform import conform
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day


def odd_value(column: str, value: str = "abc") -> Fault:
    return Fault("bad_value", "getSeries", times=0, column=column, value=value)


def stored(mirror: SandboxMirror) -> pa.Table:
    return mirror.warehouse.read_or_empty(UNREADABLE_VALUES, SMALL)


def test_what_cannot_be_read_is_no_change_of_a_series(mirror: SandboxMirror) -> None:
    mirror.start()
    names = ["SeriesInstanceUID", "fingerprint", "changed_at"]
    before = mirror.warehouse.read(SERIES, [SMALL], names)
    for number, column in enumerate(("SeriesDate", "ImageCount", "StudyDate", "FileSize"), 2):
        mirror.sandbox.faults.clear()
        mirror.sandbox.faults.add(odd_value(column))
        [done] = mirror.refresh(day(number), SMALL)
        assert (done.facts["changed"], done.facts["events"], done.unreadable) == (0, 0, 1)
        assert mirror.warehouse.read(SERIES, [SMALL], names) == before
    mirror.sandbox.faults.clear()
    [done] = mirror.refresh(day(9), SMALL)
    assert (done.facts["changed"], done.facts["events"]) == (0, 0)
    assert mirror.warehouse.read(SERIES, [SMALL], names) == before
    assert {event for *_, event, _ in mirror.events()} == {"added"}


def test_a_real_change_beside_an_unreadable_value_is_one(mirror: SandboxMirror) -> None:
    mirror.start()
    mirror.sandbox.faults.add(odd_value("SeriesDate"))
    mirror.refresh(day(2), SMALL)
    [odd] = unreadable_columns(stored(mirror))
    mirror.archive.revise([odd], image_count=77)
    [done] = mirror.refresh(day(3), SMALL)
    assert done.facts["changed"] == 1
    changed = mirror.changes(odd)[-1]
    assert "ImageCount" in changed["changed_columns"]
    assert "SeriesDate" not in changed["changed_columns"]


def test_another_value_than_before_is_a_change_once_it_can_be_read(mirror: SandboxMirror) -> None:
    mirror.start()
    mirror.sandbox.faults.add(odd_value("SeriesDate"))
    mirror.refresh(day(2), SMALL)
    [odd] = unreadable_columns(stored(mirror))
    mirror.sandbox.faults.clear()
    mirror.sandbox.faults.add(odd_value("SeriesDate", "01-02-1999"))
    [done] = mirror.refresh(day(3), SMALL)
    assert (done.facts["changed"], done.facts["events"]) == (1, 1)
    changed = mirror.changes(odd)[-1]
    assert changed["changed_columns"] == ["SeriesDate"]
    assert mirror.row(odd, SMALL)["SeriesDate"] == date(1999, 1, 2)


@pytest.mark.parametrize("column", ["SeriesDate", "ImageCount", "StudyDate"])
def test_a_value_that_could_never_be_read_is_no_change_once_it_can(
    column: str, mirror: SandboxMirror
) -> None:
    mirror.sandbox.faults.add(odd_value(column))
    for number in (1, 2):
        [done] = mirror.refresh(day(number), SMALL)
        assert done.facts["changed"] == 0
    assert mirror.warehouse.read(SERIES, [SMALL])["fingerprint"].null_count == 0
    mirror.sandbox.faults.clear()
    for number in (3, 4):
        [done] = mirror.refresh(day(number), SMALL)
        assert (done.facts["changed"], done.facts["events"]) == (0, 0)
    assert not stored(mirror).num_rows


def test_a_year_0_that_an_earlier_version_stored_becomes_null(mirror: SandboxMirror) -> None:
    mirror.start()
    mirror.sandbox.faults.add(odd_value("SeriesDate", "01-01-0000"))
    mirror.refresh(day(2), SMALL)
    [odd] = unreadable_columns(stored(mirror))
    with mirror.warehouse.update(SERIES, SMALL) as partition:
        rows = partition.rows
        # Days since 1970 of the first day of the year 0, which Python has no date for.
        days = [-719_528 if uid == odd else 0 for uid in rows["SeriesInstanceUID"].to_pylist()]
        dates = pa.array(days, pa.int32()).cast(pa.date32())
        at = rows.schema.get_field_index("SeriesDate")
        partition.rows = rows.set_column(at, rows.schema.field(at), dates)
    [done] = mirror.refresh(day(3), SMALL)
    assert done.unreadable == 1
    assert mirror.row(odd, SMALL)["SeriesDate"] is None


def test_a_column_that_is_filled_in_after_the_listing_does_not_count() -> None:
    listed = conform(LISTED, series(SeriesDate=None), Collection="A")
    read = conform(LISTED, series(SeriesDate=date(2020, 1, 1)), Collection="A")
    before = conform(
        SERIES,
        series(
            SeriesDate=None,
            PatientID="p1",
            fingerprint=fingerprints(listed)["fingerprint"][0].as_py(),
            first_seen_at=day(1),
            changed_at=day(1),
            missing_snapshots=0,
        ),
        Collection="A",
    )
    odd = {"1.2": {"SeriesDate"}}
    assert list(kept_fingerprints(before, listed, odd, {})) == ["1.2"]
    assert newly_readable(before, read, {}, odd) == {"1.2"}


def series(**values: object) -> pa.Table:
    return pa.Table.from_pylist([{"SeriesInstanceUID": "1.2", "Modality": "CT", **values}])
