"""Charts as numbers."""

from __future__ import annotations

from datetime import date

from tcia_assets.pages import charts, display
from tcia_assets.pages.collection_facts import Day, People, Share


def test_bars_show_the_largest_and_the_others_together() -> None:
    shares = [Share(value=str(n), series=100 - n) for n in range(10)]
    found = charts.bars("Maker", shares, str, most=4)
    assert [bar.label for bar in found.bars] == ["0", "1", "2", "7 others"]
    assert sum(bar.value for bar in found.bars) == sum(share.series for share in shares)
    assert found.bars[0].percent == 100 and found.bars[-1].percent <= 100


def test_growth_is_a_sum_that_ends_today_and_needs_two_days() -> None:
    days = [Day(day=date(2026, 1, 1), series=10), Day(day=date(2026, 1, 5), series=-2)]
    plot = charts.growth("Series", days, "series", display.number, until=date(2026, 1, 11))
    assert plot is not None
    assert [column.label for column in plot.columns] == ["2026-01-01: 10", "2026-01-05: 8"]
    assert plot.most == "now 8" and plot.line.startswith("M0.0 4.0H400.0")
    assert charts.growth("S", days[:1], "series", str, until=date(2026, 1, 1)) is None
    assert charts.growth("S", days, "patients", str, until=date(2026, 2, 1)) is None


def test_years_without_series_leave_a_gap() -> None:
    shares = [Share(value=v, series=n) for v, n in (("2000", 5), ("2003", 10), ("", 7))]
    plot = charts.years("Years", shares)
    assert plot is not None
    assert [column.x // 250 for column in plot.columns] == [0, 3]
    assert plot.columns[1].height > plot.columns[0].height
    assert charts.years("Years", shares[:1]) is None


def test_patients_are_shown_by_age_and_sex_the_oldest_first() -> None:
    people = [
        People(sex="F", decade=60, patients=4),
        People(sex="M", decade=70, patients=2),
        People(sex="", decade=None, patients=3),
    ]
    found = charts.pyramid(people)
    assert found is not None
    assert [(row.female, row.male) for row in found.rows] == [(0, 2), (4, 0), (0, 0)]
    assert found.rows[-1].label == display.NOT_GIVEN
    assert found.note.endswith("3\u202fpatients.")
    assert charts.pyramid(people[2:]) is None
