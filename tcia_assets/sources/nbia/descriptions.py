"""The rows of getCollectionDescriptions as rows of `collection_descriptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, DESCRIPTION_URI, MAX_DESCRIPTION
from tcia_assets.sources import SourceRows
from tcia_assets.sources.doi import doi_key
from tcia_assets.sources.html_text import plain_text

_WRITTEN = "CollectionDescriptionTimestamp"
# Our column that is made from each column of the endpoint.
_MADE_FROM = {
    "Collection": "Collection",
    "description": "description",
    DESCRIPTION_URI.name: "citation",
    _WRITTEN: "updated_on",
}
_COLUMNS = ("Collection", "doi", "description", "citation", "updated_on")
_SCHEMA = pa.schema([COLLECTION_DESCRIPTIONS.column(name).arrow_field for name in _COLUMNS])


def read_descriptions(reply: SourceRows) -> SourceRows:
    """Return a reply of the endpoint in the columns of the table; of each DOI the newest row.

    Rows without a text and an address describe nothing; they are left out.
    """
    # By all values too: servers send the same rows in different orders.
    rows = sorted(reply.table.to_pylist(), key=lambda row: (row.get(_WRITTEN) or 0, str(row)))
    made = {(row["Collection"], row["doi"]): row for row in map(_row, rows) if _is_filled(row)}
    return replace(
        reply,
        table=pa.Table.from_pylist(list(made.values()), schema=_SCHEMA),
        promised=_ours(reply.promised),
        unreadable={
            _MADE_FROM[name]: replace(
                values, rows=pa.Table.from_pylist([*map(_row, values.rows.to_pylist())], _SCHEMA)
            )
            for name, values in reply.unreadable.items()
            if name in _MADE_FROM
        },
    )


def _ours(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_MADE_FROM[name] for name in names if name in _MADE_FROM)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    address = row.get(DESCRIPTION_URI.name)
    return {
        "Collection": row.get("Collection"),
        "doi": doi_key(address),
        "description": plain_text(row.get("description") or "", MAX_DESCRIPTION) or None,
        "citation": address,
        "updated_on": _day(row.get(_WRITTEN)),
    }


def _is_filled(row: Mapping[str, Any]) -> bool:
    return bool(row["description"] or row["citation"])


def _day(milliseconds: int | None) -> date | None:
    """Return the day (UTC) of a time in milliseconds since 1970; None for none."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).date() if milliseconds else None
    except (OverflowError, ValueError, OSError):
        return None
