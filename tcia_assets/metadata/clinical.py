"""Store the clinical tables of a Collection: their rows, and what there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa

from tcia_assets.catalog import CLINICAL_TABLES
from tcia_assets.progress import ignore_progress
from tcia_assets.sources import ClinicalTable, Source
from tcia_assets.store.clinical import remove_clinical, write_clinical
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

_PATIENT = "dicom_patient_id"
# The first columns of each; theirs of the same name get a number.
_OURS = ("Collection", "PatientID")


def store_clinical(
    collection: str,
    source: Source,
    warehouse: Warehouse,
    at: datetime,
    report: Callable[[int, int], None] = ignore_progress,
) -> pa.Table:
    """Request and store the clinical tables of a Collection; those that are gone are removed.

    Args:
        collection: The Collection.
        source: A source that has clinical tables.
        warehouse: Where they are stored.
        at: The time of the request, with a time zone.
        report: Called with how many tables are stored, and how many there are.

    Returns:
        The rows of `clinical_tables`.

    Raises:
        RemoteError: The source fails. What was stored before is kept.
        StorageError: A file cannot be written.
    """
    tables = source.clinical_tables(collection)
    described = []
    for number, table in enumerate(tables):
        report(number, len(tables))
        rows = _with_keys(source.clinical_rows(table.name), collection)
        write_clinical(warehouse.root, table.name, rows)
        described.append(_described(table, rows, collection, source.name, at))
    report(len(tables), len(tables))
    with warehouse.update(CLINICAL_TABLES, collection) as partition:
        before = set(partition.read()["table_name"].to_pylist())
        new = pa.Table.from_pylist(described, schema=CLINICAL_TABLES.schema)
        partition.rows = conform(CLINICAL_TABLES, new)
    for name in before - {table.name for table in tables}:
        remove_clinical(warehouse.root, name)
    return new


def _with_keys(rows: pa.Table, collection: str) -> pa.Table:
    """Return the rows with Collection and PatientID as the first columns."""
    patients = pa.nulls(rows.num_rows, pa.string())
    if _PATIENT in rows.column_names:
        patients = rows[_PATIENT].cast(pa.string())
        rows = rows.drop_columns([_PATIENT])
    ours = {name.lower() for name in _OURS}
    rows = rows.rename_columns(
        [f"{name}_1" if name.lower() in ours else name for name in rows.column_names]
    )
    keys = (pa.array([collection] * rows.num_rows, pa.string()), patients)
    for place, (name, values) in enumerate(zip(_OURS, keys, strict=True)):
        rows = rows.add_column(place, name, values)
    return rows


def _described(
    table: ClinicalTable, rows: pa.Table, collection: str, source: str, at: datetime
) -> dict[str, object]:
    labels = dict(table.columns) | {
        "Collection": "Name of the Collection",
        "PatientID": "PatientID",
    }
    return {
        "Collection": collection,
        "table_name": table.name,
        "title": table.title,
        "columns": rows.column_names,
        "labels": [labels.get(name, "") for name in rows.column_names],
        "rows": rows.num_rows,
        "source": source,
        "fetched_at": at,
    }
