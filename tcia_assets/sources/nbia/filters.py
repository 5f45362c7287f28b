"""Whether rows answer the question that was asked.

nbia-v1 and v2 ignore a parameter that they do not know and then list the whole archive; a date
that they read otherwise than it was meant lists everything or nothing, always with status 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.errors import ForeignRows
from tcia_assets.spec import Endpoint


def demand_filtered(
    table: pa.Table, endpoint: Endpoint, filters: Mapping[str, str | date], url: str
) -> None:
    """Raises ForeignRows where a row breaks a filter that its columns can tell."""
    for name, value in filters.items():
        if isinstance(value, date):
            _demand_since(table, endpoint, value, url)
        elif name in table.column_names:
            # The archive compares without case and without trailing blanks; so must we.
            given = pc.utf8_lower(pc.utf8_rtrim_whitespace(table[name]))
            wanted = value.lower()
            asked = wanted.split(",") if endpoint.parameter(name).many else [wanted]
            kept = pc.is_in(given, value_set=pa.array([each.rstrip() for each in asked]))
            _demand_all(kept, table[name], f"{endpoint.name} for {name}={value!r}", url)


def _demand_since(table: pa.Table, endpoint: Endpoint, since: date, url: str) -> None:
    if "DateReleased" in table.column_names:
        # The day itself passes everywhere: old rows were released at a time of day, which is after
        # the midnight that strict servers compare with, and of which we keep the day.
        kept = pc.greater_equal(table["DateReleased"], pa.scalar(since))
        _demand_all(kept, table["DateReleased"], f"{endpoint.name} since {since}", url)


def _demand_all(kept: pa.ChunkedArray, column: pa.ChunkedArray, asked: str, url: str) -> None:
    kept = pc.fill_null(kept, fill_value=False)
    foreign = len(kept) - (pc.sum(kept).as_py() or 0)
    if foreign:
        example = column.filter(pc.invert(kept))[0].as_py()
        problem = f"{asked}: {foreign} of {len(kept)} rows are others, such as {example!r}"
        raise ForeignRows(problem, url=url)
