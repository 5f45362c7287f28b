"""Add single Series to the warehouse, whose Collections need not be refreshed.

A Collection of which only such Series are stored is *partial*: it has no row of `snapshots`, and no
Series of it counts as missing. Its first refresh compares it with a listing, as any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMPORTS, SERIES, SNAPSHOTS, STUDIES
from tcia_assets.errors import TciaError, UsageError, quote_first
from tcia_assets.metadata.budget import RequestBudget
from tcia_assets.metadata.moves import settle_moves
from tcia_assets.metadata.partition_keys import is_valid_key
from tcia_assets.metadata.refresh_series import add_series
from tcia_assets.metadata.refresh_sizes import refresh_sizes
from tcia_assets.progress import report
from tcia_assets.sources import Source, SourceRows
from tcia_assets.store.warehouse import Warehouse

# Stored after so many, so that a killed run has lost no more.
_REQUESTED_AT_ONCE = 500
VERSION = "crdc_series_uuid"
_UID, _STUDY, _PATIENT = SERIES.key[0], STUDIES.key[1], "PatientID"


def partial_collections(warehouse: Warehouse) -> set[str]:
    """Return the Collections that were never compared with a listing."""
    return set(warehouse.keys(SERIES)) - set(warehouse.keys(SNAPSHOTS))


def find_unknown(uids: pa.Array | pa.ChunkedArray, warehouse: Warehouse) -> list[str]:
    """Return, sorted, those of these Series that the warehouse does not have, or as withdrawn."""
    rows = warehouse.query(
        f"SELECT DISTINCT {_UID} FROM named ANTI JOIN current_series USING ({_UID}) ORDER BY ALL",
        tables={"named": pa.table({_UID: uids})},
    )
    unknown: list[str] = rows[_UID].to_pylist()
    return unknown


def find_unknown_versions(uuids: pa.Array, warehouse: Warehouse) -> list[str]:
    """Return, sorted, those of these crdc_series_uuids that no Series in the warehouse has."""
    if not len(uuids):
        return []
    rows = warehouse.query(
        f"SELECT {VERSION} FROM named ANTI JOIN current_series USING ({VERSION}) ORDER BY ALL",
        tables={"named": pa.table({VERSION: uuids})},
    )
    unknown: list[str] = rows[VERSION].to_pylist()
    return unknown


def find_unsized(uids: pa.Array, warehouse: Warehouse) -> dict[str, list[str]]:
    """Return, by partial Collection, those of these Series whose size was never requested."""
    partial = sorted(partial_collections(warehouse))
    if not (len(uids) and partial):
        return {}
    rows = warehouse.query(
        f"""
        SELECT s.Collection, list(s.{_UID} ORDER BY s.{_UID}) AS uids
        FROM current_series AS s JOIN named USING ({_UID})
        ANTI JOIN series_sizes AS z ON z.{_UID} = s.{_UID} AND z.fingerprint = s.fingerprint
        WHERE s.FileSize IS NULL AND list_contains($partial, s.Collection)
        GROUP BY s.Collection ORDER BY s.Collection
        """,
        {"partial": partial},
        tables={"named": pa.table({_UID: uids})},
    )
    return dict(zip(rows["Collection"].to_pylist(), rows["uids"].to_pylist(), strict=True))


def add_sizes(
    unsized: Mapping[str, Sequence[str]], source: Source, warehouse: Warehouse, at: datetime
) -> list[str]:
    """Request the sizes of Series, as `find_unsized` returns them; return a line a failure."""
    problems = []
    for collection, uids in unsized.items():
        own, budget = source.of(collection), RequestBudget(len(uids))
        try:
            refresh_sizes(collection, own, warehouse, at, budget, only=uids)
        except TciaError as error:
            problems.append(f"{collection}: no sizes of {quote_first(uids)}: {error}")
    return problems


def add_single_series(
    names: Sequence[str],
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    *,
    by: str = _UID,
) -> list[str]:
    """Request the metadata of single Series, and store it.

    What a killed run has stored stays, and the same call goes on from there.

    Args:
        names: The Series, by the values that they have in the column `by`.
        source: Where their rows come from.
        warehouse: Where they are stored.
        at: The time of the request, with a time zone.
        by: SeriesInstanceUID or, from the Imaging Data Commons, crdc_series_uuid.

    Returns:
        Lines about Series that were not stored, and why; the others are.
    """
    problems: list[str] = []
    for start in range(0, len(names), _REQUESTED_AT_ONCE):
        requested = names[start : start + _REQUESTED_AT_ONCE]
        reply = source.rows_of(SERIES, by, requested)
        problems += _store(reply, by, source, warehouse, at)
        report(start + len(requested), len(names), "")
        if reply.failure:
            received = set(reply.table[by].to_pylist())
            left = [name for name in names[start:] if name not in received]
            problems.append(f"no metadata of {quote_first(left)}: {reply.failure}")
            break
    settle_moves(warehouse, at)
    warehouse.ensure_views()
    return problems


def _store(
    reply: SourceRows, by: str, source: Source, warehouse: Warehouse, at: datetime
) -> list[str]:
    """Store rows by Collection; return a line for each Series that has none, or cannot be."""
    rows, names = reply.table, reply.table.column_names
    found = rows.filter(pc.is_valid(rows["Collection"])) if "Collection" in names else rows[:0]
    absent = rows[by].filter(pc.invert(pc.is_in(rows[by], value_set=found[by].combine_chunks())))
    problems = [f"{each} is not known to the source {source.name}" for each in absent.to_pylist()]
    if not found.num_rows:
        return problems
    studies = _studies(found, source)
    if studies.failure:
        # Without their PatientIDs, the Series would seem to change later.
        uids = found[_UID].to_pylist()
        return [*problems, f"no metadata of {quote_first(uids)}: {studies.failure}"]
    for collection in sorted(found["Collection"].unique().to_pylist()):
        try:
            _add(collection, _of(reply, collection), studies.table, source, warehouse, at)
        # An error of one Collection is its Series' alone.
        except TciaError as error:
            uids = _in(found, collection)[_UID].to_pylist()
            problems.append(f"{collection}: {quote_first(uids)}: {error}")
    return problems


def _add(
    collection: str,
    reply: SourceRows,
    studies: pa.Table,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
) -> None:
    allowed = source.settings.collections
    if allowed and collection not in allowed:
        raise UsageError(f"TCIA_COLLECTIONS leaves this Collection out: it is {', '.join(allowed)}")
    if not is_valid_key(collection):
        raise UsageError("no partition can have the name of this Collection")
    if collection in warehouse.keys(IMPORTS):
        # A Collection is imported or listed by a source, never both.
        raise UsageError(
            f"the source {source.name} has these Series in a Collection of that name, and here it "
            "is one that was imported from a folder: import the folder under another name"
        )
    add_series(collection, reply, studies, source.of(collection), warehouse, at)


def _of(reply: SourceRows, collection: str) -> SourceRows:
    """Return the part of a reply that is about one Collection."""
    return replace(
        reply,
        table=_in(reply.table, collection),
        unreadable={
            name: replace(
                values,
                rows=_in(values.rows, collection),
                texts=values.texts.filter(pc.equal(values.rows["Collection"], collection)),
            )
            for name, values in reply.unreadable.items()
        },
    )


def _in(rows: pa.Table, collection: str) -> pa.Table:
    return rows.filter(pc.equal(rows["Collection"], collection))


def _studies(series: pa.Table, source: Source) -> SourceRows:
    """Request the Studies of Series that are listed without a PatientID, which have it."""
    if _PATIENT in series.column_names and not series[_PATIENT].null_count:
        return SourceRows(STUDIES.schema.empty_table())
    return source.rows_of(STUDIES, _STUDY, series[_STUDY].unique().to_pylist())
