"""Charts as the numbers that templates draw: bars, areas over days, columns over years, ages.

Each is SVG without text of its own, so that it can be stretched; labels and values are beside it,
in the text of the page, and in tooltips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate

from tcia_assets.pages import display
from tcia_assets.pages.collection_facts import Day, People, Share

WIDTH, HEIGHT = 1000.0, 100.0
_GAP = 0.15
# Room above the highest point, for the width of its line.
_TOP = 4.0
_MAX_POINTS = 400


@dataclass(frozen=True)
class Bar:
    """A labelled bar; `percent` is its length."""

    label: str
    value: int
    percent: float
    hint: str = ""
    href: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars with a title, and the unit of their values."""

    title: str
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Column:
    """A column of a plot, or the part of it that shows a tooltip."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Plot:
    """An area with a line above it, or only columns; all within `WIDTH` and `HEIGHT`."""

    title: str
    summary: str
    first: str
    last: str
    most: str
    columns: tuple[Column, ...]
    line: str = ""
    area: str = ""


@dataclass(frozen=True)
class AgeRow:
    """Patients of a decade; `left` and `right` are the lengths of the bars in percent."""

    label: str
    female: int
    male: int
    left: float
    right: float


@dataclass(frozen=True)
class Pyramid:
    """Patients by age and sex, the oldest first, and what the rows leave out."""

    rows: tuple[AgeRow, ...] = field(default_factory=tuple)
    note: str = ""


def bars(
    title: str,
    shares: Sequence[Share],
    label: Callable[[str], str],
    *,
    most: int = 8,
    hint: Callable[[str], str] = str,
    href: Callable[[str], str] | None = None,
) -> Bars:
    """Return the largest shares as bars, and the others as one.

    Args:
        title: Of the chart.
        shares: The largest first.
        label: Returns the label of a value.
        most: How many bars there are at most.
        hint: Returns a longer text for a value.
        href: Returns where the label of a value leads.
    """
    kept = shares if len(shares) <= most else shares[: most - 1]
    highest = max((share.series for share in shares), default=0)
    found = [
        Bar(
            label=label(share.value),
            value=share.series,
            percent=percent(share.series, highest),
            hint=hint(share.value),
            href=href(share.value) if href and share.value else "",
        )
        for share in kept
    ]
    if others := shares[len(kept) :]:
        total = sum(share.series for share in others)
        name = f"{display.number(len(others))} others"
        found.append(Bar(name, total, min(percent(total, highest), 100.0)))
    return Bars(title, "Series", tuple(found))


def percent(part: float, whole: float) -> float:
    """Return a share in percent, to a tenth; something is never nothing.

    >>> percent(1, 3), percent(1, 1_000_000), percent(0, 0)
    (33.3, 0.5, 0.0)
    """
    if not whole or not part:
        return 0.0
    return max(round(100 * part / whole, 1), 0.5)


def growth(
    title: str, days: Sequence[Day], name: str, shown: Callable[[int], str], *, until: date
) -> Plot | None:
    """Return the sum of a number of days as an area over time; None for fewer than two days.

    Args:
        title: Of the chart.
        days: The oldest first.
        name: Of the field of `Day` that is added up.
        shown: Returns a sum as text.
        until: The last day that is shown.
    """
    changes = [day for day in days if getattr(day, name)]
    if not changes or changes[0].day >= until:
        return None
    dates = [each.day for each in changes]
    sums = list(accumulate(getattr(each, name) for each in changes))
    dates, sums = [*dates, until], [*sums, sums[-1]]
    highest, span = max(sums) or 1, (dates[-1] - dates[0]).days
    xs = [round(WIDTH * (each - dates[0]).days / span, 1) for each in dates]
    ys = [_height(value, highest) for value in sums]
    # A step at each day: nothing is known in between.
    line = f"M{xs[0]} {ys[0]}" + "".join(f"H{x}V{y}" for x, y in zip(xs[1:], ys[1:], strict=True))
    area = f"{line}V{HEIGHT}H{xs[0]}Z"
    ends = [*xs[1:], WIDTH]
    hits = [
        Column(x, 0, max(round(end - x, 1), 1.0), HEIGHT, f"{display.day(at)}: {shown(value)}")
        for x, end, at, value in zip(xs[:-1], ends, dates, sums, strict=False)
    ]
    step = max(1, len(hits) // _MAX_POINTS)
    return Plot(
        title=title,
        summary=f"{title}: {shown(sums[0])} on {display.day(dates[0])}, {shown(sums[-1])} on "
        f"{display.day(until)}",
        first=display.day(dates[0]),
        last=display.day(until),
        most=f"now {shown(sums[-1])}",
        columns=tuple(hits[::step]),
        line=line,
        area=area,
    )


def years(title: str, shares: Iterable[Share]) -> Plot | None:
    """Return shares of years as columns; None for fewer than two years."""
    counts = {int(share.value): share.series for share in shares if share.value.isdecimal()}
    if len(counts) < 2:  # noqa: PLR2004 - one column says no more than a number
        return None
    first, last = min(counts), max(counts)
    width, highest = WIDTH / (last - first + 1), max(counts.values())
    columns = [
        Column(
            x=round((year - first + _GAP / 2) * width, 2),
            y=_height(count, highest),
            width=round(width * (1 - _GAP), 2),
            height=round(HEIGHT - _height(count, highest), 1),
            label=f"{year}: {display.count(count, 'Series', 'Series')}",
        )
        for year, count in sorted(counts.items())
    ]
    best = max(counts, key=lambda year: (counts[year], -year))
    return Plot(
        title=title,
        summary=f"{title}: from {first} to {last}, most in {best}, "
        f"{display.count(counts[best], 'Series', 'Series')}",
        first=str(first),
        last=str(last),
        most=f"most in {best}: {display.number(counts[best])}",
        columns=tuple(columns),
    )


def pyramid(people: Sequence[People]) -> Pyramid | None:
    """Return patients by age and sex; None if no age or sex is known."""
    sides: dict[int | None, dict[str, int]] = {}
    for each in people:
        row = sides.setdefault(each.decade, {})
        row[each.sex] = row.get(each.sex, 0) + each.patients
    known = {sex for row in sides.values() for sex in row} & {"F", "M"}
    if not known:
        return None
    highest = max(max(row.get("F", 0), row.get("M", 0)) for row in sides.values())
    order = sorted(sides, key=lambda decade: -1 if decade is None else decade, reverse=True)
    rows = [
        AgeRow(
            label=display.NOT_GIVEN if decade is None else f"{decade}{display.NOTHING}{decade + 9}",
            female=sides[decade].get("F", 0),
            male=sides[decade].get("M", 0),
            left=percent(sides[decade].get("F", 0), highest),
            right=percent(sides[decade].get("M", 0), highest),
        )
        for decade in order
    ]
    others = sum(each.patients for each in people if each.sex not in {"F", "M"})
    note = f"Sex other or not given: {display.count(others, 'patient')}." if others else ""
    return Pyramid(tuple(rows), note)


def _height(value: float, highest: float) -> float:
    return round(HEIGHT - (HEIGHT - _TOP) * value / highest, 1)
