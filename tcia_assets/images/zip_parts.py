"""The parts in which the zips of a Collection are read again, and when each was last read.

A zip is in one of 4,096 parts, by the MD5 of its SeriesInstanceUID, so that it stays in its part
whatever is fetched. What was read is recorded by part in `zip_reads`: a few kilobytes a Collection,
where a date in each row of the manifest would rewrite all of it every day. A zip counts as proven
when it was fetched, or later when its part was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ZIP_READS
from tcia_assets.errors import UsageError
from tcia_assets.images.manifest_row import ManifestRow
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

_DIGITS = 3
PARTS = 16**_DIGITS
# Rows of the manifest that are held at once: as objects, a thousand take about a megabyte.
_BATCH_ZIPS = 1000

_PART = f"left(md5(SeriesInstanceUID), {_DIGITS})"


def proven_zips(collections: Sequence[str]) -> str:
    """Return SQL for the zips on disk of Collections, each with its part and when it was proven."""
    # Named one by one, so that DuckDB opens only their partitions.
    named = f"Collection IN ({', '.join(map(sql.literal, collections)) or 'NULL'})"
    return f"""(
        SELECT z.*, r.read_at, coalesce(greatest(
            CASE WHEN z.status = 'complete' THEN z.fetched_at END, r.read_at
        ), to_timestamp(0)) AS proven_at
        FROM (
            SELECT *, {_PART} AS part FROM image_archives WHERE path IS NOT NULL AND {named}
        ) AS z LEFT JOIN (SELECT * FROM zip_reads WHERE {named}) AS r
        ON r.Collection = z.Collection AND r.part = z.part
    )"""


class ZipPart(NamedTuple):
    """A part of a Collection's zips: its name, how many there are, and their bytes."""

    collection: str
    part: str
    zips: int
    bytes: int


@dataclass(frozen=True)
class Subset:
    """The K-th of N equal subsets of all zips, with K from 1 to N; the same zips each time.

    Raises:
        UsageError: `number` is not one of 1 to `of`, or `of` is more than the number of parts.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= PARTS:
            raise UsageError(
                f"subset {self.number}/{self.of}: it must be K/N with K from 1 to N, and N at most "
                f"{PARTS}"
            )

    def contains(self, part: str) -> bool:
        """Return whether the zips of a part are in this subset."""
        number: int = int(part, 16) * self.of // PARTS
        return number == self.number - 1


class PartRead(NamedTuple):
    """What reading all zips of a part found."""

    part: ZipPart
    read_at: datetime
    zips: int
    bytes: int
    damaged: int


def list_parts(
    warehouse: Warehouse, collections: Sequence[str], subset: Subset | None = None
) -> list[ZipPart]:
    """Return the parts of Collections, those whose zips were proven longest ago first."""
    found = _query(warehouse, _parts(collections))
    return [each for each in found if subset is None or subset.contains(each.part)]


def due_parts(
    warehouse: Warehouse, collections: Sequence[str], days: int, now: datetime
) -> list[ZipPart]:
    """Return the parts to read today, those whose zips were proven longest ago first.

    Each day reads as many bytes as make all of them in so many days, of which those that were read
    since midnight (UTC) count; and whatever was proven before that many days. What was proven today
    is left out.

    Args:
        warehouse: Where the zips are.
        collections: Their Collections.
        days: Within how many days each zip is read.
        now: The time.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    due = f"""
        WITH parts AS ({_parts(collections)}),
        quota AS (
            SELECT sum(bytes) / $days - coalesce(sum(bytes) FILTER (read_at >= $today), 0) AS bytes
            FROM parts
        ),
        ranked AS (
            SELECT *, coalesce(sum(bytes) OVER (
                ORDER BY proven_at, Collection, part
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS bytes_before
            FROM parts
        )
        FROM ranked WHERE proven_at < $today
            AND (proven_at < $overdue OR bytes_before < (SELECT bytes FROM quota))
    """
    overdue = now - timedelta(days=days)
    return _query(warehouse, due, days=days, today=today, overdue=overdue)


def _parts(collections: Sequence[str]) -> str:
    return f"""
        SELECT Collection, part, count(*) AS zips, coalesce(sum(archive_bytes), 0)::BIGINT AS bytes,
            min(proven_at) AS proven_at, max(read_at) AS read_at
        FROM {proven_zips(collections)} GROUP BY Collection, part
    """


def _query(warehouse: Warehouse, parts: str, **parameters: object) -> list[ZipPart]:
    rows = warehouse.query(
        f"SELECT Collection, part, zips, bytes FROM ({parts}) ORDER BY proven_at, Collection, part",
        parameters,
    )
    return [ZipPart(*row.values()) for row in rows.to_pylist()]


def count_proven(
    warehouse: Warehouse, collections: Sequence[str], since: datetime
) -> list[dict[str, Any]]:
    """Return, for each Collection with zips, `zips`, `zips_proven` and `oldest_proof_at`.

    The second is the number of zips that were proven since a moment.
    """
    rows: list[dict[str, Any]] = warehouse.query(
        f"""
        SELECT Collection, count(*) AS zips,
            count(*) FILTER (proven_at >= $since) AS zips_proven,
            min(proven_at) AS oldest_proof_at
        FROM {proven_zips(collections)} GROUP BY Collection
        """,
        {"since": since},
    ).to_pylist()
    return rows


def rows_of_parts(
    parts: Sequence[ZipPart], warehouse: Warehouse
) -> Iterator[list[tuple[ZipPart, ManifestRow]]]:
    """Yield the manifest rows of the zips of parts, in their order, about a thousand at a time."""
    batch: list[ZipPart] = []
    for part in parts:
        batch.append(part)
        if sum(each.zips for each in batch) >= _BATCH_ZIPS:
            yield _rows(batch, warehouse)
            batch = []
    if batch:
        yield _rows(batch, warehouse)


def _rows(parts: Sequence[ZipPart], warehouse: Warehouse) -> list[tuple[ZipPart, ManifestRow]]:
    chosen = pa.table(
        {
            "Collection": pa.array([each.collection for each in parts], pa.string()),
            "part": pa.array([each.part for each in parts], pa.string()),
            "place": pa.array(range(len(parts)), pa.int64()),
        }
    )
    rows = warehouse.query(
        f"""
        SELECT z.*, c.place FROM {proven_zips(sorted({each.collection for each in parts}))} AS z
        JOIN chosen AS c ON c.Collection = z.Collection AND c.part = z.part
        ORDER BY c.place, z.SeriesInstanceUID
        """,
        tables={"chosen": chosen},
    )
    return [(parts[row["place"]], ManifestRow.from_record(row)) for row in rows.to_pylist()]


def record_reads(reads: Iterable[PartRead], warehouse: Warehouse) -> None:
    """Record that all zips of some parts were read.

    Raises:
        StorageError: The file cannot be written.
    """
    by_collection: dict[str, list[PartRead]] = {}
    for read in reads:
        by_collection.setdefault(read.part.collection, []).append(read)
    for collection, mine in by_collection.items():
        new = pa.Table.from_pylist([_record(read) for read in mine], schema=ZIP_READS.schema)
        with warehouse.update(ZIP_READS, collection) as partition:
            stored = partition.rows
            others = stored.filter(pc.invert(pc.is_in(stored["part"], value_set=new["part"])))
            partition.rows = pa.concat_tables([others, new])


def _record(read: PartRead) -> dict[str, object]:
    return {
        "Collection": read.part.collection,
        "part": read.part.part,
        "read_at": read.read_at,
        "zips": read.zips,
        "zip_bytes": read.bytes,
        "damaged": read.damaged,
    }
