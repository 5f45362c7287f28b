"""Small listings of a Collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

DAY_1 = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "nbia-v4 nbia.cancerimagingarchive.net"


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
