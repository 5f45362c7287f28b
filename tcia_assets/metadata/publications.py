"""Titles and citations of publications of data, by DOI, from `collection_descriptions`."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from tcia_assets.metadata.markdown import is_plain_url
from tcia_assets.sources.doi import doi_key
from tcia_assets.store.warehouse import Warehouse

PUBLICATIONS = pa.schema(
    [
        pa.field("doi", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("citation", pa.string()),
    ]
)
"""One row for each DOI, in lower case, that the source has a title or a citation for; sorted."""

# An analysis over several Collections is described in each of them, in some perhaps by NBIA, whose
# citations are addresses.
_DESCRIBED = """
    SELECT doi, min(title) AS title,
        list(DISTINCT citation ORDER BY citation) FILTER (citation <> '') AS citations
    FROM collection_descriptions
    WHERE doi IN (SELECT doi FROM wanted) GROUP BY doi ORDER BY doi
"""


def read_publications(warehouse: Warehouse, uris: Iterable[str | None]) -> pa.Table:
    """Return the publications that have these DataDescriptionURIs, as `PUBLICATIONS`.

    There are none in a mirror of NBIA alone: it has no titles, and as citations only the addresses.
    """
    wanted = {"wanted": pa.table({"doi": pa.array(sorted(_dois(uris)), pa.string())})}
    rows = warehouse.query(_DESCRIBED, tables=wanted).to_pylist()
    for row in rows:
        citations = (each for each in row.pop("citations") or () if not is_plain_url(each))
        row["citation"] = next(citations, None)
    return pa.Table.from_pylist([r for r in rows if r["title"] or r["citation"]], PUBLICATIONS)


def add_publications(table: pa.Table, publications: pa.Table) -> pa.Table:
    """Return a table with the columns `title` and `citation`, by its DataDescriptionURI.

    Args:
        table: Has the column `DataDescriptionURI`.
        publications: As `PUBLICATIONS`; where a DOI is missing, both are null.
    """
    known = {row["doi"]: row for row in publications.to_pylist()}
    uris = table["DataDescriptionURI"].to_pylist()
    rows = [known.get(doi_key(uri), {}) for uri in uris]
    for name in ("title", "citation"):
        values = pa.array([row.get(name) for row in rows], pa.string())
        table = table.append_column(name, values)
    return table


def _dois(uris: Iterable[str | None]) -> set[str]:
    return {doi_key(uri) for uri in uris} - {""}
