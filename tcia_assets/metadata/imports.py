"""The table `imports`: which Collections were imported from folders, and what these held.

A Collection is imported or listed by a source, never both: what only a folder has is in no source's
list, and a refresh would take it for withdrawn.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import COLLECTIONS, IMPORTS, SERIES
from tcia_assets.errors import UsageError, quote_first
from tcia_assets.metadata.partition_keys import is_valid_key
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.units import are


def imported_from(warehouse: Warehouse) -> dict[str, str]:
    """Return the folder of each Collection that was imported."""
    rows = warehouse.read(IMPORTS).select(["Collection", "folder"]).to_pylist()
    return {row["Collection"]: row["folder"] for row in rows}


def refuse_imported(collections: Iterable[str], warehouse: Warehouse) -> None:
    """Raise UsageError, with the command to use, if one of the Collections was imported."""
    folders = imported_from(warehouse)
    for name in collections:
        if name in folders:
            raise UsageError(
                f"{name!r} was imported from {folders[name]}: to read the folder again, run "
                f"`tcia-assets import {shlex.quote(folders[name])} --collection "
                f"{shlex.quote(name)}`"
            )


def check_name(collection: str, warehouse: Warehouse) -> None:
    """Raise UsageError if a folder cannot become a Collection of this name."""
    if not is_valid_key(collection):
        raise UsageError(
            f"{collection!r} cannot be a Collection's name: 1 to 200 characters, no | , [ ]"
        )
    if collection in warehouse.keys(IMPORTS):
        return
    listed = warehouse.read(COLLECTIONS)["Collection"].to_pylist()
    if collection in listed or collection in warehouse.keys(SERIES):
        raise UsageError(
            f"{collection!r} is a Collection of the archive: choose another name for the folder"
        )


def check_series(uids: pa.ChunkedArray, collection: str, warehouse: Warehouse) -> None:
    """Raise UsageError if only another Collection has one of these Series, which would leave it."""
    found = warehouse.query(
        "SELECT s.Collection, s.SeriesInstanceUID FROM series AS s SEMI JOIN named "
        "USING (SeriesInstanceUID) WHERE s.Collection <> $collection AND s.moved_to IS NULL "
        "AND s.SeriesInstanceUID NOT IN "
        "(SELECT SeriesInstanceUID FROM series WHERE Collection = $collection) ORDER BY ALL",
        {"collection": collection},
        tables={"named": pa.table({"SeriesInstanceUID": uids})},
    )
    if not found.num_rows:
        return
    series, names = found["SeriesInstanceUID"].to_pylist(), found["Collection"].unique().to_pylist()
    raise UsageError(
        f"import a folder without the Series that are in {quote_first(names)} already: "
        f"{len(series)} {are(len(series))}, {quote_first(series, 2)}"
    )


def record_import(
    collection: str,
    folder: Path,
    counts: Mapping[str, int],
    warehouse: Warehouse,
    at: datetime,
) -> None:
    """Write the row of an import; to be called before anything else of the Collection is written.

    Args:
        collection: The Collection.
        folder: The folder.
        counts: What it holds: the columns of `imports` that count.
        warehouse: The warehouse.
        at: When the folder was read.
    """
    row = {"Collection": collection, "folder": str(folder), "imported_at": at, **counts}
    with warehouse.update(IMPORTS, collection) as partition:
        partition.rows = pa.Table.from_pylist([row], schema=IMPORTS.schema)
    warehouse.ensure_views()
