"""Request the values that occur in a Collection, and compare them with its stored Series.

The replies do not contain the Collection, so nothing in them shows that the server has ignored the
filter; the stored Series do.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SERIES
from tcia_assets.errors import ForeignRows, UnknownReply
from tcia_assets.sources import Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.conform import empty
from tcia_assets.store.warehouse import Warehouse

_LONGEST_SHOWN = 80


def request_values(
    table: Table, key: str, source: Source, warehouse: Warehouse, known_reply: str = ""
) -> SourceRows:
    """Request the values of a Collection.

    No reply means no values if the Collection has Series, and none of them has a value. Before its
    Series are stored, any reply is accepted.

    Args:
        table: One of `catalog.VALUE_TABLES`.
        key: The Collection.
        source: Where the values come from.
        warehouse: Where its Series are stored.
        known_reply: The digest of a reply that was compared with these Series.

    Raises:
        ForeignRows: A value occurs in none of the Collection's Series.
        UnknownReply: The source returned no row, although Series are not known, or no value,
            although Series have one.
    """
    column = table.key[1]
    reply: SourceRows | UnknownReply
    try:
        reply = source.rows(table, key, known=known_reply)
        if reply.is_known:
            return reply
    except UnknownReply as error:
        reply = error
    stored = warehouse.read_or_empty(SERIES, key, [SERIES.partitioned_by, column])[column]
    known = {_folded(value) for value in pc.unique(stored).to_pylist()} - {""}
    if isinstance(reply, UnknownReply):
        if not len(stored) or known:
            raise reply
        return SourceRows(empty(table))
    if len(stored) and column in reply.table.column_names:
        values = reply.table[column]
        if known and values.null_count == len(values):
            # Stored, it would mean that no Series has a value.
            raise UnknownReply(
                f"{table.endpoint} for Collection={key!r}: no row has a value, although stored "
                "Series have one"
            )
        _check_known(table, key, values, known, len(stored))
    return reply


def _check_known(
    table: Table, key: str, values: pa.ChunkedArray, known: set[str], series: int
) -> None:
    foreign = [value for value in values.to_pylist() if _folded(value) not in {*known, ""}]
    if foreign:
        example = repr(foreign[0][:_LONGEST_SHOWN])
        raise ForeignRows(
            f"{table.endpoint} for Collection={key!r}: {len(foreign)} of {len(values)} values are "
            f"in none of its {series} stored Series, such as {example}; either the server ignored "
            "the filter, or these Series have changed since they were refreshed"
        )


def _folded(value: str | None) -> str:
    # nbia-v4 returns values in upper case; a database compares without trailing blanks.
    return (value or "").rstrip().casefold()
