"""Clinical tables as the IDC exports them: Parquet files of some Collections' patients.

Each table is a folder of files named by number. Two more tables tell which there are, and what
their columns mean. The values are made from the PatientIDs; none is of a patient.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.sandbox.idc.releases import Releases

BUCKET = "idc-open-metadata"
FOLDER = "bigquery_export"
_PLACE = FOLDER + "/idc_v{version}_clinical/{table}/{part:012}.parquet"
_DATASET = "bigquery-public-data.idc_v{version}_clinical"
_PATIENT = "dicom_patient_id"
_PATIENTS = """
    SELECT DISTINCT PatientID FROM versions
    WHERE Collection = $collection AND revised_version <= $version
        AND coalesce(last_version, $version) >= $version ORDER BY 1
"""
_VALUES = pa.list_(pa.struct([("option_code", pa.string()), ("option_description", pa.string())]))
_TABLES_SCHEMA = pa.schema(
    [
        ("collection_id", pa.string()),
        ("table_name", pa.string()),
        ("table_description", pa.string()),
        ("idc_version_table_added", pa.string()),
        ("number_batches", pa.int64()),
    ]
)
_COLUMNS_SCHEMA = pa.schema(
    [
        ("collection_id", pa.string()),
        ("case_col", pa.bool_()),
        ("table_name", pa.string()),
        ("column", pa.string()),
        ("column_label", pa.string()),
        ("data_type", pa.string()),
        ("values", _VALUES),
    ]
)


@dataclass(frozen=True)
class _Column:
    """A column: its values are chosen from `options`, or a number below `most`, by the patient."""

    name: str
    label: str
    options: Mapping[str, str] | None = None
    most: int = 0

    @property
    def type(self) -> pa.DataType:
        return pa.string() if self.options or not self.most else pa.int64()

    def value(self, patient: str) -> str | int | None:
        number = md5(f"{self.name} {patient}".encode(), usedforsecurity=False).digest()[0]
        if self.options:
            return [*self.options][number % len(self.options)]
        return number % self.most if self.most else patient


@dataclass(frozen=True)
class _Table:
    collection: str
    name: str
    description: str
    columns: tuple[_Column, ...]
    parts: int = 1

    @property
    def collection_id(self) -> str:
        return self.collection.lower().replace("-", "_").replace(" ", "_")


_STAGE = {"1": "Stage I", "2": "Stage II", "3": "Stage III"}
_SEX = {"M": "Male", "F": "Female"}
TABLES = (
    _Table(
        "LCTSC",
        "lctsc_clinical",
        "Clinical data of LCTSC",
        (
            _Column("sex", "Sex", _SEX),
            _Column("age", "Age at the scan, in years", most=90),
            _Column("stage", "Stage of the tumour", _STAGE),
        ),
    ),
    _Table(
        "Soft-tissue-Sarcoma",
        "soft_tissue_sarcoma_clinical",
        "Clinical data of Soft-tissue-Sarcoma",
        (_Column("grade", "Grade", {"High": "High", "Low": "Low"}),),
    ),
    _Table(
        "Soft-tissue-Sarcoma",
        "soft_tissue_sarcoma_outcome",
        "Outcome of the patients of Soft-tissue-Sarcoma",
        (
            _Column("outcome", "Outcome", {"NED": "No disease", "Mets": "Metastases"}),
            _Column("follow_up_days", "Days to the last follow-up", most=256),
        ),
        parts=2,
    ),
)


def files(releases: Releases, version: int) -> dict[str, bytes]:
    """Return the files of the export of a version, by key."""
    made: dict[str, bytes] = {}
    for table in TABLES:
        parameters = {"collection": table.collection, "version": version}
        patients = releases.query(_PATIENTS, parameters)["PatientID"].to_pylist()
        size = -(-len(patients) // table.parts) or 1
        for part in range(table.parts):
            rows = _rows(table, patients[part * size : (part + 1) * size])
            made[_key(version, table.name, part)] = _parquet(rows)
    made[_key(version, "table_metadata")] = _parquet(_described(version))
    made[_key(version, "column_metadata")] = _parquet(_columns(version))
    return made


def _key(version: int, table: str, part: int = 0) -> str:
    return _PLACE.format(version=version, table=table, part=part)


def _rows(table: _Table, patients: list[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {_PATIENT: pa.array(patients, pa.string())}
    columns["source_batch"] = pa.array([0] * len(patients), pa.int64())
    for each in table.columns:
        columns[each.name] = pa.array([each.value(patient) for patient in patients], each.type)
    return pa.table(columns)


def _described(version: int) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "collection_id": table.collection_id,
                "table_name": f"{_DATASET.format(version=version)}.{table.name}",
                "table_description": table.description,
                "idc_version_table_added": "idc_v11",
                "number_batches": 1,
            }
            for table in TABLES
        ],
        _TABLES_SCHEMA,
    )


def _columns(version: int) -> pa.Table:
    patient = _Column(_PATIENT, "idc_provenance_dicom_patient_id")
    batch = _Column("source_batch", "idc_provenance_source_batch", most=1)
    return pa.Table.from_pylist(
        [
            {
                "collection_id": table.collection_id,
                "case_col": column is patient,
                "table_name": f"{_DATASET.format(version=version)}.{table.name}",
                "column": column.name,
                "column_label": column.label,
                "data_type": "String" if column.type == pa.string() else "Integer",
                "values": [
                    {"option_code": code, "option_description": text}
                    for code, text in (column.options or {}).items()
                ],
            }
            for table in TABLES
            for column in (patient, batch, *table.columns)
        ],
        _COLUMNS_SCHEMA,
    )


def _parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()
