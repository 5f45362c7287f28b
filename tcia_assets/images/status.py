"""The state of the mirror by Collection.

What a run would fetch is in `plan`: that also looks at the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from tcia_assets.catalog import COLLECTIONS, IMPORTS, OF_FOLDER
from tcia_assets.images.series_counts import SeriesCounts, count_series
from tcia_assets.images.unindexed import count_unindexed
from tcia_assets.images.zip_parts import count_proven
from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.metadata.selection import Selection
from tcia_assets.metadata.single_series import partial_collections
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
    rows = count_series(warehouse, selection, collections, known=counts).rows
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
