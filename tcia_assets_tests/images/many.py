"""Helpers for tests with twelve small Series: plans, manifest rows and stored metadata."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets import catalog
from tcia_assets.images.manifest import merge_rows
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.images.pending import PendingList
from tcia_assets.images.plan import FetchPlan, plan_collection
from tcia_assets.images.run_limits import Shard
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.licenses import Licenses
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.selection import Selection
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store import sql
from tcia_assets.store.conform import conform
from tcia_assets_tests.images.place import COLLECTION, Place, Row

SERIES = 12
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def place_at(sandbox: Sandbox, data_dir: Path) -> Place:
    """Reset a sandbox, and return a data folder with its metadata."""
    sandbox.reset()
    there = Place(sandbox, data_dir)
    there.refresh()
    sandbox.requests.clear()
    return there


def selected(**chosen: Any) -> Selection:
    return Selection(**({"collections": (COLLECTION,)} | chosen))


def planned(place: Place, selection: Selection | None = None, **chosen: Any) -> FetchPlan:
    return plan_collection(COLLECTION, selection or selected(), place.warehouse, **chosen)


def uids_of(wanted: PendingList) -> list[str]:
    return [each.series_instance_uid for each in wanted]


def in_shard(uids: list[str], shard: Shard) -> list[str]:
    """Return those of these Series that belong to a shard."""
    with closing(sql.scratch()) as connection:
        connection.register("series", pa.table({"SeriesInstanceUID": pa.array(uids, pa.string())}))
        chosen = sql.fetch_table(connection, f"FROM series WHERE {shard.condition}")
    found: list[str] = chosen["SeriesInstanceUID"].to_pylist()
    return found


def refresh_sizes(place: Place, budget: int) -> None:
    with place.source() as source:
        now = datetime.now(UTC)
        refresh(catalog.SERIES_SIZES, COLLECTION, source, place.warehouse, now, ProbeBudget(budget))


def refresh_list(place: Place, name: str) -> None:
    with place.source() as source:
        now = datetime.now(UTC)
        refresh(catalog.SHARED_LISTS, name, source, place.warehouse, now, ProbeBudget(0))


def row(uid: str, status: str = "failed", **columns: Any) -> ManifestRow:
    """Return the manifest row of a Series that failed, with some values by column."""
    known: Row = {
        "SeriesInstanceUID": uid,
        "Collection": COLLECTION,
        "status": status,
        "source": "nbia-v4@localhost",
        "fetched_at": NOW,
        "attempts": 1,
        "error": "the archive said so",
    }
    return ManifestRow.from_record(known | columns)


def put(place: Place, *rows: ManifestRow | Row) -> None:
    """Write rows to the manifest, over older and newer ones."""
    made = [r if isinstance(r, ManifestRow) else ManifestRow.from_record(r) for r in rows]
    merge_rows(place.warehouse, COLLECTION, made, over_newer=True)


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def stored(place: Place) -> dict[str, Row]:
    """Return the stored rows of `series` by UID."""
    rows = place.warehouse.read(catalog.SERIES, [COLLECTION]).to_pylist()
    return {row["SeriesInstanceUID"]: row for row in rows}


def edit_series(place: Place, change: Callable[[Row], Row]) -> None:
    """Change the stored row of each Series."""
    rows = [change(row) for row in stored(place).values()]
    table = pa.Table.from_pylist(rows, schema=catalog.SERIES.schema)
    place.warehouse.write(catalog.SERIES, conform(catalog.SERIES, table), COLLECTION)


def denying(*names: str) -> Licenses:
    return Licenses(deny=names)
