"""A row of the manifest, and its two forms on disk: a record of Arrow and a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any, Self

import pyarrow as pa

from tcia_assets.catalog import IMAGE_ARCHIVES

STATUSES = ("complete", "incomplete", "unavailable", "failed")

UID, _FETCHED_AT = "SeriesInstanceUID", "fetched_at"


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row of `image_archives`; the fields are its columns, in their order.

    The catalog describes each column. Fields about the zip are None where there is none.
    """

    series_instance_uid: str
    collection: str
    status: str
    path: str | None
    archive_bytes: int | None
    image_count: int | None
    image_bytes: int | None
    sha256: str | None
    verified_by: str | None
    fingerprint: str | None
    crdc_series_uuid: str | None
    license_name: str | None
    data_description_uri: str | None
    source: str
    fetched_at: datetime
    attempts: int
    error: str | None

    @property
    def is_complete(self) -> bool:
        """Whether the zip on disk is verified and was current when it was fetched."""
        return self.status == "complete"

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Make a row from values by column name; a missing column is null."""
        values: list[Any] = [record.get(name) for name in IMAGE_ARCHIVES.column_names]
        return cls(*values)

    def to_record(self) -> dict[str, Any]:
        """Return the values by column name."""
        return dict(zip(IMAGE_ARCHIVES.column_names, astuple(self), strict=True))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a row from a line of JSON.

        Raises:
            ValueError, KeyError, TypeError: The line is not a row.
        """
        record = json.loads(line)
        fetched_at = datetime.fromisoformat(record[_FETCHED_AT])
        return cls.from_record(record | {UID: record[UID], _FETCHED_AT: fetched_at})

    def to_json(self) -> str:
        """Return the row as a line of JSON, without the line end."""
        return json.dumps(self.to_record(), default=datetime.isoformat)


def to_table(rows: Iterable[ManifestRow]) -> pa.Table:
    """Make a table of `image_archives` from rows."""
    records = [row.to_record() for row in rows]
    return pa.Table.from_pylist(records, schema=IMAGE_ARCHIVES.schema)


def from_table(table: pa.Table) -> list[ManifestRow]:
    """Read the rows of a table of `image_archives`, with all of its columns."""
    return [ManifestRow.from_record(record) for record in table.to_pylist()]
