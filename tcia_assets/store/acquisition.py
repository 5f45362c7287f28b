"""The SQL of the view `series_acquisition`: how the images of a Series were acquired."""

from __future__ import annotations

from collections.abc import Iterator

from tcia_assets.catalog import ACQUISITION_COLUMNS, ACQUISITION_VIEW
from tcia_assets.spec import Column
from tcia_assets.store.sql import identifier

NAME = ACQUISITION_VIEW
ABOUT = (
    "Series that images describes, with the value of each attribute that all its objects share; "
    "null where they differ, and for enhanced objects what only their frames have"
)

# Kinds whose least and greatest value say more than that values differ.
_ORDERED = frozenset({"whole", "count", "number", "day"})


def select(images: str) -> str:
    """Return the SELECT of the view over a SELECT of `images`.

    For a number or a date X it has X, X_min, X_max and X_count; for other values X and X_count.
    X is null unless all objects that have a value have the same; X_count is how many values there
    are.
    """
    columns = ", ".join(f"{expression} AS {identifier(name)}" for name, expression in _columns())
    return f"SELECT {columns} FROM ({images}) GROUP BY Collection, SeriesInstanceUID"


def _columns() -> Iterator[tuple[str, str]]:
    """Yield each column of the view with the expression for it."""
    yield "SeriesInstanceUID", "SeriesInstanceUID"
    yield "Collection", "Collection"
    yield "object_count", "count(entry_name)"
    for column in ACQUISITION_COLUMNS:
        yield from _columns_of(column)


def _columns_of(column: Column) -> Iterator[tuple[str, str]]:
    name = identifier(column.name)
    yield column.name, f"CASE WHEN min({name}) = max({name}) THEN min({name}) END"
    if column.kind.name in _ORDERED:
        yield f"{column.name}_min", f"min({name})"
        yield f"{column.name}_max", f"max({name})"
    yield f"{column.name}_count", f"count(DISTINCT {name})"
