"""The two parsers that stand behind `fromDate` and `Date`, and what they make of a wrong date.

nbia-v1 and v2 hand the text to a lenient java.text.SimpleDateFormat: fields roll over, what follows
the last field is ignored, years are taken as written. nbia-v4 hands it to the database's
STR_TO_DATE. Neither ever refuses: a date in the wrong form is silence or everything.

Each returns a day as text, `YYYY-MM-DD`, to be compared as text (the database accepts the 31st of
February, and compares it), or None where the text is no date at all.
"""

from __future__ import annotations

import datetime as dt
import re

BEGINNING, END = "0000-00-00", "9999-12-31"

_MONTHS, _DAYS, _SEVENTIES = 12, 31, 70
_NUMBER = r"[ \t]*(-?\d+)"
_MARKS = {"%d": "day", "%m": "month", "%Y": "year"}


def by_java(text: str, form: str) -> str | None:
    """What a lenient SimpleDateFormat reads; `form` as in strptime.

    >>> by_java("31/01/2020", "%d/%m/%Y"), by_java("01/31/2020", "%d/%m/%Y")
    ('2020-01-31', '2022-07-01')
    >>> by_java("2020/01/31", "%d/%m/%Y"), by_java("2020-01-31", "%d/%m/%Y")
    ('0036-07-12', None)
    >>> by_java("2020/02/31 10:00", "%Y/%m/%d")
    '2020-03-02'
    """
    names = re.findall("%[dmY]", form)
    pattern = re.sub("%[dmY]", lambda _: _NUMBER, form)
    found = re.match(pattern, text)
    if not found:
        return None
    fields = {_MARKS[n]: int(value) for n, value in zip(names, found.groups(), strict=True)}
    return _rolled_over(**fields)


def _rolled_over(year: int, month: int, day: int) -> str:
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    if year < 1:
        return BEGINNING
    try:
        return (dt.date(year, month, 1) + dt.timedelta(days=day - 1)).isoformat()
    except (OverflowError, ValueError):
        return END if year > 1 else BEGINNING


def by_database(text: str, form: str) -> str | None:
    """What MariaDB's STR_TO_DATE reads in its permissive mode; `form` as in strptime.

    >>> by_database("01-31-2020", "%m-%d-%Y"), by_database("1-3-20", "%m-%d-%Y")
    ('2020-01-31', '2020-01-03')
    >>> by_database("02-31-2020", "%m-%d-%Y"), by_database("13-01-2020", "%m-%d-%Y")
    ('2020-02-31', None)
    >>> by_database("2020-01-31", "%m-%d-%Y"), by_database("", "%m-%d-%Y")
    (None, '0000-00-00')
    """
    if not text.strip():
        return BEGINNING
    widths = {"%d": r"(?P<day>\d{1,2})", "%m": r"(?P<month>\d{1,2})", "%Y": r"(?P<year>\d{1,4})"}
    found = re.match(r"\s*" + re.sub("%[dmY]", lambda mark: widths[mark[0]], form), text)
    if not found:
        return None
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    if month > _MONTHS or day > _DAYS:
        return None
    if len(found["year"]) <= len("20"):
        year += 2000 if year < _SEVENTIES else 1900
    return f"{year:04}-{month:02}-{day:02}"
