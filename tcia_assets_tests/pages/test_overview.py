"""The overview: finding a Collection, growth and state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tcia_assets.pages.collections import read_collections
from tcia_assets.pages.overview import State, overview_page, read_state
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import HOSTILE, describe, series_row, write_series
from tcia_assets_tests.pages.html import Page

NOTHING = State({}, (), ())


def page_of(warehouse: Warehouse, *names: str, state: State = NOTHING) -> Page:
    facts = read_collections(warehouse, names)
    return Page(overview_page(facts, state, {name: name for name in names}, {}))


def test_each_collection_has_a_card_that_filters_find(mirror: Warehouse) -> None:
    page = page_of(mirror, SMALL, state=read_state(mirror))
    [card] = [each for each in page.all("li") if each.get("class") == "card"]
    assert [line.split(" ")[1] for line in card["data-modality"].split("\n")] == ["ct", "rtstruct"]
    assert card["data-license"] == f"{card['data-series']} cc by 3.0"
    assert "lctsc" in card["data-search"]
    boxes = {(each["name"], each["value"]) for each in page.all("input") if "value" in each}
    assert {("modality", "ct"), ("modality", "rtstruct"), ("license", "cc by 3.0")} <= boxes
    assert f"collections/{SMALL}.html" in page.links
    assert "Compared with nbia-v4@" in page.text


def test_an_empty_mirror_says_what_to_do() -> None:
    page = Page(overview_page([], NOTHING, {}, {}))
    assert "tcia-assets refresh --all" in page.text


def test_what_needs_attention_is_listed(empty_mirror: Warehouse) -> None:
    gone = datetime(2026, 12, 1, tzinfo=UTC)
    write_series(
        empty_mirror,
        series_row(1),
        series_row(2, missing_since=gone),
        series_row(3, missing_since=gone, withdrawn_at=gone),
        series_row(4, "Brains"),
    )
    row = {"SeriesInstanceUID": "1.2.3.1", "Collection": "Lungs", "status": "failed"}
    failure = row | {"attempts": 3, "error": "Connection reset"}
    page = page_of(empty_mirror, "Lungs", "Brains", state=State({}, (), (failure,)))
    assert "1 Series missing from the newest list" in page.text
    assert "1 Series withdrawn" in page.text
    assert "Connection reset" in page.text
    assert page.links.count("collections/Lungs.html") == 2
    assert page.links.count("collections/Brains.html") == 1


def test_growth_is_drawn_from_the_second_day_on(mirror: Warehouse) -> None:
    assert "from the second day on" in page_of(mirror, SMALL).text
    later = State({SMALL: datetime.now(UTC) + timedelta(days=3)}, (), ())
    page = page_of(mirror, SMALL, state=later)
    assert any(each.get("class") == "line" for each in page.all("path"))


def test_hostile_names_are_shown_as_text(empty_mirror: Warehouse) -> None:
    write_series(empty_mirror, series_row(1, Modality=HOSTILE, Manufacturer='"><b>'))
    describe(empty_mirror, "Lungs", title=HOSTILE, cancer_types=HOSTILE)
    page = page_of(empty_mirror, "Lungs")
    assert len(page.all("script")) == 1 and not page.all("b") and not page.all("img")
    assert page.open == []
