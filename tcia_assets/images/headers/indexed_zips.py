"""The table `indexed_zips`: what `images` has of each zip, so that nobody reads it to see that.

Each file of `indexed_zips` is made from the file of `images` with the same number, whose SHA-256 it
names. One that is missing, or made from an earlier file because a run was killed between the two,
is made again from the rows.
"""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.catalog import ACQUIRED_MODALITIES, IMAGES, INDEXED_ZIPS
from tcia_assets.store import digests, sql
from tcia_assets.store.conform import conform, empty
from tcia_assets.store.files import sha256_of
from tcia_assets.store.parquet_files import read_made_from
from tcia_assets.store.partition_files import with_columns
from tcia_assets.store.series_parts import SERIES, SeriesParts
from tcia_assets.store.warehouse import Warehouse

REPEATED = "the SOPInstanceUID is also that of "

# SQL for the number of a SOPInstanceUID that is stored. Not of `hash`, which differs between
# versions of DuckDB; and a bit less, as most readers of Parquet have no unsigned numbers.
UID_NUMBER = "(md5_number_lower(SOPInstanceUID) >> 1)::BIGINT"

_COLUMNS = (
    *("SOPInstanceUID", "SeriesInstanceUID", "Collection", "Modality", "entry_name"),
    *("archive_sha256", "error", "header_version"),
)
_VERSION = """
    CASE WHEN count(header_version) = count(*) AND min(header_version) = max(header_version)
    THEN min(header_version) END AS header_version
"""
_SUMMARY = f"""
    SELECT SeriesInstanceUID, any_value(Collection) AS Collection,
        any_value(archive_sha256) AS archive_sha256,
        count(*) AS row_count, count(entry_name) AS object_count,
        count(*) FILTER (entry_name IS NOT NULL AND (Modality IS NULL OR Modality NOT IN (
            {", ".join(map(sql.literal, sorted(ACQUIRED_MODALITIES)))}
        ))) AS referring_count,
        count(*) FILTER (SOPInstanceUID IS NULL) AS unidentified_count,
        count(error) AS error_count,
        count(*) FILTER (contains(error, {sql.literal(REPEATED)})) AS repeated_count,
        list_sort(list({UID_NUMBER}) FILTER (SOPInstanceUID IS NOT NULL)) AS uid_numbers,
        {_VERSION}
    FROM described_rows GROUP BY SeriesInstanceUID
"""
# The counts of rows that were described in several batches.
_SUM = f"""
    SELECT SeriesInstanceUID, any_value(Collection) AS Collection,
        any_value(archive_sha256) AS archive_sha256,
        {
    ", ".join(
        f"sum({name})::BIGINT AS {name}"
        for name in INDEXED_ZIPS.column_names
        if name.endswith("_count")
    )
},
        list_sort(flatten(list(uid_numbers) FILTER (uid_numbers NOTNULL))) AS uid_numbers,
        {_VERSION}
    FROM batches GROUP BY SeriesInstanceUID
"""
_SHARED = """
    WITH found AS (
        SELECT SOPInstanceUID FROM images
        WHERE Collection IN ({others}) AND SOPInstanceUID IN (
            SELECT SOPInstanceUID FROM described_rows
        )
    )
    SELECT SeriesInstanceUID, count(*) AS shared_count FROM described_rows
    WHERE SOPInstanceUID IN (FROM found) GROUP BY SeriesInstanceUID
"""


class IndexedImages(SeriesParts):
    """The files of `images` of a Collection, with their summaries in `indexed_zips`.

    The lock of `images` is held meanwhile.

    Args:
        collection: The partition.
        warehouse: Where both tables are.
        rows_per_part: About how many rows a file has at most; by default as the table declares.
    """

    def __init__(
        self, collection: str, warehouse: Warehouse, rows_per_part: int | None = None
    ) -> None:
        self._warehouse, self._collection = warehouse, collection
        self._index = warehouse.files(INDEXED_ZIPS, collection)
        super().__init__(warehouse.files(IMAGES, collection), rows_per_part)
        for number in self._index.numbers():
            if number not in self.row_counts:
                self._index.remove(number)
        for number in self.row_counts:
            if not self._is_described(number):
                self.on_write(number, None)

    def series_of(self, number: int) -> pa.ChunkedArray:
        return self._index.read(number, [SERIES])[SERIES]

    def on_write(self, number: int, rows: pa.Table | None) -> None:
        """Write the rows of `indexed_zips` for a file of images."""
        batches = self.files.read_batches(number, _COLUMNS) if rows is None else [rows]
        described = [self._describe(batch.select(_COLUMNS)) for batch in batches]
        found = pa.concat_tables(described) if described else empty(INDEXED_ZIPS)
        if len(described) > 1:
            found = self._warehouse.query(_SUM, tables={"batches": found})
        made_from = sha256_of(self.files.path(number))
        self._index.write(number, conform(INDEXED_ZIPS, found), made_from)

    def _is_described(self, number: int) -> bool:
        """Return whether the rows of `indexed_zips` for a stored file are of it."""
        path, digest_file = self.files.path(number), self.files.digest_path(number)
        known = digests.read(digest_file)
        made_from = read_made_from(INDEXED_ZIPS, self._index.path(number))
        if made_from and known[-1:] == (made_from,):
            return True
        if not known:
            digests.record(digest_file, path, path)  # an earlier version wrote the file
        return bool(made_from) and made_from == sha256_of(path)

    def _describe(self, rows: pa.Table) -> pa.Table:
        tables = {"described_rows": rows}
        described = self._warehouse.query(_SUMMARY, tables=tables)
        return conform(
            INDEXED_ZIPS,
            self._warehouse.query(
                "SELECT d.*, coalesce(s.shared_count, 0) AS shared_count "
                "FROM described AS d LEFT JOIN shared AS s USING (SeriesInstanceUID)",
                tables={"described": described, "shared": self._count_shared(rows)},
            ),
        )

    def _count_shared(self, rows: pa.Table) -> pa.Table:
        """Return, by Series, how many SOPInstanceUIDs of these rows other Collections have.

        The rows are stored already: of two Collections that are indexed at the same time, the one
        that counts last finds the rows of the other. That is enough for the check `keys_unique`.
        """
        # Named one by one, so that DuckDB reads no UIDs of this Collection.
        others = [key for key in self._warehouse.keys(IMAGES) if key != self._collection]
        if not others:  # the query would take longer than the description
            return empty(with_columns(INDEXED_ZIPS, (SERIES, "shared_count")))
        names = ", ".join(map(sql.literal, others))
        return self._warehouse.query(_SHARED.format(others=names), tables={"described_rows": rows})
