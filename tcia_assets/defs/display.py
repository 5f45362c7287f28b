"""Pictures, links and rows in the metadata of events, as Dagster's UI shows them.

They stay in Dagster's records as long as the event does, so each is small.
"""

from base64 import b64encode
from collections.abc import Collection
from typing import Any

import dagster as dg

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS
from tcia_assets.errors import MissingExtra, shorten
from tcia_assets.metadata.citations import doi_url
from tcia_assets.metadata.publications import Use, read_uses
from tcia_assets.pages.strip import picture_strip
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse

# A UID has at most 64 characters.
_ROWS, _COLUMNS, _LONGEST = 5, 8, 80


def picture(jpeg: bytes, about: str) -> str:
    """Return Markdown that holds a picture: the UI has no access to files.

    Args:
        jpeg: The picture.
        about: What it shows, for those who do not see it; without brackets.
    """
    return f"![{about}](data:image/jpeg;base64,{b64encode(jpeg).decode()})"


def first_rows(warehouse: Warehouse, table: Table, key: str) -> dict[str, Any]:
    """Return the first rows of a partition, without the Collection, as a fact; none if empty."""
    names = [name for name in table.column_names if name != table.partitioned_by][:_COLUMNS]
    files = warehouse.files(table, key)
    numbers = files.numbers()[:1]  # a large partition has many, and five rows are shown
    batches = (batch for number in numbers for batch in files.read_batches(number, names, _ROWS))
    rows: list[dict[str, Any]] = next((batch.to_pylist() for batch in batches), [])
    if not rows:
        return {}
    shown = [{name: _text(value) for name, value in row.items()} for row in rows]
    return {"first_rows": dg.MetadataValue.table([dg.TableRecord(row) for row in shown])}


def _text(value: object) -> str:
    return "" if value is None else shorten(str(value), _LONGEST)


def publication(warehouse: Warehouse, collection: str) -> dict[str, Any]:
    """Return the page of a Collection's own publication at TCIA as a fact; none if unknown."""
    rows = warehouse.read_or_empty(COLLECTION_DESCRIPTIONS, collection, ["doi"])
    urls = {doi: url for doi in rows["doi"].to_pylist() if (url := doi_url(doi or ""))}
    if not urls:
        return {}
    uses = read_uses(warehouse, [collection]) if len(urls) > 1 else {}
    main = max(sorted(urls), key=lambda doi: uses.get((collection, doi.lower()), Use()).own)
    return {"publication": dg.MetadataValue.url(urls[main])}


def pictures(warehouse: Warehouse, collection: str, series: Collection[str]) -> dict[str, Any]:
    """Return pictures of some Series of a Collection as a fact; none if none can be shown."""
    try:
        strip = picture_strip(warehouse, collection, series)
    except MissingExtra:
        return {}  # the catalogue says how to have them
    return {"pictures": dg.MetadataValue.md(picture(strip, "Some of the Series"))} if strip else {}
