"""Small listings of a Collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import SERIES
from tcia_assets.metadata.listing import MergeResult, merge
from tcia_assets.store.conform import empty

DAY_1 = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "nbia-v4 nbia.cancerimagingarchive.net"
UNKNOWN = empty(SERIES)  # what is stored before the first listing


def day(number: int) -> datetime:
    return DAY_1 + timedelta(days=number - 1)


def listed(**counts: int) -> pa.Table:
    """A listing with a Series for each name, with that many images."""
    rows = [
        {"SeriesInstanceUID": uid, "Collection": "4D-Lung", "ImageCount": count}
        for uid, count in counts.items()
    ]
    types = {"SeriesInstanceUID": pa.string(), "Collection": pa.string(), "ImageCount": pa.int64()}
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def after(*lists: pa.Table) -> MergeResult:
    """The result of one listing a day."""
    seen = merge(UNKNOWN, lists[0], at=DAY_1, source=SOURCE)
    for number, names in enumerate(lists[1:], start=2):
        seen = merge(seen.rows, names, at=day(number), source=SOURCE)
    return seen


def row(seen: MergeResult, uid: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = seen.rows.to_pylist()
    return {row["SeriesInstanceUID"]: row for row in rows}[uid]
