"""An index release in files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import IDC_FILES
from tcia_assets.errors import UnknownName
from tcia_assets.sandbox.idc.index_files import write_index
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.one_collection import UIDS


@pytest.fixture
def folder(sandbox: Sandbox, tmp_path: Path) -> Path:
    return write_index(sandbox.idc, tmp_path / "index")


def rows(folder: Path, name: str = "idc_index") -> dict[str, dict[str, object]]:
    table = pq.read_table(folder / f"{name}.parquet")
    return {row[table.column_names[0]]: row for row in table.to_pylist()}


def test_a_release_has_all_columns_that_we_read_and_says_its_version(folder: Path) -> None:
    for file in IDC_FILES:
        schema = pq.read_schema(folder / f"{file.name}.parquet")
        assert set(file.columns) <= set(schema.names)
        assert schema.metadata[b"idc_index_data_version"].startswith(b"25.0.5-")


def test_texts_of_the_index_are_as_in_the_real_one(folder: Path) -> None:
    table = pq.read_table(folder / "idc_index.parquet")
    row = table.filter(pa.compute.equal(table["collection_id"], "rider_phantom_pet_ct"))
    first = row.to_pylist()[0]
    assert first["source_DOI"] == "10.7937/k9/tcia.2015.8wg2kn4w"
    assert first["license_short_name"] == "CC BY 3.0"
    assert first["series_aws_url"] == f"s3://idc-open-data/{first['crdc_series_uuid']}/*"
    assert table["source_DOI"].null_count == 0


def test_a_collection_has_its_sources_with_licence_and_citation(folder: Path) -> None:
    about = rows(folder, "collections_index")
    assert len(about) == 8
    sources = about["LCTSC"]["sources"]
    assert isinstance(sources, list)
    assert [each["source_type"] for each in sources] == ["analysis_result", "original_data"]
    assert sources[1]["license"]["license_short_name"] == "CC BY 3.0"
    assert "<i>Data of LCTSC</i>" in sources[1]["citation"]


def test_every_analysis_of_a_series_is_described(folder: Path) -> None:
    named = set(pq.read_table(folder / "idc_index.parquet")["analysis_result_id"].to_pylist())
    about = rows(folder, "analysis_results_index")
    assert set(about) == named - {None}
    model = about["sandbox_model_segmentations"]
    assert model["source_DOI"] == "10.5281/zenodo.1000001"
    assert model["subjects"] == 5


def test_an_older_release_can_still_be_written(sandbox: Sandbox, tmp_path: Path) -> None:
    before = write_index(sandbox.idc, tmp_path / "before")
    sandbox.archive.withdraw(UIDS[:1])
    sandbox.idc.publish()
    again = write_index(sandbox.idc, tmp_path / "again", "25.0.5")
    name = "idc_index.parquet"
    assert pq.read_table(again / name).equals(pq.read_table(before / name))
    after = write_index(sandbox.idc, tmp_path / "after")
    assert UIDS[0] not in pq.read_table(after / name)["SeriesInstanceUID"].to_pylist()
    prior = pq.read_table(after / "prior_versions_index.parquet")
    assert UIDS[0] in prior["SeriesInstanceUID"].to_pylist()


def test_an_archive_without_releases_has_the_first(sandbox: Sandbox, tmp_path: Path) -> None:
    made = write_index(sandbox.archive, tmp_path)
    assert pq.read_metadata(made / "idc_index.parquet").num_rows == 844
    with pytest.raises(UnknownName, match="release of the IDC"):
        write_index(sandbox.archive, tmp_path, "24.0.0")
