"""Titles and citations of publications of data, by DOI, from `collection_descriptions`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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


_USES = """
    SELECT Collection, DataDescriptionURI,
        coalesce(nullif(trim(Modality), ''), 'other') AS modality,
        upper(trim(ThirdPartyAnalysis)) IS NOT DISTINCT FROM 'YES' OR analysis_result_id NOTNULL
            AS is_derived,
        count(*) AS series
    FROM current_series WHERE list_contains($names, Collection) AND DataDescriptionURI NOTNULL
    GROUP BY ALL ORDER BY series DESC, modality
"""


@dataclass
class Use:
    """What a publication describes in a Collection.

    Attributes:
        own: Number of Series that the Collection's own authors made.
        modalities: Number of Series by Modality, that of most Series first: the own ones, or if it
            has none, those that a third party derived.
    """

    own: int = 0
    modalities: dict[str, int] = field(default_factory=dict)


def read_uses(warehouse: Warehouse, names: Sequence[str]) -> dict[tuple[str, str], Use]:
    """Return what each publication describes, by Collection and by `doi_key` of its address.

    A Series is derived by a third party if ThirdPartyAnalysis is YES or it has an
    analysis_result_id. Addresses that are no DOI are under "".
    """
    found: dict[tuple[str, str], Use] = defaultdict(Use)
    rows = warehouse.query(_USES, {"names": list(names)}).to_pylist()
    for row in sorted(rows, key=lambda row: bool(row["is_derived"])):
        use = found[row["Collection"], doi_key(row["DataDescriptionURI"])]
        if row["is_derived"] and use.own:
            continue
        use.own += 0 if row["is_derived"] else row["series"]
        modality = row["modality"]
        use.modalities[modality] = use.modalities.get(modality, 0) + row["series"]
    return dict(found)


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
