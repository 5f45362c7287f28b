"""The table `indexed_zips`: what `images` has of each zip, so that nobody reads it to see that.

Each file of `indexed_zips` is made from the file of `images` with the same number, whose SHA-256 it
names. One that is missing, or made from an earlier file because a run was killed between the two,
is made again from the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED_MODALITIES, HEADER_VERSION, IMAGES, INDEXED_ZIPS
from tcia_assets.store import digests, sql
from tcia_assets.store.conform import align, conform, empty
from tcia_assets.store.files import sha256_of
from tcia_assets.store.parquet_files import read_derived
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
_COUNTS = tuple(name for name in INDEXED_ZIPS.column_names if name.endswith("_count"))
_SUMMARIES = with_columns(INDEXED_ZIPS, (SERIES, *_COUNTS, "header_version"))
_SHARED_COUNTS = with_columns(INDEXED_ZIPS, (SERIES, "shared_count"))
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
        list({UID_NUMBER}) FILTER (SOPInstanceUID IS NOT NULL) AS uid_numbers,
        {_VERSION}
    FROM described_rows GROUP BY SeriesInstanceUID
"""
# The rows of a file may have been described in several batches.
_TOGETHER = f"""
    WITH added AS (
        SELECT SeriesInstanceUID, any_value(Collection) AS Collection,
            any_value(archive_sha256) AS archive_sha256,
            {", ".join(f"sum({name})::BIGINT AS {name}" for name in _COUNTS)},
            list_sort(flatten(list(uid_numbers) FILTER (uid_numbers NOTNULL))) AS uid_numbers,
            {_VERSION}
        FROM described GROUP BY SeriesInstanceUID
    ), counted AS (
        SELECT SeriesInstanceUID, sum(shared_count)::BIGINT AS shared_count
        FROM shared GROUP BY SeriesInstanceUID
    )
    SELECT a.* REPLACE (coalesce(c.shared_count, 0) AS shared_count)
    FROM added AS a LEFT JOIN counted AS c USING (SeriesInstanceUID)
"""
_SHARED = """
    WITH found AS (
        SELECT SOPInstanceUID FROM ({others}) WHERE SOPInstanceUID IN (
            SELECT SOPInstanceUID FROM described_rows
        )
    )
    SELECT SeriesInstanceUID, count(*) AS shared_count FROM described_rows
    WHERE SOPInstanceUID IN (FROM found) GROUP BY SeriesInstanceUID
"""


class FileSummary(NamedTuple):
    """What a file of `indexed_zips` has, as far as it is held while its Collection is indexed.

    Attributes:
        series: The Series of its zips, 70 bytes each.
        counts: The sums of its columns `row_count`, `error_count` and so on, by their names, and
            `outdated_count` of objects that were read for other columns than `images` has now.
        unread: The Series of zips that could not be read.
        outdated: The Series of zips with outdated objects.
    """

    series: pa.ChunkedArray
    counts: Counter[str]
    unread: list[str]
    outdated: list[str]

    @classmethod
    def of(cls, rows: pa.Table) -> FileSummary:
        """Summarize the rows of a file."""
        is_read = pc.greater(rows["object_count"], 0)
        is_other = pc.not_equal(rows["header_version"], HEADER_VERSION)
        is_outdated = pc.and_(is_read, pc.fill_null(is_other, fill_value=True))
        outdated = rows.filter(is_outdated)
        counts = Counter({name: _sum(rows[name]) for name in _COUNTS})
        counts["outdated_count"] = _sum(outdated["object_count"])
        unread = rows[SERIES].filter(pc.invert(is_read)).to_pylist()
        return cls(rows[SERIES], counts, unread, outdated[SERIES].to_pylist())


def _sum(counts: pa.ChunkedArray) -> int:
    return int(pc.sum(counts, min_count=0).as_py())


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
        self._summaries: dict[int, FileSummary] = {}
        # What files of `indexed_zips` have that lack a column, and are made again: to count it
        # takes longer than all else, where there are other Collections.
        self._outdated: dict[int, pa.Table] = {}
        super().__init__(warehouse.files(IMAGES, collection), rows_per_part)
        for number in self._index.numbers():
            if number not in self.row_counts:
                self._index.remove(number)
        for number in sorted(self.row_counts.keys() - self._summaries.keys()):
            self.on_write(number, None)

    @property
    def summaries(self) -> Iterable[FileSummary]:
        """What the files have now."""
        return self._summaries.values()

    @property
    def counts(self) -> Counter[str]:
        """The sums of what the files have now."""
        return sum((each.counts for each in self.summaries), Counter())

    def count_rows(self, number: int) -> int:
        rows = self._read_summaries(number)
        if rows is None:
            return super().count_rows(number)
        self._summaries[number] = summary = FileSummary.of(rows)
        return summary.counts["row_count"]

    def series_of(self, number: int) -> pa.ChunkedArray:
        return self._summaries[number].series

    def on_write(self, number: int, rows: pa.Table | None) -> None:
        """Write the rows of `indexed_zips` for a file of images."""
        batches = self.files.read_batches(number, _COLUMNS) if rows is None else [rows]
        outdated = self._outdated.pop(number, None)
        described = [empty(INDEXED_ZIPS)]
        shared = [empty(_SHARED_COUNTS) if outdated is None else outdated]
        for batch in batches:
            tables = {"described_rows": batch.select(_COLUMNS)}
            described.append(align(INDEXED_ZIPS, self._warehouse.query(_SUMMARY, tables=tables)))
            if outdated is None:
                shared.append(align(_SHARED_COUNTS, self._count_shared(tables)))
        tables = {"described": pa.concat_tables(described), "shared": pa.concat_tables(shared)}
        found = conform(INDEXED_ZIPS, self._warehouse.query(_TOGETHER, tables=tables))
        self._index.write(number, found, made_from=sha256_of(self.files.path(number)))
        self._summaries[number] = FileSummary.of(found)

    def _read_summaries(self, number: int) -> pa.Table | None:
        """Return the stored rows for a file; None unless they are of the file as it is now."""
        digest_file = self.files.digest_path(number)
        known = digests.read(digest_file)
        stored = read_derived(INDEXED_ZIPS, _SUMMARIES, self._index.path(number))
        if not stored.made_from or known[-1:] != (stored.made_from,):
            path = self.files.path(number)
            if not known:
                digests.record(digest_file, path, path)  # an earlier version wrote the file
            if not stored.made_from or stored.made_from != sha256_of(path):
                return None
        if stored.is_current:
            return stored.rows
        if not stored.rows["shared_count"].null_count:
            self._outdated[number] = align(_SHARED_COUNTS, stored.rows)
        return None

    def _count_shared(self, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Return, by Series, how many SOPInstanceUIDs of these rows other Collections have.

        The rows are stored already: of two Collections that are indexed at the same time, the one
        that counts last finds the rows of the other. That is enough for the check `keys_unique`.
        """
        others = [key for key in self._warehouse.keys(IMAGES) if key != self._collection]
        if not others:  # the query would take longer than the description
            return empty(_SHARED_COUNTS)
        statement = _SHARED.format(others=self._warehouse.select_from(IMAGES, others))
        return self._warehouse.query(statement, tables=tables)
