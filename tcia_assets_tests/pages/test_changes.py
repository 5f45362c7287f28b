"""Changes by day, and the feed."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pyarrow as pa

from tcia_assets.catalog import SERIES_CHANGES
from tcia_assets.pages.changes import ChangeDay, changes_feed, changes_page, read_changes
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import HOSTILE
from tcia_assets_tests.pages.html import Page

ATOM = "{http://www.w3.org/2005/Atom}"


def event(number: int, event: str, day: int, **values: object) -> dict[str, object]:
    return {
        "Collection": "Lungs",
        "SeriesInstanceUID": f"1.2.3.{number}",
        "event_id": f"{number} {event}",
        "event": event,
        "seen_at": datetime(2026, 11, day, 8, tzinfo=UTC),
    } | values


def days_of(warehouse: Warehouse, *events: dict[str, object]) -> list[ChangeDay]:
    table = pa.Table.from_pylist(list(events), schema=SERIES_CHANGES.schema)
    warehouse.write(SERIES_CHANGES, conform(SERIES_CHANGES, table), "Lungs")
    return read_changes(warehouse, {"Lungs": "Lungs"}, {"Lungs": {"1.2.3.1": ""}})


def test_days_are_newest_first_and_what_is_gone_comes_first(empty_mirror: Warehouse) -> None:
    days = days_of(
        empty_mirror, event(1, "added", 1), event(2, "added", 2), event(1, "withdrawn", 2)
    )
    assert [each.day.day for each in days] == [2, 1]
    assert [group.event for group in days[0].groups] == ["withdrawn", "added"]
    assert days[0].summary.replace("\u202f", " ") == "1 Series withdrawn, 1 Series new"


def test_the_page_leads_to_series_that_have_one(empty_mirror: Warehouse) -> None:
    changed = {"changed_columns": ["ImageCount"], "before": '{"ImageCount": 1}', "after": "{}"}
    days = days_of(empty_mirror, event(1, "changed", 1, **changed), event(2, "added", 1))
    page = Page(changes_page(days))
    assert "series/Lungs/1.2.3.1.html" in page.links
    assert not any("1.2.3.2" in link for link in page.links)
    assert "ImageCount: 1 →" in page.text and page.open == []


def test_many_events_are_counted_and_only_some_are_listed(empty_mirror: Warehouse) -> None:
    days = days_of(empty_mirror, *(event(n, "added", 1) for n in range(100)))
    assert days[0].groups[0].series == 100 and len(days[0].groups[0].events) == 40
    assert "The newest 40 of them" in Page(changes_page(days)).text


def test_a_first_refresh_is_only_counted(empty_mirror: Warehouse) -> None:
    days = days_of(empty_mirror, *(event(n, "added", 1) for n in range(5_001)))
    assert days[0].groups[0].series == 5_001 and days[0].groups[0].events == ()
    page = Page(changes_page(days))
    assert "collections/Lungs.html" in page.links and not page.all("details")


def test_the_feed_is_atom_with_an_entry_a_day(empty_mirror: Warehouse) -> None:
    days = days_of(empty_mirror, event(1, "added", 1), event(2, "added", 2))
    feed = ET.fromstring(changes_feed(days))
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 2 and feed.findtext(f"{ATOM}updated") == "2026-11-02T08:00:00Z"
    ids = {entry.findtext(f"{ATOM}id") for entry in entries}
    assert len(ids) == 2 and all(each and each.startswith("urn:uuid:") for each in ids)
    again = ET.fromstring(changes_feed(days))
    assert {entry.findtext(f"{ATOM}id") for entry in again.findall(f"{ATOM}entry")} == ids


def test_hostile_values_are_shown_as_text(empty_mirror: Warehouse) -> None:
    import json

    values = {"before": json.dumps({"X": HOSTILE}), "after": json.dumps({"X": HOSTILE})}
    days = days_of(empty_mirror, event(1, "changed", 1, changed_columns=["X"], **values))
    page = Page(changes_page(days))
    assert len(page.all("script")) == 1 and not page.all("img")
    ET.fromstring(changes_feed(days))


def test_a_mirror_has_its_own_history(mirror: Warehouse) -> None:
    days = read_changes(mirror, {SMALL: SMALL}, {})
    assert {group.event for each in days for group in each.groups} == {"added", "fetched"}


def test_without_events_the_page_says_what_to_do(empty_mirror: Warehouse) -> None:
    assert read_changes(empty_mirror, {}, {}) == []
    assert "tcia-assets refresh --all" in Page(changes_page([])).text
    ET.fromstring(changes_feed([]))


def test_a_series_that_moved_is_not_missing_on_the_same_day(empty_mirror: Warehouse) -> None:
    moved = event(1, "moved", 2, after='{"moved_to": "Brains"}')
    days = days_of(
        empty_mirror, event(3, "missing", 1), event(1, "missing", 2), moved, event(2, "missing", 2)
    )
    shown = [[(each.event, each.series) for each in day.groups] for day in days]
    assert shown == [[("moved", 1), ("missing", 1)], [("missing", 1)]]
    assert [len(each.events) for each in days[0].groups] == [1, 1]
