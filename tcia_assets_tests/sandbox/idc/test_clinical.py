"""Clinical tables as the export has them: described, and of the Collection's own patients."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.sandbox.idc.clinical import BUCKET, TABLES
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.released_series import CATALOGUE

from .bucket_client import BucketClient

PREFIX = "bigquery_export/idc_v25_clinical/"


def table(buckets: BucketClient, name: str, prefix: str = PREFIX) -> pa.Table:
    listed = buckets.list(BUCKET, f"{prefix}{name}/")
    bodies = [buckets.get(BUCKET, each.key).content for each in listed]
    return pa.concat_tables(pq.read_table(io.BytesIO(body)) for body in bodies)


def test_every_table_is_described_with_its_columns(buckets: BucketClient) -> None:
    described = table(buckets, "table_metadata")["table_name"].to_pylist()
    assert [name.rpartition(".")[2] for name in described] == [each.name for each in TABLES]
    columns = table(buckets, "column_metadata").to_pylist()
    for each in TABLES:
        of_table = {c["column"] for c in columns if c["table_name"].endswith(f".{each.name}")}
        assert of_table == set(table(buckets, each.name).column_names)
    [stage] = [c for c in columns if c["column"] == "stage"]
    assert stage["values"][1] == {"option_code": "2", "option_description": "Stage II"}


def test_rows_are_of_the_patients_of_the_collection(buckets: BucketClient) -> None:
    for each in TABLES:
        own = CATALOGUE.filter(pa.compute.equal(CATALOGUE["Collection"], each.collection))
        patients = table(buckets, each.name)["dicom_patient_id"].to_pylist()
        assert patients == sorted(set(own["PatientID"].to_pylist()))


def test_a_large_table_is_in_several_files(buckets: BucketClient) -> None:
    listed = buckets.list(BUCKET, f"{PREFIX}soft_tissue_sarcoma_outcome/")
    assert [each.key[-20:] for each in listed] == ["000000000000.parquet", "000000000001.parquet"]


def test_each_release_has_an_export_of_its_own(sandbox: Sandbox, buckets: BucketClient) -> None:
    before = table(buckets, "soft_tissue_sarcoma_clinical")
    later = PREFIX.replace("25", "26")
    assert buckets.list(BUCKET, later) == []
    sandbox.archive.withdraw(collection="Soft-tissue-Sarcoma")
    sandbox.idc.publish()
    assert table(buckets, "soft_tissue_sarcoma_clinical", later).num_rows == 0
    assert table(buckets, "soft_tissue_sarcoma_clinical").equals(before)
