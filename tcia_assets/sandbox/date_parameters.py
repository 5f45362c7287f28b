"""Parse the date parameters `fromDate` and `Date` as the servers do, wrong dates included.

nbia-v1 and v2 use a lenient java.text.SimpleDateFormat: too large fields roll over, text after the
last field is ignored, years are taken as written. nbia-v4 uses the database's STR_TO_DATE. Neither
returns an error: for a date in a wrong format, the reply has no rows or all rows.

Both functions return a day as `YYYY-MM-DD`, to be compared as text (the database accepts and
compares a 31st of February), or None for a text that is no date.
"""

from __future__ import annotations

import datetime as dt
import re

EARLIEST, LATEST = "0000-00-00", "9999-12-31"

_MONTHS, _DAYS, _SEVENTIES = 12, 31, 70
_NUMBER = r"[ \t]*(-?\d+)"
_MARKS = {"%d": "day", "%m": "month", "%Y": "year"}


def parse_in_java(text: str, date_format: str) -> str | None:
    """Parse a date as a lenient SimpleDateFormat does; `date_format` as in `strptime`.

    >>> parse_in_java("31/01/2020", "%d/%m/%Y"), parse_in_java("01/31/2020", "%d/%m/%Y")
    ('2020-01-31', '2022-07-01')
    >>> parse_in_java("2020/01/31", "%d/%m/%Y"), parse_in_java("2020-01-31", "%d/%m/%Y")
    ('0036-07-12', None)
    >>> parse_in_java("2020/02/31 10:00", "%Y/%m/%d")
    '2020-03-02'
    """
    names = re.findall("%[dmY]", date_format)
    pattern = re.sub("%[dmY]", lambda _: _NUMBER, date_format)
    found = re.match(pattern, text)
    if not found:
        return None
    fields = {_MARKS[n]: int(value) for n, value in zip(names, found.groups(), strict=True)}
    return _rolled_over(**fields)


def _rolled_over(year: int, month: int, day: int) -> str:
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    if year < 1:
        return EARLIEST
    try:
        return (dt.date(year, month, 1) + dt.timedelta(days=day - 1)).isoformat()
    except (OverflowError, ValueError):
        return LATEST if year > 1 else EARLIEST


def parse_in_database(text: str, date_format: str) -> str | None:
    """Parse a date as MariaDB's permissive STR_TO_DATE does; `date_format` as in `strptime`.

    >>> parse_in_database("01-31-2020", "%m-%d-%Y"), parse_in_database("1-3-20", "%m-%d-%Y")
    ('2020-01-31', '2020-01-03')
    >>> parse_in_database("02-31-2020", "%m-%d-%Y"), parse_in_database("13-01-2020", "%m-%d-%Y")
    ('2020-02-31', None)
    >>> parse_in_database("2020-01-31", "%m-%d-%Y"), parse_in_database("", "%m-%d-%Y")
    (None, '0000-00-00')
    """
    if not text.strip():
        return EARLIEST
    widths = {"%d": r"(?P<day>\d{1,2})", "%m": r"(?P<month>\d{1,2})", "%Y": r"(?P<year>\d{1,4})"}
    found = re.match(r"\s*" + re.sub("%[dmY]", lambda mark: widths[mark[0]], date_format), text)
    if not found:
        return None
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    if month > _MONTHS or day > _DAYS:
        return None
    if len(found["year"]) <= len("20"):
        year += 2000 if year < _SEVENTIES else 1900
    return f"{year:04}-{month:02}-{day:02}"
