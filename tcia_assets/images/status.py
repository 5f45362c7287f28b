"""The state of the mirror by Collection, in one query.

What a run would fetch is in `plan`: that also looks at the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tcia_assets.catalog import COLLECTIONS, IMPORTS, OF_FOLDER, SERIES
from tcia_assets.images.plan import IS_GIVEN_UP, SAME_BYTES
from tcia_assets.images.unindexed import count_unindexed
from tcia_assets.images.zip_parts import count_proven
from tcia_assets.metadata.moves import ZIPS_MOVE
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.single_series import partial_collections
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse

# Columns that count Series, and all columns with a sum over Collections.
COUNTS = ("series", "selected", "complete", "incomplete", "missing", "withdrawn", "unindexed")
SUMMED = (*COUNTS, "bytes_on_disk", "bytes_to_fetch", "sizes_unknown")
_INSTANT = pa.timestamp("us", "UTC")
_SCHEMA = pa.schema(
    [
        ("Collection", pa.string()),
        *((name, pa.int64()) for name in SUMMED),
        ("changed_at", _INSTANT),
        ("compared_at", _INSTANT),
        ("is_suspect", pa.bool_()),
        ("is_partial", pa.bool_()),
        ("zips", pa.int64()),
        ("zips_proven", pa.int64()),
        ("oldest_proof_at", _INSTANT),
    ]
)


@dataclass(frozen=True)
class SeriesCounts:
    """Numbers of Series and bytes, a row a Collection, and what they were counted of.

    Attributes:
        rows: The numbers.
        selection: What counts as selected.
        stamp: Changes with any file that was read.
    """

    rows: list[dict[str, Any]]
    selection: Selection | None
    stamp: str


def count_series(warehouse: Warehouse, selection: Selection | None = None) -> SeriesCounts:
    """Count the Series of all Collections.

    Raises:
        UsageError: The selection's SQL, series lists or shared lists cannot be used.
    """
    return _count(warehouse, warehouse.keys(SERIES), selection)


def collection_status(
    warehouse: Warehouse,
    collections: Sequence[str],
    selection: Selection | None = None,
    *,
    proven_since: datetime | None = None,
    counts: SeriesCounts | None = None,
) -> pa.Table:
    """Return the state of Collections, one row each, in their order.

    A Series that moved counts in its new Collection only. The columns:

        series          Number of Series ever listed, missing and withdrawn ones included.
        selected        Number of selected Series; null without a selection.
        complete        Number of Series, selected or not, whose verified zip is as the source now
                        describes it.
        incomplete      Number of other Series, selected or not, that were tried.
        missing         Number of Series missing from the newest listing, not withdrawn yet.
        withdrawn       Number of withdrawn Series.
        unindexed       Number of zips that an interrupted run has left: the next fetch reads them.
        bytes_on_disk   Bytes of zips.
        bytes_to_fetch  Bytes of selected Series that are listed, not complete and not given up;
                        null without a selection.
        sizes_unknown   Number of these Series whose size is unknown; it is not in `bytes_to_fetch`.
        changed_at      Time of the newest change event.
        compared_at     When all Series were last compared with the source's listing.
        is_suspect      Whether the source's list of Collections lacks this one although it has
                        Series that this source has listed. It stays as it is, and is not compared
                        until it is listed again. One that was imported from a folder never is.
        is_partial      Whether it was never refreshed: only Series that were fetched one by one are
                        known.
        zips            Number of zips on disk.
        zips_proven     Number of these that were fetched, or read again, since `proven_since`.
        oldest_proof_at Time of that of the zip of which it is longest ago.

    Args:
        warehouse: The warehouse.
        collections: The Collections.
        selection: What counts as selected.
        proven_since: Zips that were proven since then are counted; without it the last three
            columns are null, and cost nothing.
        counts: What a run has counted at its end; of the same selection, and if nothing was written
            since, it is not counted again.

    Raises:
        UsageError: The selection's SQL, series lists or shared lists cannot be used.
    """
    rows = _count(warehouse, collections, selection, counts).rows
    changes = warehouse.query(_CHANGED, {"collections": list(collections)}).to_pylist()
    unindexed = count_unindexed(warehouse)
    compared = last_compared(warehouse, datetime.now(UTC))
    counted = {row["Collection"]: row for row in rows}
    proofs = {
        row["Collection"]: row
        for row in (count_proven(warehouse, collections, proven_since) if proven_since else ())
    }
    no_zips = {"zips": 0, "zips_proven": 0} if proven_since else {}
    changed = {row["Collection"]: row["at"] for row in changes}
    listed = set(warehouse.read(COLLECTIONS)["Collection"].to_pylist())
    partial = partial_collections(warehouse)
    # What only another source has listed is in no list of the one in use.
    others = set(warehouse.query(_OF_OTHER_SOURCES)["Collection"].to_pylist())
    unlisted = partial | others | set(warehouse.keys(IMPORTS))
    hidden = {} if selection else {"selected": None, "bytes_to_fetch": None}
    status = [
        {
            "Collection": name,
            **dict.fromkeys(SUMMED, 0) | counted.get(name, {}) | hidden,
            "unindexed": unindexed.get(name, 0),
            "changed_at": changed.get(name),
            "compared_at": compared.get(name),
            "is_suspect": bool(listed) and name in counted and name not in listed | unlisted,
            "is_partial": name in partial,
            **no_zips | proofs.get(name, {}),
        }
        for name in collections
    ]
    return pa.Table.from_pylist(status, schema=_SCHEMA)


def mirror_totals(counts: SeriesCounts, *, of_selection: bool) -> dict[str, int]:
    """Return sums over all Collections.

    Args:
        counts: The numbers of each.
        of_selection: Whether what is selected belongs to them.

    Returns:
        Numbers of Series: `known`, `missing`, `withdrawn`, `complete`, `failed` (tried and not
        complete); `selected` and `to_come`, if they belong to them. `bytes_on_disk` are of zips.
    """
    return {
        name: sum(row[column] for row in counts.rows)
        for name, column in _TOTALS.items()
        if of_selection or name not in _OF_SELECTION
    }


_TOTALS = {
    "known": "series",
    "missing": "missing",
    "withdrawn": "withdrawn",
    "selected": "selected",
    "complete": "complete",
    "to_come": "to_come",
    "failed": "incomplete",
    "bytes_on_disk": "bytes_on_disk",
}
_OF_SELECTION = {"selected", "to_come"}


def _count(
    warehouse: Warehouse,
    collections: Sequence[str],
    selection: Selection | None,
    known: SeriesCounts | None = None,
) -> SeriesCounts:
    """Count the Series of some Collections, unless it is known of all."""
    predicate, tables = (selection.predicate, selection.tables) if selection else ("false", {})
    statement = _counts_sql(predicate)
    # Before the query: what is written meanwhile is counted by the next one.
    stamp = CleanQueries(warehouse).stamp(statement)
    if known and (known.stamp, known.selection) == (stamp, selection):
        return known
    rows: list[dict[str, Any]] = warehouse.query(
        statement, {"collections": list(collections)}, tables=tables
    ).to_pylist()
    return SeriesCounts(rows, selection, stamp)


# Collections that were last compared with a source of another family than the newest comparison.
_OF_OTHER_SOURCES = f"""
    WITH newest AS (
        SELECT Collection, split_part(arg_max(source, taken_at), '-', 1) AS family,
            max(taken_at) AS taken_at
        FROM snapshots WHERE NOT {OF_FOLDER} GROUP BY Collection
    )
    SELECT Collection FROM newest WHERE family <> (SELECT arg_max(family, taken_at) FROM newest)
"""

_CHANGED = """
    SELECT Collection, max(seen_at) AS at FROM series_changes
    WHERE number IS NOT NULL AND list_contains($collections, Collection) GROUP BY Collection
"""


_UID = "hash(Collection, SeriesInstanceUID) AS uid"
_FINGERPRINT = "if(fingerprint IS NULL, NULL, hash(fingerprint)) AS fingerprint"
_NUMBERS = f"""{_UID}, {_FINGERPRINT},
    if(crdc_series_uuid IS NULL, NULL, hash(crdc_series_uuid)) AS crdc_series_uuid"""


def _counts_sql(predicate: str) -> str:
    return f"""
    WITH at_home AS (
        -- Only Series that are not withdrawn, and so in `current_series`, can be selected. Named
        -- once below, because DuckDB would hold all rows of what is named twice.
        SELECT *, {OF_FOLDER} AS of_folder,
            withdrawn_at IS NULL AND coalesce({predicate}, false) AS is_chosen
        FROM series WHERE moved_to IS NULL AND list_contains($collections, Collection)
    ),
    -- The zip of a Series that moved may still be in a Collection that it left. A zip in any other
    -- Collection does not count: no plan would use it. The window runs over these few zips only,
    -- because over all of them it would hold them all in memory.
    left_behind AS MATERIALIZED (
        SELECT a.* FROM image_archives AS a SEMI JOIN
            (SELECT Collection, SeriesInstanceUID FROM series WHERE {ZIPS_MOVE})
            USING (Collection, SeriesInstanceUID)
    ),
    elsewhere AS (
        SELECT s.Collection AS home, a.* FROM left_behind AS a
        JOIN (SELECT Collection, SeriesInstanceUID FROM series
            WHERE moved_to IS NULL AND list_contains($collections, Collection)
            AND SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM left_behind)) AS s
            ON s.SeriesInstanceUID = a.SeriesInstanceUID
        ANTI JOIN image_archives AS here ON here.SeriesInstanceUID = s.SeriesInstanceUID
            AND here.Collection = s.Collection
        QUALIFY row_number() OVER (
            PARTITION BY s.Collection, s.SeriesInstanceUID ORDER BY a.status = 'complete' DESC
        ) = 1
    ),
    -- Texts are compared by numbers: a join by 200,000 UIDs and fingerprints would hold them all.
    zips AS (
        SELECT {_NUMBERS}, status, archive_bytes, image_count, image_bytes, fetched_at, attempts
        FROM (
            FROM image_archives
            UNION ALL SELECT * EXCLUDE (home) REPLACE (home AS Collection) FROM elsewhere
        )
    ),
    -- Sizes that are needed: a join with all of them would hold them all.
    sizes AS (
        SELECT * FROM series_sizes SEMI JOIN
            (SELECT Collection, SeriesInstanceUID FROM series WHERE FileSize IS NULL)
            USING (Collection, SeriesInstanceUID)
    ),
    each AS (
        SELECT s.*, a.status, a.archive_bytes, z.TotalSizeInBytes,
            coalesce(a.status = 'complete' AND {SAME_BYTES}, false) AS is_complete,
            {IS_GIVEN_UP} AS is_given_up
        FROM (SELECT {_NUMBERS}, * EXCLUDE (fingerprint, crdc_series_uuid) FROM at_home) AS s
        LEFT JOIN zips AS a ON a.uid = s.uid
        LEFT JOIN (SELECT {_UID}, {_FINGERPRINT}, TotalSizeInBytes FROM sizes) AS z
            ON z.uid = s.uid AND z.fingerprint = s.fingerprint
    ),
    sized AS (
        SELECT *, coalesce(FileSize, TotalSizeInBytes) AS image_bytes,
            is_chosen AND missing_since IS NULL AND NOT is_complete AND NOT is_given_up
                AND NOT of_folder AS is_to_come
        FROM each
    )
    SELECT Collection,
        count(*) AS series,
        count(*) FILTER (is_chosen) AS selected,
        count(*) FILTER (is_complete) AS complete,
        count(*) FILTER (status IS NOT NULL AND NOT is_complete) AS incomplete,
        count(*) FILTER (missing_since IS NOT NULL AND withdrawn_at IS NULL) AS missing,
        count(*) FILTER (withdrawn_at IS NOT NULL) AS withdrawn,
        coalesce(sum(archive_bytes), 0)::BIGINT AS bytes_on_disk,
        coalesce(sum(image_bytes) FILTER (is_to_come), 0)::BIGINT AS bytes_to_fetch,
        count(*) FILTER (is_to_come AND image_bytes IS NULL) AS sizes_unknown,
        count(*) FILTER (is_to_come) AS to_come
    FROM sized GROUP BY Collection ORDER BY Collection
    """
