"""Refresh one partition of a metadata table: request its rows, check them, write them.

`series` and `series_sizes` have modules of their own. Work on many partitions, settings and Dagster
are the business of `defs/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.metadata.budget import ProbeBudget, computing_on
from tcia_assets.metadata.collection_list import list_collections
from tcia_assets.metadata.descriptions import request_descriptions
from tcia_assets.metadata.known_replies import KnownReply
from tcia_assets.metadata.other_sources import is_first_of_family, with_stored
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.metadata.refresh_series import refresh_series
from tcia_assets.metadata.refresh_sizes import refresh_sizes
from tcia_assets.metadata.schema_change import check_columns
from tcia_assets.metadata.shared_list import request_list, write_list
from tcia_assets.metadata.unreadable import record_unreadable, unreadable_rows
from tcia_assets.metadata.value_lists import request_values
from tcia_assets.sources import Source, SourceRows
from tcia_assets.spec import Table
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse


def refresh(
    table: Table,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    budget: ProbeBudget,
    *,
    accept_schema: bool = False,
) -> RefreshResult:
    """Refresh one partition; if anything fails, the stored partition is unchanged.

    A value that cannot be read costs itself only, unless there are many (see `unreadable.py`).

    Args:
        table: A table that a source fills.
        key: The partition; "" for a table without partitions.
        source: Where the rows come from.
        warehouse: Where they are stored.
        at: The time of the refresh, with a time zone.
        budget: Limits the requests for single Series.
        accept_schema: Accept columns that lost all their values, or of which many values cannot be
            read.

    Raises:
        RemoteError: The source fails, or its reply cannot be used.
        DataError: The rows break their declaration.
        UnknownName: The source has no such shared list.
        StorageError: The file cannot be written, or the partition is locked by another run.
    """
    if table.partitioned_by == "Collection":
        source = source.of(key)
    if table is catalog.SERIES:
        return refresh_series(
            key, source, warehouse, at, budget.probes, accept_schema=accept_schema
        )
    if table is catalog.SERIES_SIZES:
        return refresh_sizes(key, source, warehouse, at, budget.sizes, accept_schema=accept_schema)
    known = KnownReply(table, key, source, warehouse, accept_schema=accept_schema)
    reply, facts = _request(table, key, source, warehouse, at, known.digest)
    if reply.is_known:
        return known.result(reply, known.facts)
    return _store(
        table, key, source, warehouse, at, reply, facts, known, accept_schema=accept_schema
    )


def _store(
    table: Table,
    key: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    reply: SourceRows,
    facts: Mapping[str, int | bool | str],
    known: KnownReply,
    *,
    accept_schema: bool,
) -> RefreshResult:
    """Compare a reply with the stored rows, and store it."""
    unreadable = unreadable_rows(table, key, reply, at, accept=accept_schema)
    with computing_on(reply.table.num_rows):
        rows = conform(
            table, reply.table, **({table.partitioned_by: key} if table.partitioned_by else {})
        )
        if not accept_schema:
            stored = partial(_read_comparable, table, key, source, warehouse)
            check_columns(table, key, stored, rows, reply)
        received = rows.num_rows
        if table in (catalog.PATIENTS, catalog.STUDIES):
            rows = with_stored(table, key, rows, reply.promised, source, warehouse)
        rows_before = warehouse.row_count(table, key)
        known.forget()
        # Before the nulls that it explains: a killed run leaves none without a record.
        record_unreadable(table, key, unreadable, warehouse)
        if table is catalog.SHARED_LISTS:
            written, facts = write_list(key, rows, warehouse, at)
        else:
            with warehouse.lock(table, key):
                written = warehouse.write(table, rows, key)
                # Rows of other sources stay as long as a Series needs them.
                known.keep(reply, facts, is_settled=written.rows == received)
    return RefreshResult.of_reply(
        table, key, reply, written, rows_before=rows_before, facts=facts, unreadable=unreadable
    )


def _read_comparable(
    table: Table, key: str, source: Source, warehouse: Warehouse, columns: list[str]
) -> pa.Table:
    """Return these columns of the stored rows that a source must still have values of."""
    stored = warehouse.read_or_empty(table, key, columns)
    # Another source may lack a column that the one before had.
    is_first = is_first_of_family(table, key, source, warehouse)
    return stored.slice(0, 0) if is_first else stored


def _request(
    table: Table, key: str, source: Source, warehouse: Warehouse, at: datetime, known: str
) -> tuple[SourceRows, dict[str, int | bool | str]]:
    """Return the rows of a partition, unless they are known, and further counts of its refresh."""
    if table is catalog.COLLECTIONS:
        listed = list_collections(source, warehouse, at)
        return listed.reply, {"unnamed": listed.unnamed}
    if table is catalog.SHARED_LISTS:
        return request_list(key, source, warehouse), {}
    if table is catalog.COLLECTION_DESCRIPTIONS:
        return request_descriptions(key, source, warehouse, known)
    if table in catalog.VALUE_TABLES:
        return request_values(table, key, source, warehouse, known), {}
    return source.rows(table, key, known=known), {}
