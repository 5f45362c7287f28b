"""One Collection of the sandbox, and requests for it."""

from __future__ import annotations

from typing import Any

from tcia_assets.sandbox import series_rows

from .api_client import ApiClient

COLLECTION = "LCTSC"
UIDS = sorted(
    row["SeriesInstanceUID"]
    for row in series_rows.load().to_pylist()
    if row["Collection"] == COLLECTION
)


def list_series(api: ApiClient, collection: str = COLLECTION) -> list[str]:
    rows = api.rows("nbia-v4", "getSeries", Collection=collection)
    return sorted(row["SeriesInstanceUID"] for row in rows)


def row_of(api: ApiClient, uid: str) -> dict[str, Any]:
    [row] = api.rows("nbia-v1", "getSeries", SeriesInstanceUID=uid)
    return row


def collections(api: ApiClient) -> set[str]:
    return {row["Collection"] for row in api.rows("nbia-v4", "getCollectionValues")}
