"""How values are shown."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tcia_assets.pages import display


def test_numbers_have_thin_separators_and_units() -> None:
    assert display.number(1234567) == "1\u202f234\u202f567"
    assert display.size(27_844_690) == "27.8\u202fMB"
    assert display.count(2, "Series", "Series") == "2\u202fSeries"
    assert display.number(None) == display.size(None) == display.day(None) == display.NOTHING


def test_times_are_in_utc_and_dates_have_no_time() -> None:
    moment = datetime(2026, 11, 27, 4, 5, 59, tzinfo=UTC)
    assert display.minute(moment) == "2026-11-27 04:05 UTC"
    assert display.day(moment) == display.day(date(2026, 11, 27)) == "2026-11-27"


def test_any_value_is_one_line() -> None:
    assert display.text("two\nlines\u2028and\u202eturned") == "two lines and turned"
    assert display.text([1.5, None]) == f"1.5, {display.NOTHING}"
    assert display.text(value=True) == "yes"


def test_only_plain_addresses_become_links() -> None:
    assert display.link("https://doi.org/10.7937/x") == "https://doi.org/10.7937/x"
    for address in ("javascript:alert(1)", "data:text/html,x", '" onclick="x', "", None):
        assert display.link(address) == ""
