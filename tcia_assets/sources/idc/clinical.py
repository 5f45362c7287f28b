"""Clinical tables of Collections, from the IDC's export: Parquet files in a public bucket.

Two of its tables tell which others there are, and what their columns mean.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import UnknownReply, UnreadableReply
from tcia_assets.sources import ClinicalTable, Cost
from tcia_assets.sources.http.transport import Transport
from tcia_assets.sources.idc.bucket import SeriesFolder

_BUCKET = "idc-open-metadata"
_EXPORT = "bigquery_export/idc_v{version}_clinical/"
_TABLES, _COLUMNS = "table_metadata", "column_metadata"
_NEEDED = {
    _TABLES: ("collection_id", "table_name", "table_description"),
    _COLUMNS: ("table_name", "column", "column_label"),
}
_MOST_FILES, _MOST_BYTES = 100, 1 << 30


class ClinicalExport:
    """The clinical tables of one version of the IDC.

    Args:
        transport: What sends the requests.
        base_url: The URL of a bucket, with `{bucket}` for its name.
        version: The number of the version.
    """

    def __init__(self, transport: Transport, base_url: str, version: str) -> None:
        self._transport, self._base_url = transport, base_url
        self._version = version

    def tables(self, collection_id: str) -> list[ClinicalTable]:
        """Return the tables of a Collection, by its name in the IDC, sorted by name.

        Raises:
            UnknownReply: This version has no export.
            UnreadableReply: It cannot be read.
        """
        found = [
            ClinicalTable(name, row["table_description"] or "", self._labels.get(name, {}))
            for row in self._described
            if row["collection_id"] == collection_id
            for name in [_short(row["table_name"])]
        ]
        return sorted(found, key=lambda table: table.name)

    # The same for all Collections, so downloaded once.

    @cached_property
    def _described(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.rows(_TABLES).to_pylist()
        return rows

    @cached_property
    def _labels(self) -> dict[str, dict[str, str]]:
        """The label of each column, by table and column."""
        labels: dict[str, dict[str, str]] = {}
        for row in self.rows(_COLUMNS).to_pylist():
            of_table = labels.setdefault(_short(row["table_name"]), {})
            of_table[row["column"]] = row["column_label"] or ""
        return labels

    def rows(self, name: str) -> pa.Table:
        """Return the rows of a table.

        Raises:
            UnknownReply: There is no such table.
            UnreadableReply: It cannot be read.
        """
        below = _EXPORT.format(version=self._version)
        folder = SeriesFolder(self._transport, self._base_url, _BUCKET, name, below)
        cost = Cost()
        objects = folder.objects(_MOST_FILES, cost)
        if not objects or sum(each.size_bytes for each in objects) > _MOST_BYTES:
            raise UnknownReply(
                f"version {self._version} of the IDC has no clinical table {name!r}"
                if not objects
                else f"the clinical table {name!r} has more than {_MOST_BYTES >> 30} GiB"
            )
        with TemporaryDirectory() as scratch:
            paths = [Path(scratch) / each.name for each in objects]
            for each, path in zip(objects, paths, strict=True):
                folder.download(each, path, cost, lambda _: None)
            return _read(name, paths)


def _read(name: str, paths: list[Path]) -> pa.Table:
    try:
        parts = [pq.read_table(path, partitioning=None) for path in paths]
        rows = pa.concat_tables(parts, promote_options="default")
    except pa.ArrowInvalid as error:
        raise UnreadableReply(f"the clinical table {name!r} cannot be read: {error}") from None
    missing = [column for column in _NEEDED.get(name, ()) if column not in rows.column_names]
    if missing:
        raise UnreadableReply(f"the clinical table {name!r} has no column {missing[0]!r}")
    return rows


def _short(name: str) -> str:
    """Return the name of a table without its project and dataset."""
    return name.rpartition(".")[2]
