"""Refuse rows in which a column has lost all its values: the source may have renamed it.

Read as null, that would be a loss in silence, or a change of every Series.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import SHARED_LISTS
from tcia_assets.errors import MissingColumn, shorten
from tcia_assets.sources import SourceRows
from tcia_assets.spec import Table

_LONGEST_SHOWN, _MOST_SHOWN = 80, 12


def check_columns(
    table: Table,
    key: str,
    read_stored: Callable[[list[str]], pa.Table],
    rows: pa.Table,
    reply: SourceRows,
) -> None:
    """Raise MissingColumn if a column has lost the values of rows that are still there.

    Values of rows that the source does not send any more are not lost, nor are those of columns
    that its dialect does not have, nor a single one that cannot be read.

    Args:
        table: The table.
        key: The partition.
        read_stored: Returns these columns of the stored rows.
        rows: The rows to be stored.
        reply: The reply that they are from.
    """
    identity = next(name for name in reversed(table.key) if name != table.partitioned_by)
    names = [
        name
        for name in dict.fromkeys(reply.promised)
        if name in table.column_names
        and name not in table.key
        and _count_unreadable(reply, name) != 1
        and not _count_values(rows[name])
    ]
    if not (names and rows.num_rows):
        return
    stored = read_stored([identity, *names])
    if not stored.num_rows:
        return
    stays = pc.is_in(stored[identity], value_set=rows[identity].combine_chunks())
    remaining = stored.filter(stays)
    counts = {name: _count_values(remaining[name]) for name in names}
    lost = [name for name in names if counts[name]]
    if lost:
        found = f"{counts[lost[0]]} of {remaining.num_rows} stored rows"
        raise _lost(table, key, lost, found, reply)


def _count_unreadable(reply: SourceRows, name: str) -> int:
    return len(reply.unreadable[name].texts) if name in reply.unreadable else 0


def _count_values(column: pa.ChunkedArray) -> int:
    """Count the values; an empty text is none: a source may send it where it has lost a value."""
    empty = pc.sum(pc.equal(column, "")).as_py() if column.type == pa.string() else 0
    values: int = len(column) - column.null_count - (empty or 0)
    return values


def accept_hint(table: Table, key: str) -> str:
    """Return what to do where the rows of a partition are refused although they are right."""
    name = shlex.quote(key)
    option = f"--shared-list {name} " if table is SHARED_LISTS else ""
    return (
        "What was stored stays. If the source is right, accept it: `tcia-assets refresh "
        f"{option}--accept-schema {name}`, or in Dagster, in the config of the op, "
        f"`accept_schema: [{key}]`"
    )


def _lost(
    table: Table,
    key: str,
    lost: Sequence[str],
    found: str,
    reply: SourceRows,
) -> MissingColumn:
    unclaimed, sent = reply.unclaimed, "no row has a value"
    if count := _count_unreadable(reply, lost[0]):
        text = reply.unreadable[lost[0]].texts[0].as_py()
        sent = f"none of {count} values can be read, such as {shorten(text, _LONGEST_SHOWN)!r}"
    also = f" (and none in {', '.join(lost[1:])})" if lost[1:] else ""
    renamed = ""
    if unclaimed:
        named = ", ".join(shorten(name, _LONGEST_SHOWN) for name in unclaimed[:_MOST_SHOWN])
        left = len(unclaimed) - _MOST_SHOWN
        more = f" or {left} more" if left > 0 else ""
        renamed = f"; was it renamed to one of {named}{more}? No column claims these"
    return MissingColumn(
        f"{sent}{also}, and {found} that are still there have one{renamed}. "
        f"{accept_hint(table, key)}",
        table=table.name,
        column=lost[0],
    )
