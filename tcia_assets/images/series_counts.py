"""How many Series of each Collection are known, selected, on disk and to come, in one query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tcia_assets.catalog import OF_FOLDER, SERIES
from tcia_assets.images.plan import IS_GIVEN_UP, SAME_BYTES
from tcia_assets.metadata.moves import ZIPS_MOVE
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.clean_queries import CleanQueries
from tcia_assets.store.warehouse import Warehouse


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


def count_series(
    warehouse: Warehouse,
    selection: Selection | None = None,
    collections: Sequence[str] | None = None,
    *,
    known: SeriesCounts | None = None,
) -> SeriesCounts:
    """Count the Series of Collections.

    Args:
        warehouse: The warehouse.
        selection: What counts as selected.
        collections: The Collections; by default all.
        known: What was counted before, of all of them; of the same selection, and if nothing was
            written since, it is returned.

    Raises:
        UsageError: The selection's SQL, series lists or shared lists cannot be used.
    """
    predicate, tables = (selection.predicate, selection.tables) if selection else ("false", {})
    statement = _counts_sql(predicate)
    # Before the query: what is written meanwhile is counted by the next one.
    stamp = CleanQueries(warehouse).stamp(statement)
    if known and (known.stamp, known.selection) == (stamp, selection):
        return known
    keys = warehouse.keys(SERIES) if collections is None else collections
    rows: list[dict[str, Any]] = warehouse.query(
        statement, {"collections": list(keys)}, tables=tables
    ).to_pylist()
    return SeriesCounts(rows, selection, stamp)


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

_UID = "hash(Collection, SeriesInstanceUID) AS uid"
_FINGERPRINT = "if(fingerprint IS NULL, NULL, hash(fingerprint)) AS fingerprint"
_NUMBERS = f"""{_UID}, {_FINGERPRINT},
    if(crdc_series_uuid IS NULL, NULL, hash(crdc_series_uuid)) AS crdc_series_uuid"""

# The zip of a Series that moved may still be in a Collection that it left. A zip in any other
# Collection does not count: no plan would use it. The window runs over these few zips only, because
# over all of them it would hold them all in memory.
_ELSEWHERE = f"""
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
    )
"""
# Texts are compared by numbers: a join by 200,000 UIDs and fingerprints would hold them all.
_ZIPS = f"""
    zips AS (
        SELECT {_NUMBERS}, status, archive_bytes, image_count, image_bytes, fetched_at, attempts
        FROM (
            FROM image_archives
            UNION ALL SELECT * EXCLUDE (home) REPLACE (home AS Collection) FROM elsewhere
        )
    )
"""
# Sizes that are needed: a join with all of them would hold them all.
_SIZES = """
    sizes AS (
        SELECT * FROM series_sizes SEMI JOIN
            (SELECT Collection, SeriesInstanceUID FROM series WHERE FileSize IS NULL)
            USING (Collection, SeriesInstanceUID)
    )
"""
_EACH = f"""
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
"""
_SUMS = """
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


def _counts_sql(predicate: str) -> str:
    # Only Series that are not withdrawn, and so in `current_series`, can be selected. Named once
    # below, because DuckDB would hold all rows of what is named twice.
    at_home = f"""
    at_home AS (
        SELECT *, {OF_FOLDER} AS of_folder,
            withdrawn_at IS NULL AND coalesce({predicate}, false) AS is_chosen
        FROM series WHERE moved_to IS NULL AND list_contains($collections, Collection)
    )
    """
    return f"WITH {at_home}, {_ELSEWHERE}, {_ZIPS}, {_SIZES}, {_EACH} {_SUMS}"
