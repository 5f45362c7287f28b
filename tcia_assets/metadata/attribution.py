"""Attribution of the images on disk: a table of licences and DOIs, and three files made from it.

TCIA's data usage policy binds everyone who redistributes its data. Everything here comes from the
warehouse; what the source does not state is named as not stated, never guessed. Which licences may
be fetched is decided in `selection.py`.
"""

from __future__ import annotations

from urllib.parse import quote

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES, IMPORTS
from tcia_assets.metadata.citation_files import citation_cff, citations_bib
from tcia_assets.metadata.citations import SCHEMA, Attribution, Origin
from tcia_assets.metadata.license_file import licenses_md
from tcia_assets.metadata.publications import add_publications, read_publications
from tcia_assets.store.archives import Archives
from tcia_assets.store.warehouse import Warehouse

_RENDERERS = {
    "LICENSES.md": licenses_md,
    "CITATION.cff": citation_cff,
    "CITATIONS.bib": citations_bib,
}
FILE_NAMES = tuple(_RENDERERS)
"""The names of the three files."""

# Counted by what is stored before that is cleaned: there are a few different values of 200,000.
# Series, and what the source states of each, are numbers until then, which take half of the memory.
_TERMS = "hash(LicenseName, LicenseURI, DataDescriptionURI, analysis_result_id)"
_COUNTS = f"""
    WITH listed AS (
        SELECT {_TERMS} AS terms, any_value(LicenseName) AS license_name,
               any_value(LicenseURI) AS uri, any_value(DataDescriptionURI) AS doi,
               any_value(analysis_result_id) AS analysis_result_id
        FROM series WHERE {{chosen}} GROUP BY terms
    ),
    stored AS (
        SELECT Collection, s.terms, license_name, doi,
               count(*) AS series, sum(archive_bytes) AS bytes
        FROM (
            SELECT Collection, hash(Collection, SeriesInstanceUID) AS number, license_name,
                   DataDescriptionURI AS doi, archive_bytes
            FROM image_archives WHERE path NOTNULL AND {{chosen}}
        ) AS a
        LEFT JOIN (
            SELECT hash(Collection, SeriesInstanceUID) AS number, {_TERMS} AS terms
            FROM series WHERE {{chosen}}
        ) AS s USING (number)
        GROUP BY ALL
    )
    SELECT Collection,
           -- As the source states it now; for a Series without a row, as at the fetch.
           nullif(trim(if(l.terms NOTNULL, l.license_name, s.license_name)), '') AS LicenseName,
           nullif(trim(l.uri), '') AS LicenseURI,
           nullif(trim(if(l.terms NOTNULL, l.doi, s.doi)), '') AS DataDescriptionURI,
           l.analysis_result_id,
           sum(series)::BIGINT AS series, coalesce(sum(bytes), 0)::BIGINT AS bytes
    FROM stored AS s LEFT JOIN listed AS l ON l.terms = s.terms GROUP BY ALL ORDER BY ALL
"""


def attribution_table(warehouse: Warehouse, collection: str = "") -> pa.Table:
    """Return licences and DOIs of the Series with a zip on disk.

    Args:
        warehouse: Where to look.
        collection: The Collection; all by default.

    Returns:
        A table with `SCHEMA`: one row per Collection, LicenseName, LicenseURI,
        DataDescriptionURI (null if the source states none) and analysis, with the number of Series
        and the bytes of their zips.
    """
    chosen = "Collection = $collection" if collection else "true"
    rows = warehouse.query(
        _COUNTS.format(chosen=chosen), {"collection": collection} if collection else None
    )
    return with_descriptions(rows, warehouse)


def with_descriptions(rows: pa.Table, warehouse: Warehouse) -> pa.Table:
    """Return rows of attribution as `SCHEMA`, with the title and citation of each publication.

    Args:
        rows: Has the columns of `SCHEMA`, except these two.
        warehouse: Where the publications are described.
    """
    uris = rows["DataDescriptionURI"].to_pylist()
    complete = add_publications(rows, read_publications(warehouse, uris))
    return complete.select(SCHEMA.names).cast(SCHEMA)


def write_collection(collection: str, warehouse: Warehouse) -> bool:
    """Bring the three files next to a Collection's zips up to date.

    It holds a lock of its own, so that a run with older knowledge does not overwrite newer files.

    Returns:
        Whether a file changed.

    Raises:
        StorageError: A file cannot be written. Each file is complete, in its old or its new
            version.
        Busy: Another run has been writing them for ten minutes.
    """
    folder = quote(collection, safe="")
    with warehouse.lock(IMAGE_ARCHIVES, collection, part="attribution"):
        return _put(warehouse.archives, folder, collection_texts(collection, warehouse))


def collection_texts(collection: str, warehouse: Warehouse) -> dict[str, str]:
    """Return what the three files next to a Collection's zips have to have; "" without zips."""
    title = f"Images of the Collection {collection}"
    table = attribution_table(warehouse, collection)
    return _texts(title, table, "as zips", origin_of(table, warehouse))


def origin_of(table: pa.Table, warehouse: Warehouse) -> Origin:
    """Return where the Series are from of which a table has the Collections."""
    imported = warehouse.keys(IMPORTS)
    return Origin.of(name in imported for name in table["Collection"].unique().to_pylist())


def write_files(
    archives: Archives,
    folder: str,
    title: str,
    table: pa.Table,
    *,
    form: str = "as zips",
    origin: Origin = Origin.TCIA,
) -> bool:
    """Write the three files into a folder; if the table has no rows, remove them.

    Args:
        archives: Where the folder is.
        folder: Its name; "" for the place itself.
        title: What the data are.
        table: A table with `SCHEMA`.
        form: The form of the data that its bytes are counted of.
        origin: Where they are from.

    Returns:
        Whether a file changed. A file with the same content is left in place.

    Raises:
        StorageError: A file cannot be written. Each file is complete, in its old or its new
            version.
    """
    return _put(archives, folder, _texts(title, table, form, origin))


def _texts(title: str, table: pa.Table, form: str, origin: Origin) -> dict[str, str]:
    if not table.num_rows:
        return dict.fromkeys(_RENDERERS, "")
    return render_files(title, table, form=form, origin=origin)


def _put(archives: Archives, folder: str, texts: dict[str, str]) -> bool:
    prefix = f"{folder}/" if folder else ""
    changed = [archives.put_text(prefix + name, text) for name, text in texts.items()]
    return any(changed)


def render_files(
    title: str, table: pa.Table, *, form: str = "as zips", origin: Origin = Origin.TCIA
) -> dict[str, str]:
    """Return the texts of the three files by name; equal tables, in any order, give equal texts."""
    attribution = Attribution.of(title, table, form, origin)
    return {name: render(attribution) for name, render in _RENDERERS.items()}
