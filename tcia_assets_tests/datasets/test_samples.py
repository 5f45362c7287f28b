"""The schema of the table of samples."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tcia_assets.datasets.cohort import SERIES
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets_tests.datasets.example_dataset import build


def test_the_table_is_read_back_with_its_schema(tmp_path: Path) -> None:
    samples = build(tmp_path)
    assert pq.read_table(tmp_path / "samples.parquet").equals(samples)
    assert samples.schema.equals(SAMPLES)


def test_columns_of_the_cohort_have_the_same_types() -> None:
    shared = set(SAMPLES.names) & set(SERIES.names) - {"state"}
    assert {"PatientID", "LicenseName", "content_md5", "ImageCount"} <= shared
    assert {SAMPLES.field(name).type for name in shared} == {
        SERIES.field(name).type for name in shared
    }
