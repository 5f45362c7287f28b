"""SOPInstanceUIDs that several objects of a Collection have: one of them keeps it.

A source holds each object once. But an object that moved to a different Series is in two zips for a
while, or for as long as the old Series is kept.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.images.headers.indexed_zips import REPEATED, UID_NUMBER, IndexedImages
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

# A number may be that of different UIDs, by chance; then rows are stored again as they are.
_WITH_SAME_NUMBER = f"""
    SELECT DISTINCT SeriesInstanceUID FROM (
        SELECT SeriesInstanceUID, unnest(uid_numbers) AS number
        FROM indexed_zips WHERE Collection = $collection
    ) WHERE number IN (SELECT {UID_NUMBER} FROM new_rows WHERE SOPInstanceUID NOTNULL)
"""

# The Series and the UID are at the end of the error that `clear_repeated_uids` writes.
_OUTDATED = f"""
    WITH repeated AS (
        SELECT SeriesInstanceUID, regexp_extract(error, ' of Series (\\S+): \\S+$', 1) AS keeper,
            regexp_extract(error, ': (\\S+)$', 1) AS uid
        FROM images WHERE Collection = $collection AND contains(error, {sql.literal(REPEATED)})
    ), kept AS (
        SELECT SeriesInstanceUID AS keeper, SOPInstanceUID AS uid FROM images
        WHERE Collection = $collection AND SOPInstanceUID IN (SELECT uid FROM repeated)
    )
    SELECT DISTINCT SeriesInstanceUID FROM repeated ANTI JOIN kept USING (keeper, uid)
"""


def find_outdated(collection: str, images: IndexedImages, warehouse: Warehouse) -> set[str]:
    """Return the Series with an object whose UID is not any more that of the Series it names.

    What is stored decides, not what this run changed: a run may have been killed before it read
    them, and a Series may have been read before the other one lost the object.
    """
    if not images.counts["repeated_count"]:
        return set()
    found = warehouse.query(_OUTDATED, {"collection": collection})
    return set(found["SeriesInstanceUID"].to_pylist())


def add_rows_with_same_uid(
    rows: pa.Table, collection: str, images: IndexedImages, warehouse: Warehouse
) -> pa.Table:
    """Return rows that are about to be stored, and those of stored Series with such objects too.

    Of the whole Collection only numbers are read, which `images` has brought up to date.
    """
    parameters, tables = {"collection": collection}, {"new_rows": rows.select(["SOPInstanceUID"])}
    found = warehouse.query(_WITH_SAME_NUMBER, parameters, tables=tables)["SeriesInstanceUID"]
    series = set(found.to_pylist()) - set(pc.unique(rows["SeriesInstanceUID"]).to_pylist())
    return pa.concat_tables([rows, images.read_series(series)]) if series else rows


def clear_repeated_uids(rows: pa.Table) -> pa.Table:
    """Keep a SOPInstanceUID of several rows for the first, by Series and name.

    The others have none, and an error.
    """
    uids = rows["SOPInstanceUID"]
    counts = pc.value_counts(uids.drop_null())
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if not len(repeated):
        return rows
    indices = pc.indices_nonzero(pc.is_in(uids, value_set=repeated))
    keys = rows.select(["SOPInstanceUID", "SeriesInstanceUID", "entry_name"]).take(indices)
    order = sorted(
        zip(*(key.to_pylist() for key in keys.columns), indices.to_pylist(), strict=True)
    )
    first: dict[str, str] = {}
    problems: dict[int, str] = {}
    for uid, series, name, index in order:
        if uid in first:
            problems[index] = f"{REPEATED}{first[uid]}: {uid}"
        else:
            first[uid] = f"{name!r} of Series {series}"
    return _clear_uids(rows, problems)


def _clear_uids(rows: pa.Table, problems: dict[int, str]) -> pa.Table:
    """Set SOPInstanceUID to null and `error` to the problem, in the rows with these indices."""
    errors = pa.array([problems.get(index) for index in range(rows.num_rows)], pa.string())
    null = pa.scalar(None, pa.string())
    changed = {
        "SOPInstanceUID": pc.if_else(pc.is_valid(errors), null, rows["SOPInstanceUID"]),
        "error": pc.coalesce(errors, rows["error"]),
    }
    columns = [changed.get(name, rows[name]) for name in rows.schema.names]
    return pa.Table.from_arrays(columns, schema=rows.schema)
