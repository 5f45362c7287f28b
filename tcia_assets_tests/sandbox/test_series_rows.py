"""What the sandbox may rely on in its rows, and that the whole catalogue is what TCIA has."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tcia_assets.errors import MissingExtra, UnknownName, UsageError
from tcia_assets.sandbox import series_rows
from tcia_assets.store import sql
from tcia_assets_tests.repository import ROOT

CONTRACT = [
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Collection",
    "Site",
    "Modality",
    "ProtocolName",
    "SeriesDate",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesNumber",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ImageCount",
    "MaxSubmissionTimestamp",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "DateReleased",
    "StudyDate",
    "StudyDescription",
    "PatientSex",
    "PatientAge",
    "EthnicGroup",
    "PatientName",
    "ThirdPartyAnalysis",
    "SOPClassUID",
    "real_size_bytes",
]

ALWAYS_THERE = [
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Collection",
    "Modality",
    "ImageCount",
    "MaxSubmissionTimestamp",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "DateReleased",
    "PatientName",
    "ThirdPartyAnalysis",
    "SOPClassUID",
    "real_size_bytes",
]

WIDTHS = {
    "Modality": 16,
    "BodyPartExamined": 15,
    "SeriesDescription": 64,
    "StudyDescription": 64,
    "Manufacturer": 64,
    "ManufacturerModelName": 64,
    "PatientAge": 4,
}

# From archive-api.md section 10: what the real archive said about these Series.
CAPTURED = (
    {
        "SeriesInstanceUID": "1.2.246.352.71.2.494841863751.4253279.20190214221610",
        "StudyInstanceUID": "1.3.6.1.4.1.9328.50.1.216116555221814778114703363464001196508",
        "PatientID": "RIDER-1129164940",
        "Collection": "RIDER Lung CT",
        "Modality": "RTSTRUCT",
        "SeriesDate": None,
        "SeriesDescription": "RETEST",
        "BodyPartExamined": None,
        "SeriesNumber": 10,
        "Manufacturer": "Varian Medical Systems",
        "ManufacturerModelName": "ARIA RadOnc",
        "ImageCount": 1,
    },
    {
        "SeriesInstanceUID": "1.3.6.1.4.1.14519.5.2.1.2135.6389.861085683843003228352649673146",
        "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1.2135.6389.101337736148606617569659173510",
        "PatientID": "1215936303",
        "Collection": "VICTRE",
        "Modality": "MG",
        "SeriesDescription": "DBT slices",
        "BodyPartExamined": "BREAST",
        "PatientSex": "F",
        "Manufacturer": "VICTRE",
        "ImageCount": 57,
        "LicenseName": "Creative Commons Attribution 3.0 Unported License",
        "LicenseURI": "http://creativecommons.org/licenses/by/3.0/",
        "StudyDescription": "DBT Reconstructed Volume",
        "StudyDate": date(2018, 1, 6),
        "real_size_bytes": 165975906,
    },
)

needs_index = pytest.mark.skipif(
    importlib.util.find_spec("idc_index_data") is None,
    reason="the whole catalogue needs the package idc_index_data",
)


@pytest.fixture(scope="module")
def small() -> pa.Table:
    return series_rows.load()


@pytest.fixture(scope="module")
def rows(small: pa.Table) -> list[dict[str, Any]]:
    return list(small.to_pylist())


@pytest.fixture(scope="module")
def whole() -> pa.Table:
    return series_rows.from_idc_index()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Return what is made of an index of a Collection and a Patient, which were captured."""
    index = importlib.import_module("idc_index_data").INDEX_METADATA["idc_index"]
    path = tmp_path_factory.mktemp("index") / "idc_index.parquet"
    whole, part = sql.literal(str(index["parquet_filepath"])), sql.literal(str(path))
    which = "collection_id = 'rider_lung_ct' OR PatientID = '1215936303'"
    with closing(sql.connect()) as connection:
        connection.execute(f"COPY (FROM read_parquet({whole}) WHERE {which}) TO {part}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(index, "parquet_filepath", path)
        return series_rows.from_idc_index()


@pytest.fixture(scope="module")
def script() -> Any:
    path = ROOT / "scripts" / "make_sandbox_catalogue.py"
    spec = importlib.util.spec_from_file_location("make_sandbox_catalogue", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_collection(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row["Collection"]].append(row)
    return groups


# --- the small catalogue


def test_the_columns_are_those_agreed_in_their_order() -> None:
    assert series_rows.SCHEMA.names == CONTRACT


def test_the_tracked_file_is_small() -> None:
    assert series_rows.SMALL_CATALOGUE.stat().st_size < 1_000_000


def test_the_tracked_file_has_the_declared_schema_and_its_source(small: pa.Table) -> None:
    assert small.schema.equals(series_rows.SCHEMA)
    assert small.schema.metadata[b"source"].startswith(b"idc-index-data ")


def test_the_rows_are_between_500_and_1200(small: pa.Table) -> None:
    assert 500 <= small.num_rows <= 1200


def test_series_are_unique_and_sorted(rows: list[dict[str, Any]]) -> None:
    keys = [(row["Collection"], row["SeriesInstanceUID"]) for row in rows]
    assert keys == sorted(keys)
    assert len({uid for _, uid in keys}) == len(rows)


def test_required_columns_are_never_null(small: pa.Table) -> None:
    assert {name: small[name].null_count for name in ALWAYS_THERE if small[name].null_count} == {}


def test_the_kinds_of_series_that_we_must_cope_with_are_there(small: pa.Table) -> None:
    assert {"CT", "MR", "PT", "RTSTRUCT", "SEG", "MG"} <= set(small["Modality"].to_pylist())


def test_some_collections_have_names_with_spaces(rows: list[dict[str, Any]]) -> None:
    assert {"RIDER Lung CT", "RIDER PHANTOM PET-CT", "QIN LUNG CT"} <= set(by_collection(rows))


def test_a_patient_occurs_in_two_collections_and_others_in_one(rows: list[dict[str, Any]]) -> None:
    homes = defaultdict(set)
    for row in rows:
        homes[row["PatientID"]].add(row["Collection"])
    counts = [len(collections) for collections in homes.values()]
    assert 2 in counts
    assert 1 in counts


def test_a_study_belongs_to_one_patient_of_one_collection(rows: list[dict[str, Any]]) -> None:
    owners = defaultdict(set)
    for row in rows:
        owners[row["StudyInstanceUID"]].add((row["Collection"], row["PatientID"]))
    assert all(len(owner) == 1 for owner in owners.values())


def test_segmentations_have_images_in_their_study(rows: list[dict[str, Any]]) -> None:
    modalities = defaultdict(set)
    for row in rows:
        modalities[row["StudyInstanceUID"]].add(row["Modality"])
    for found in modalities.values():
        if found & {"SEG", "RTSTRUCT"}:
            assert found & {"CT", "MR", "PT"}


def test_one_collection_is_small_enough_for_the_demo_to_fetch(rows: list[dict[str, Any]]) -> None:
    demo = by_collection(rows)["LCTSC"]
    assert len(demo) <= 12
    assert sum(row["ImageCount"] for row in demo) <= 600
    assert {row["Modality"] for row in demo} == {"CT", "RTSTRUCT"}
    assert len({row["PatientID"] for row in demo}) == 5


def test_each_row_has_a_licence_and_a_citation(rows: list[dict[str, Any]]) -> None:
    free = {series_rows.LICENSES["CC BY 3.0"], series_rows.LICENSES["CC BY 4.0"]}
    assert {(row["LicenseName"], row["LicenseURI"]) for row in rows} <= free
    assert all(row["DataDescriptionURI"].startswith("https://doi.org/10.7937/") for row in rows)


def test_the_readme_cites_every_doi_and_names_every_collection(rows: list[dict[str, Any]]) -> None:
    readme = (ROOT / "data" / "sandbox" / "README.md").read_text(encoding="utf-8").casefold()
    for row in rows:
        assert row["DataDescriptionURI"] in readme
        assert f"| {row['Collection'].casefold()} |" in readme


def test_the_readme_has_the_numbers_and_the_source(small: pa.Table, script: Any) -> None:
    readme = (ROOT / "data" / "sandbox" / "README.md").read_text(encoding="utf-8")
    assert f"{small.num_rows} real Series" in readme
    version = small.schema.metadata[b"source"].decode().removeprefix("idc-index-data ")
    assert version in readme
    for name, *_, images, _ in script.counts(small):
        line = next(line for line in readme.splitlines() if line.startswith(f"| {name} |"))
        assert f" {images:,} " in line


def test_texts_fit_the_archives_columns_and_its_alphabet(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name, width in WIDTHS.items():
            text = row[name] or ""
            assert len(text) <= width
            assert text.encode("latin1").decode("latin1") == text


def test_a_series_is_revised_no_earlier_than_it_appeared(rows: list[dict[str, Any]]) -> None:
    # both are the IDC's dates; in the archive a submission comes before its release
    assert all(row["DateReleased"] <= row["MaxSubmissionTimestamp"].date() for row in rows)


def test_no_file_is_a_clear_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no sandbox catalogue at .*nowhere\.parquet"):
        series_rows.load(tmp_path / "nowhere.parquet")


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.parquet"
    path.write_text("SeriesInstanceUID\n1.2.3\n")
    with pytest.raises(UsageError, match="is not Parquet"):
        series_rows.load(path)


def test_a_table_that_lacks_a_column_is_refused(tmp_path: Path, small: pa.Table) -> None:
    path = tmp_path / "catalogue.parquet"
    pq.write_table(small.drop_columns(["Site"]), path)
    with pytest.raises(UsageError, match=r"it lacks Site \(string\)$"):
        series_rows.load(path)


def test_columns_in_a_different_order_are_refused(tmp_path: Path, small: pa.Table) -> None:
    path = tmp_path / "catalogue.parquet"
    pq.write_table(small.select(sorted(small.column_names)), path)
    with pytest.raises(UsageError, match="its columns are"):
        series_rows.load(path)


def test_without_the_index_the_full_catalogue_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "idc_index_data", None)
    with pytest.raises(MissingExtra, match="pip install 'idc-index-data"):
        series_rows.from_idc_index()


# --- the script


def test_an_unknown_collection_cannot_be_selected(small: pa.Table, script: Any) -> None:
    with pytest.raises(UnknownName, match="did you mean 'LCTSC'"):
        script.choose(small, (script.Choice("LCTCS"),))


def test_patients_are_selected_with_all_their_series(small: pa.Table, script: Any) -> None:
    chosen = script.choose(small, (script.Choice("Soft-tissue-Sarcoma", 2),)).to_pylist()
    patients = {row["PatientID"] for row in chosen}
    assert len(patients) == 2
    of_them = [row for row in small.to_pylist() if row["PatientID"] in patients]
    assert chosen == of_them


@needs_index
@pytest.mark.slow
def test_the_script_makes_the_tracked_file_again(
    tmp_path: Path, small: pa.Table, script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    index_version = importlib.import_module("idc_index_data").__version__
    if small.schema.metadata[b"source"].decode() != f"idc-index-data {index_version}":
        pytest.skip("the tracked file was made from another version of the index")
    again = tmp_path / "catalogue.parquet"
    assert script.main(["--output", str(again)]) == 0
    assert f"{small.num_rows} Series" in capsys.readouterr().out
    assert series_rows.load(again).equals(small, check_metadata=True)
    if writer(again) == writer(series_rows.SMALL_CATALOGUE):
        assert again.read_bytes() == series_rows.SMALL_CATALOGUE.read_bytes()


def writer(path: Path) -> str:
    # another version of Arrow may write the same table as other bytes
    return str(pq.read_metadata(path).created_by)


# --- the whole catalogue


@pytest.mark.slow
@needs_index
def test_the_full_catalogue_is_what_tcia_publishes(whole: pa.Table) -> None:
    assert whole.schema.equals(series_rows.SCHEMA)
    assert 500_000 < whole.num_rows < 700_000
    collections = set(whole["Collection"].unique().to_pylist())
    assert 130 < len(collections) < 180
    assert {"NLST", "LIDC-IDRI", "CT COLONOGRAPHY", "4D-Lung", "NaF PROSTATE"} <= collections
    assert "SM" not in whole["Modality"].unique().to_pylist()


@needs_index
@pytest.mark.parametrize("index", ["few", pytest.param("whole", marks=pytest.mark.slow)])
def test_rows_of_an_index_are_unique_and_sorted(index: str, request: pytest.FixtureRequest) -> None:
    rows: pa.Table = request.getfixturevalue(index)
    assert rows.schema.equals(series_rows.SCHEMA)
    assert len(rows["Collection"].unique()) > 1
    assert pc.count_distinct(rows["SeriesInstanceUID"]).as_py() == rows.num_rows
    keys = [("Collection", "ascending"), ("SeriesInstanceUID", "ascending")]
    assert pc.sort_indices(rows, keys).equals(pa.array(range(rows.num_rows), pa.uint64()))


@needs_index
@pytest.mark.parametrize("index", ["few", pytest.param("whole", marks=pytest.mark.slow)])
def test_required_columns_of_an_index_are_never_null(
    index: str, request: pytest.FixtureRequest
) -> None:
    rows: pa.Table = request.getfixturevalue(index)
    assert {name: rows[name].null_count for name in ALWAYS_THERE if rows[name].null_count} == {}


@pytest.mark.slow
@needs_index
def test_texts_of_the_full_catalogue_are_truncated_like_the_archives(whole: pa.Table) -> None:
    for name, width in WIDTHS.items():
        assert pc.max(pc.utf8_length(whole[name])).as_py() <= width
    # a captured getBodyPartValues has these two, with their blank
    assert {"CHEST (THORAX) ", "BD CT ABD WO_W "} <= set(whole["BodyPartExamined"].to_pylist())


@needs_index
@pytest.mark.parametrize("captured", CAPTURED, ids=lambda row: row["Collection"])
def test_rows_equal_the_captured_replies_of_the_archive(
    few: pa.Table, captured: dict[str, Any]
) -> None:
    ours = few.filter(pc.field("SeriesInstanceUID") == captured["SeriesInstanceUID"])
    assert ours.select(list(captured)).to_pylist() == [captured]
