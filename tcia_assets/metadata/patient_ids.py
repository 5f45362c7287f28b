"""Fill in the PatientID of Series that a source lists without it, as Bindaas does.

It is no part of a Series' fingerprint then, which covers what the listing has: learning a PatientID
is no new version of the images.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import IMAGES, SERIES, STUDIES
from tcia_assets.store.conform import replace_column
from tcia_assets.store.warehouse import Warehouse

_PATIENT, _STUDY, _SERIES = "PatientID", STUDIES.key[1], SERIES.key[0]


def fill_patient_ids(
    rows: pa.Table,
    before: pa.Table,
    key: str,
    warehouse: Warehouse,
    studies: pa.Table | None = None,
) -> pa.Table:
    """Return the rows of `series` with the PatientIDs that they lack.

    They come from the Study in `studies`, else from the headers in `images`, else from the row as
    it was stored before.

    Args:
        rows: The rows to be stored.
        before: The stored rows.
        key: Their Collection.
        warehouse: Where the other tables are.
        studies: Studies with their PatientID that are not in the warehouse.
    """
    if studies is not None and _PATIENT in studies.column_names:
        rows = _filled(rows, _STUDY, studies)
    for name, table in ((_STUDY, STUDIES), (_SERIES, IMAGES), (_SERIES, None)):
        if not rows[_PATIENT].null_count:
            break
        known = warehouse.read_or_empty(table, key, [name, _PATIENT]) if table else before
        rows = _filled(rows, name, known)
    return rows


def _filled(rows: pa.Table, name: str, known: pa.Table) -> pa.Table:
    """Return the rows with the PatientIDs that they lack and that others with their UID have."""
    found = _patients_by(name, known)
    place = pc.index_in(rows[name], value_set=found[name].combine_chunks())
    patients = found[_PATIENT].take(place.combine_chunks())
    return replace_column(rows, _PATIENT, pc.coalesce(rows[_PATIENT], patients))


def _patients_by(name: str, rows: pa.Table) -> pa.Table:
    """Return the PatientID by a UID, where it is known and not ambiguous."""
    known = rows.select([name, _PATIENT]).filter(pc.is_valid(rows[_PATIENT]))
    pairs = known.group_by([name, _PATIENT]).aggregate([])
    counted = pairs.group_by(name).aggregate([(_PATIENT, "count"), (_PATIENT, "one")])
    only = counted.filter(pc.equal(counted[f"{_PATIENT}_count"], 1))
    return pa.table({name: only[name], _PATIENT: only[f"{_PATIENT}_one"]})
