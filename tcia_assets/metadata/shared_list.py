"""Request a shared list, and keep the Series that it no longer shows.

A list shows only Series that are visible now, so it loses those that are hidden or withdrawn,
without a notice.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTIONS, SHARED_LISTS, instant
from tcia_assets.errors import UnknownName, UnknownReply
from tcia_assets.sources import Source, SourceRows
from tcia_assets.store.conform import replace_column
from tcia_assets.store.warehouse import Warehouse, WriteResult

_UID = SHARED_LISTS.key[1]


def request_list(name: str, source: Source, warehouse: Warehouse) -> SourceRows:
    """Request a shared list; NBIA sends no rows both for an unknown list and for an empty one.

    Raises:
        UnknownName: It has no rows, and is not stored.
        UnknownReply: It has no rows although it is stored.
    """
    try:
        return source.rows(SHARED_LISTS, name)
    except UnknownReply:
        stored = warehouse.keys(SHARED_LISTS)
        if name in stored:
            raise
        source.rows(COLLECTIONS)  # raises if the source returns nothing at all
        raise UnknownName("shared list (or it is empty)", name, stored) from None


def write_list(
    name: str, listed: pa.Table, warehouse: Warehouse, at: datetime
) -> tuple[WriteResult, dict[str, int | bool | str]]:
    """Store a shared list, with the rows of Series that it no longer shows.

    Args:
        name: The list.
        listed: The rows that the source returned, as `conform` returns them.
        warehouse: Where it is stored.
        at: When it was requested.

    Returns:
        The partition, and how many Series the list showed before, shows now and no longer shows.
    """
    with warehouse.update(SHARED_LISTS, name) as partition:
        before = partition.rows
        missing = _missing(before, listed, at)
        partition.rows = pa.concat_tables([listed, missing])
    listed_before = before["missing_since"].null_count
    facts = {"listed_before": listed_before, "listed": len(listed), "missing": len(missing)}
    return partition.written, facts


def _missing(before: pa.Table, listed: pa.Table, at: datetime) -> pa.Table:
    """Return the stored rows that are not listed, each with the time since when."""
    is_listed = pc.is_in(before[_UID], value_set=listed[_UID].combine_chunks())
    missing = before.filter(pc.invert(is_listed))
    since = pc.fill_null(missing["missing_since"], pa.scalar(at, instant.arrow_type))
    return replace_column(missing, "missing_since", since)
