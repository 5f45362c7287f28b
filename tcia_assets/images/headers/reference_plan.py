"""What is to be read again for `references` and `targets`: what `images` has of the zips decides.

Acquired images refer to nothing. A zip that `images` does not describe yet waits for the next run.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import pyarrow as pa

from tcia_assets.catalog import REFERENCES, TARGETS
from tcia_assets.images.headers import series_zips
from tcia_assets.store.warehouse import Warehouse


@dataclass(frozen=True)
class ReferencePlan:
    """The Series whose zip is to be read, or whose rows are to go.

    Attributes:
        relevant: Number of zips with objects that may refer to images.
        waiting: Number of zips that `images` does not describe.
        changed: The Series whose zip is to be read.
        unidentified: Those with an object that has no SOPInstanceUID, here or in `images`.
        gone: Those whose rows are to go, by the name of the table.
    """

    relevant: int
    waiting: int
    changed: set[str]
    unidentified: set[str]
    gone: dict[str, set[str]]


def plan_references(
    collection: str, warehouse: Warehouse, new_zips: Collection[str] | None = None
) -> ReferencePlan:
    """Compare the zips of a Collection with what `references` and `targets` have of them.

    Args:
        collection: The Collection.
        warehouse: Where the tables are.
        new_zips: As in `references.index_references`.
    """
    parameters, is_current = {"collection": collection}, _are_current(collection, warehouse)
    if new_zips is not None and is_current:
        new = pa.table({"uid": pa.array(sorted(new_zips), pa.string())})
        return _plan(warehouse.query(_PLAN_OF_NEW, parameters, tables={"new_zips": new}))
    plan = _plan(warehouse.query(_PLAN, parameters))
    if is_current:
        return plan
    relevant = warehouse.query(f"{_STATES} SELECT uid FROM relevant", parameters)
    return replace(plan, changed=set(relevant["uid"].to_pylist()))


# What `images` has of each zip on disk: whether it describes it, and the Series if the zip has
# objects that may refer to images. Then the Series that are to be read, or whose rows are to go.
_STATES = f"""
    WITH states AS MATERIALIZED (
        SELECT z.zip, CASE WHEN i.referring_count > 0 THEN z.SeriesInstanceUID END AS uid,
            i.zip IS NULL AS is_waiting
        FROM {series_zips.ZIPS} AS z
        LEFT JOIN (FROM {series_zips.INDEXED} WHERE object_count > 0) AS i ON i.zip = z.zip
    ), relevant AS (SELECT uid, zip FROM states WHERE uid NOTNULL),
    stored AS (FROM "references" WHERE Collection = $collection)
"""
_PLAN = f"""{_STATES}
    SELECT 'relevant' AS what, NULL AS uid, count(*) AS zips FROM relevant
    UNION ALL SELECT 'waiting', NULL, count(*) FROM states WHERE is_waiting
    UNION ALL SELECT 'changed', uid, 1 FROM relevant ANTI JOIN (
        SELECT hash(SeriesInstanceUID, archive_sha256) AS zip FROM stored WHERE entry_name NOTNULL
    ) USING (zip)
    UNION ALL SELECT 'unidentified', uid, 1 FROM relevant SEMI JOIN (
        SELECT SeriesInstanceUID AS uid FROM {series_zips.INDEXED} WHERE unidentified_count > 0
        UNION ALL SELECT SeriesInstanceUID FROM stored
        WHERE entry_name NOTNULL AND SOPInstanceUID IS NULL
    ) USING (uid)
    UNION ALL SELECT DISTINCT 'references', SeriesInstanceUID, 1 FROM stored
        ANTI JOIN relevant ON relevant.uid = stored.SeriesInstanceUID
    UNION ALL SELECT DISTINCT 'targets', SeriesInstanceUID, 1
        FROM (FROM targets WHERE Collection = $collection) AS t
        ANTI JOIN relevant ON relevant.uid = t.SeriesInstanceUID
"""


# What there is to do for new zips if the bytes of all others are as they were. What is compared of
# these is numbers, and Series alone: of 200,000, this takes a quarter of the memory. `images` may
# have lost one of them, or have read one that it could not read before.
_PLAN_OF_NEW = """
    WITH indexed AS MATERIALIZED (
        SELECT hash(SeriesInstanceUID) AS number, object_count > 0 AS is_read,
            referring_count > 0 AS is_relevant, unidentified_count > 0 AS is_unidentified
        FROM indexed_zips WHERE Collection = $collection
    ),
    relevant_numbers AS NOT MATERIALIZED (SELECT number FROM indexed WHERE is_relevant),
    stored AS NOT MATERIALIZED (
        SELECT SeriesInstanceUID AS uid, hash(SeriesInstanceUID) AS number, entry_name,
            SOPInstanceUID
        FROM "references" WHERE Collection = $collection
    ),
    unread AS MATERIALIZED (
        FROM relevant_numbers EXCEPT SELECT number FROM stored WHERE entry_name NOTNULL
    ),
    unidentified AS MATERIALIZED (
        FROM relevant_numbers INTERSECT (
            SELECT number FROM indexed WHERE is_unidentified UNION ALL
            SELECT number FROM stored WHERE entry_name NOTNULL AND SOPInstanceUID IS NULL
        )
    )
    SELECT 'relevant' AS what, NULL AS uid, count(*) AS zips FROM relevant_numbers
    UNION ALL SELECT 'waiting', NULL, (
        SELECT count(*) FROM image_archives WHERE Collection = $collection AND path NOTNULL
    ) - (SELECT count(*) FROM indexed WHERE is_read)
    UNION ALL SELECT 'changed', uid, 1 FROM new_zips WHERE hash(uid) IN (FROM relevant_numbers)
    UNION ALL SELECT 'changed', SeriesInstanceUID, 1 FROM indexed_zips
        WHERE Collection = $collection AND hash(SeriesInstanceUID) IN (FROM unread)
    UNION ALL SELECT 'unidentified', SeriesInstanceUID, 1 FROM indexed_zips
        WHERE Collection = $collection AND hash(SeriesInstanceUID) IN (FROM unidentified)
    UNION ALL SELECT DISTINCT 'references', uid, 1 FROM stored
        WHERE number NOT IN (FROM relevant_numbers)
    UNION ALL SELECT DISTINCT 'targets', SeriesInstanceUID, 1 FROM targets
        WHERE Collection = $collection AND hash(SeriesInstanceUID) NOT IN (FROM relevant_numbers)
"""


def _are_current(collection: str, warehouse: Warehouse) -> bool:
    return all(series_zips.is_current(t, collection, warehouse) for t in (REFERENCES, TARGETS))


def _plan(rows: pa.Table) -> ReferencePlan:
    """Return the plan of rows with `what` they say, of which Series or how many zips."""
    counts: dict[str, int] = {}
    series: dict[str, set[str]] = {}
    for row in rows.to_pylist():
        if row["uid"] is None:
            counts[row["what"]] = row["zips"]
        else:
            series.setdefault(row["what"], set()).add(row["uid"])
    return ReferencePlan(
        relevant=counts["relevant"],
        waiting=counts["waiting"],
        changed=series.get("changed", set()),
        unidentified=series.get("unidentified", set()),
        gone={table.name: series.get(table.name, set()) for table in (REFERENCES, TARGETS)},
    )
