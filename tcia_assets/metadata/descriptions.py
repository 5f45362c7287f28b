"""Request what a source describes of a Collection, and complete it from the stored Series."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, DESCRIPTION_URI, LICENSE_NAME, SERIES
from tcia_assets.metadata.citations import doi_url
from tcia_assets.sources import Source, SourceRows
from tcia_assets.sources.doi import doi_of
from tcia_assets.store.warehouse import Warehouse

_LICENSE = LICENSE_NAME.name


def request_descriptions(
    key: str, source: Source, warehouse: Warehouse
) -> tuple[SourceRows, dict[str, int | bool | str]]:
    """Request the descriptions of a Collection.

    Where the source describes nothing, or has no descriptions, the rows are those that are stored.

    Args:
        key: The Collection.
        source: Where they come from.
        warehouse: Where its Series and earlier descriptions are stored.

    Returns:
        The rows, and facts: how many were received, and the address of each DOI.
    """
    reply = source.rows(COLLECTION_DESCRIPTIONS, key)
    received = reply.table.num_rows
    rows = _completed(reply.table, key, source.name, warehouse) if received else None
    if rows is None:
        rows = warehouse.read_or_empty(COLLECTION_DESCRIPTIONS, key)
    dois = [doi for doi in rows["doi"].to_pylist() if doi]
    # Names of metadata in Dagster: the first is the one that most Collections have.
    links = {f"doi_{n}" if n > 1 else "doi": doi_url(doi) for n, doi in enumerate(dois, start=1)}
    return replace(reply, table=rows), {"received": received, **links}


def _completed(rows: pa.Table, key: str, source: str, warehouse: Warehouse) -> pa.Table:
    """Return the rows under the Collection's name as it is stored, with licence and source."""
    licenses = _licenses(key, warehouse)
    made: dict[str, list[str | None]] = {
        "Collection": [key] * rows.num_rows,
        "source": [source] * rows.num_rows,
    }
    if _LICENSE not in rows.column_names:
        made[_LICENSE] = [licenses.get(doi) for doi in rows["doi"].to_pylist()]
    for name, values in made.items():
        if name in rows.column_names:
            rows = rows.drop_columns([name])
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows


def _licenses(key: str, warehouse: Warehouse) -> dict[str, str | None]:
    """Return, by DOI, the licence that all stored Series with it have; None if they differ."""
    stored = warehouse.read_or_empty(SERIES, key, [SERIES.key[0], DESCRIPTION_URI.name, _LICENSE])
    pairs = stored.filter(pc.is_valid(stored[_LICENSE])).group_by([DESCRIPTION_URI.name, _LICENSE])
    found: dict[str, set[str]] = {}
    for row in pairs.aggregate([]).to_pylist():
        doi = doi_of((row[DESCRIPTION_URI.name] or "").strip()).lower()
        found.setdefault(doi, set()).add(row[_LICENSE])
    return {doi: min(names) if len(names) == 1 else None for doi, names in found.items()}
