"""Request what a source describes of a Collection, and complete it from the stored Series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, DESCRIPTION_URI, LICENSE_NAME, SERIES
from tcia_assets.metadata.citations import doi_url
from tcia_assets.metadata.other_sources import kept_values
from tcia_assets.sources import Source, SourceRows
from tcia_assets.sources.doi import doi_key
from tcia_assets.store.conform import empty, replace_column
from tcia_assets.store.warehouse import Warehouse

_LICENSE, _URI = LICENSE_NAME.name, DESCRIPTION_URI.name
# What each refresh makes anew.
_MADE = (*COLLECTION_DESCRIPTIONS.key, _LICENSE, "source")


def request_descriptions(
    key: str, source: Source, warehouse: Warehouse, known: str = ""
) -> tuple[SourceRows, dict[str, int | bool | str]]:
    """Request the descriptions of a Collection.

    Where the source describes nothing, or has no descriptions, the rows are those that are stored.
    Otherwise two things stay that are stored: what only other sources know of a publication, and
    the publications that the source does not describe, but stored Series name.

    Args:
        key: The Collection.
        source: Where they come from.
        warehouse: Where its Series and earlier descriptions are stored.
        known: The digest of a reply that need not be read again.

    Returns:
        The rows, and facts: how many were received, and the address of each DOI.
    """
    reply = source.rows(COLLECTION_DESCRIPTIONS, key, known=known)
    if reply.is_known:
        return reply, {}
    received = reply.table.num_rows
    rows = warehouse.read_or_empty(COLLECTION_DESCRIPTIONS, key)
    if received:
        series = warehouse.read_or_empty(SERIES, key, [SERIES.partitioned_by, _URI, _LICENSE])
        new = _completed(reply.table, key, source.name, series)
        named = {doi_key(uri) for uri in pc.unique(series[_URI]).to_pylist()}
        rows = _with_stored(new, rows, reply.promised, named)
    dois = [doi for doi in rows["doi"].to_pylist() if doi]
    # Names of metadata in Dagster: the first is the one that most Collections have.
    links = {f"doi_{n}" if n > 1 else "doi": doi_url(doi) for n, doi in enumerate(dois, start=1)}
    return replace(reply, table=rows), {"received": received, **links}


def _completed(rows: pa.Table, key: str, source: str, series: pa.Table) -> pa.Table:
    """Return the rows under the Collection's name as it is stored, with licence and source."""
    made: dict[str, list[str | None]] = {
        "Collection": [key] * rows.num_rows,
        "source": [source] * rows.num_rows,
    }
    if _LICENSE not in rows.column_names:
        licenses = _licenses(series)
        made[_LICENSE] = [licenses.get(doi) for doi in rows["doi"].to_pylist()]
    for name, values in made.items():
        if name in rows.column_names:
            rows = rows.drop_columns([name])
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows


def _with_stored(
    new: pa.Table, stored: pa.Table, promised: Sequence[str], named: set[str]
) -> pa.Table:
    """Return the new rows with what is stored of the same publications, and of others.

    Args:
        new: The rows of the source.
        stored: The rows that are stored.
        promised: The columns that the source has.
        named: The DOIs of the Series that are stored.
    """
    new = pa.concat_tables([empty(COLLECTION_DESCRIPTIONS), new], promote_options="default")
    place = pc.index_in(new["doi"], value_set=stored["doi"].combine_chunks()).combine_chunks()
    kept = [n for n in COLLECTION_DESCRIPTIONS.column_names if n not in {*promised, *_MADE}]
    new = kept_values(new, stored, place, kept if promised else ())
    new = _with_citations(new, stored["citation"].take(place))
    is_new = pc.is_in(stored["doi"], value_set=new["doi"].combine_chunks())
    is_named = pc.is_in(stored["doi"], value_set=pa.array(named - {""}, pa.string()))
    others = stored.filter(pc.and_not(is_named, is_new))
    return pa.concat_tables([new, others], promote_options="default")


def _with_citations(rows: pa.Table, stored: pa.ChunkedArray) -> pa.Table:
    """Return the rows with a stored citation where the new one is no more than the address."""
    pairs = zip(rows["citation"].to_pylist(), stored.to_pylist(), strict=True)
    texts = [old or new if doi_key(new) else new for new, old in pairs]
    return replace_column(rows, "citation", pa.array(texts, pa.string()))


def _licenses(series: pa.Table) -> dict[str, str | None]:
    """Return, by DOI, the licence that all stored Series with it have; None if they differ."""
    pairs = series.group_by([_URI, _LICENSE]).aggregate([])
    found: dict[str, set[str]] = {}
    for row in pairs.filter(pc.is_valid(pairs[_LICENSE])).to_pylist():
        found.setdefault(doi_key(row[_URI]), set()).add(row[_LICENSE])
    return {doi: min(names) if len(names) == 1 else None for doi, names in found.items()}
