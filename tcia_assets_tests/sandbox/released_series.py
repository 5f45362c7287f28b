"""Series released on known days, and the UIDs in replies."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.sandbox import series_rows

from .api_client import ApiClient

CATALOGUE = series_rows.load()


COLLECTION = "RIDER Lung CT"


def series(**where: str) -> set[str]:
    rows: pa.Table = CATALOGUE
    for column, value in where.items():
        rows = rows.filter(pc.equal(rows[column], value))
    return set(rows["SeriesInstanceUID"].to_pylist())


def series_uids(api: ApiClient, name: str, endpoint: str = "getSeries", **values: str) -> set[str]:
    return {row["SeriesInstanceUID"] for row in api.rows(name, endpoint, **values)}


RELEASED = dt.date(2020, 1, 31)


ALL, NONE, LATER = "all", "none", "later"  # than the 31st of January 2020
