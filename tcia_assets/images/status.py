"""How things stand, by Collection: what is known, what is selected of it, what is on disk.

What belongs here: the numbers, in one look over the warehouse. What does not: how they are shown
(`show.py`), and what a run would fetch (`plan.py`): that also looks at the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tcia_assets.catalog import COLLECTIONS
from tcia_assets.images.plan import MOST_ATTEMPTS, SAME_BYTES
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse


@dataclass(frozen=True)
class Standing:
    """How things stand in a Collection. A Series that moved counts where it is at home.

    `series` are all that were ever listed, the `missing` and `withdrawn` included. `complete` are
    on disk, proven, as the archive now describes them, and `incomplete` were tried and are not;
    both whether they are selected or not. `bytes_on_disk` are those of zips, `bytes_to_come` those
    of the selected Series that are listed, not complete and not given up; of `sizes_unknown` more
    the archive told no size. `selected` and `bytes_to_come` are None where there is no selection.
    `changed_at` is the newest event of a Series' life. A Collection that `is_suspect` has
    Series, but the archive lists it no more: it stays as it is, and is not compared until it is
    back.
    """

    collection: str
    series: int = 0
    selected: int | None = None
    complete: int = 0
    incomplete: int = 0
    missing: int = 0
    withdrawn: int = 0
    bytes_on_disk: int = 0
    bytes_to_come: int | None = None
    sizes_unknown: int = 0
    changed_at: datetime | None = None
    compared_at: datetime | None = None
    is_suspect: bool = False


def standing(
    warehouse: Warehouse, collections: Sequence[str], selection: Selection | None = None
) -> list[Standing]:
    """How things stand in these Collections, in their order.

    Raises:
        UsageError: the selection's SQL, manifests or shared lists cannot be used.
    """
    asked = {"collections": list(collections)}
    predicate, tables = (selection.predicate, selection.tables) if selection else ("false", {})
    with warehouse.shared_connection():
        rows = warehouse.query(_counted(predicate), asked, tables=tables).to_pylist()
        changes = warehouse.query(_CHANGED, asked).to_pylist()
        compared = last_compared(warehouse, datetime.now(UTC))
    counts = {row.pop("Collection"): row for row in rows}
    changed = {row["Collection"]: row["at"] for row in changes}
    listed = set(warehouse.read(COLLECTIONS)["Collection"].to_pylist())
    of_selection = {"selected": 0, "bytes_to_come": 0} if selection else {}
    for row in counts.values():
        if not selection:
            row |= {"selected": None, "bytes_to_come": None}
    return [
        Standing(
            name,
            **of_selection | counts.get(name, {}),
            changed_at=changed.get(name),
            compared_at=compared.get(name),
            is_suspect=bool(listed) and name in counts and name not in listed,
        )
        for name in collections
    ]


_CHANGED = """
    SELECT Collection, max(seen_at) AS at FROM series_changes
    WHERE number IS NOT NULL AND list_contains($collections, Collection) GROUP BY Collection
"""


def _counted(predicate: str) -> str:
    return f"""
    WITH chosen AS (SELECT SeriesInstanceUID FROM current_series WHERE {predicate}),
    at_home AS (
        SELECT * FROM series WHERE moved_to IS NULL AND list_contains($collections, Collection)
    ),
    -- The zip of a Series that moved may still lie where it was. One that lies where the Series is
    -- not known to have been does not count: no plan would take it. A window over these few only:
    -- over all zips it would hold them all.
    elsewhere AS (
        SELECT s.Collection AS home, a.* FROM image_archives AS a
        JOIN series AS before ON before.SeriesInstanceUID = a.SeriesInstanceUID
            AND before.Collection = a.Collection AND before.moved_to IS NOT NULL
        JOIN at_home AS s ON s.SeriesInstanceUID = a.SeriesInstanceUID
        ANTI JOIN image_archives AS here ON here.SeriesInstanceUID = s.SeriesInstanceUID
            AND here.Collection = s.Collection
        QUALIFY row_number() OVER (
            PARTITION BY s.Collection, s.SeriesInstanceUID ORDER BY a.status = 'complete' DESC
        ) = 1
    ),
    zips AS (SELECT Collection AS home, * FROM image_archives UNION ALL FROM elsewhere),
    each AS (
        SELECT s.*, a.status, a.archive_bytes, z.TotalSizeInBytes,
            s.SeriesInstanceUID IN (FROM chosen) AS is_chosen,
            coalesce(a.status = 'complete' AND {SAME_BYTES}, false) AS is_complete,
            coalesce(a.status IN ('incomplete', 'unavailable') AND a.attempts >= {MOST_ATTEMPTS}
                AND a.fingerprint = s.fingerprint, false) AS is_given_up
        FROM at_home AS s
        LEFT JOIN zips AS a
            ON a.SeriesInstanceUID = s.SeriesInstanceUID AND a.home = s.Collection
        LEFT JOIN series_sizes AS z ON z.Collection = s.Collection
            AND z.SeriesInstanceUID = s.SeriesInstanceUID AND z.fingerprint = s.fingerprint
    ),
    sized AS (
        SELECT *, coalesce(FileSize, TotalSizeInBytes) AS image_bytes,
            is_chosen AND missing_since IS NULL AND NOT is_complete AND NOT is_given_up
                AS is_to_come
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
        coalesce(sum(image_bytes) FILTER (is_to_come), 0)::BIGINT AS bytes_to_come,
        count(*) FILTER (is_to_come AND image_bytes IS NULL) AS sizes_unknown
    FROM sized GROUP BY Collection
    """
