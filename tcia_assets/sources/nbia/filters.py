"""Check that rows satisfy the filters that were sent.

nbia-v1 and v2 ignore a parameter that they do not have, and then list everything; a date
that they read differently lists everything or nothing, always with status 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import DATE_RELEASED
from tcia_assets.errors import ForeignRows, shorten
from tcia_assets.sources import SourceRows
from tcia_assets.spec import Endpoint


def check_rows(
    rows: SourceRows, endpoint: Endpoint, filters: Mapping[str, str | date], url: str
) -> None:
    """Raise ForeignRows if a row contradicts a filter, as far as its columns show that."""
    table = rows.table
    for name, value in filters.items():
        if isinstance(value, date):
            _check_since(rows, endpoint, value, url)
        elif name in table.column_names:
            # Servers compare without case and without trailing blanks, and so must this.
            given = pc.utf8_lower(pc.utf8_rtrim_whitespace(table[name]))
            wanted = value.lower()
            values = wanted.split(",") if endpoint.parameter(name).is_list else [wanted]
            fits = pc.is_in(given, value_set=pa.array([each.rstrip() for each in values]))
            _check_all(fits, table[name], f"{endpoint.name} for {name}={value!r}", url)


def _check_since(rows: SourceRows, endpoint: Endpoint, since: date, url: str) -> None:
    name = DATE_RELEASED.name
    if name in rows.table.column_names:
        released = rows.table[name]
        # The day itself is always accepted: servers that compare strictly do so with its midnight,
        # and old rows were released at some later time of that day, of which only the day is kept.
        fits = pc.greater_equal(released, pa.scalar(since))
        if name in rows.unreadable:
            fits = pc.fill_null(fits, fill_value=True)  # what cannot be read contradicts nothing
        _check_all(fits, released, f"{endpoint.name} since {since}", url)


def _check_all(fits: pa.ChunkedArray, column: pa.ChunkedArray, what: str, url: str) -> None:
    fits = pc.fill_null(fits, fill_value=False)
    foreign = len(fits) - (pc.sum(fits).as_py() or 0)
    if foreign:
        example = column.filter(pc.invert(fits))[0].as_py()
        problem = (
            f"{what}: {foreign} of {len(fits)} rows do not match, such as {shorten(repr(example))}"
        )
        raise ForeignRows(problem, url=url)
