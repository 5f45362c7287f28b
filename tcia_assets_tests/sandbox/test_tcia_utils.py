"""The real tcia_utils package, pointed at the sandbox, lists and downloads from it.

It hard-codes the archive's host in `setApiUrl`; that one third-party function is replaced.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from types import ModuleType

import pydicom
import pytest
import requests

from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.server import Sandbox

CATALOGUE = series_rows.load().to_pylist()
COLLECTION = "LCTSC"
MINE = [row for row in CATALOGUE if row["Collection"] == COLLECTION]
SMALL = min(MINE, key=lambda row: row["ImageCount"])
MANY = max(MINE, key=lambda row: row["ImageCount"])


@pytest.fixture(scope="module")
def package() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nbia = pytest.importorskip("tcia_utils.nbia")
    assert isinstance(nbia, ModuleType)
    return nbia


@pytest.fixture
def nbia(package: ModuleType, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    def base_url(endpoint: str, api_url: str = "nbia") -> str:
        assert api_url in {"", "nbia"}
        return sandbox.base_url("nbia-v1" if endpoint == "getContentsByName" else "nbia-v4") + "/"

    monkeypatch.setattr(package, "setApiUrl", base_url)
    return package


def test_it_lists_collections(nbia: ModuleType) -> None:
    names = {row["Collection"] for row in nbia.getCollections()}
    assert names == {row["Collection"] for row in CATALOGUE}


def test_it_lists_series_as_rows_and_as_a_frame(nbia: ModuleType) -> None:
    rows = nbia.getSeries(collection=COLLECTION)
    assert {row["SeriesInstanceUID"] for row in rows} == {r["SeriesInstanceUID"] for r in MINE}
    frame = nbia.getSeries(collection=COLLECTION, modality="CT", format="df")
    assert set(frame["Modality"]) == {"CT"}


def test_it_lists_values_patients_and_studies(nbia: ModuleType) -> None:
    assert {"Modality": "CT"} in nbia.getModality(collection=COLLECTION)
    assert nbia.getBodyPart(collection=COLLECTION)
    assert nbia.getManufacturer(collection=COLLECTION)
    patients = {row["PatientID"] for row in MINE}
    assert {row["PatientId"] for row in nbia.getPatient(collection=COLLECTION)} == patients
    studies = {row["StudyInstanceUID"] for row in MINE}
    assert {row["StudyInstanceUID"] for row in nbia.getStudy(COLLECTION)} == studies
    by_modality = nbia.getPatientByCollectionAndModality(COLLECTION, "RTSTRUCT")
    assert by_modality


def test_tcia_utils_requests_sizes_and_objects(nbia: ModuleType) -> None:
    uid = SMALL["SeriesInstanceUID"]
    [size] = nbia.getSeriesSize(uid)
    assert size["ObjectCount"] == SMALL["ImageCount"]
    assert len(nbia.getSopInstanceUids(uid)) == SMALL["ImageCount"]


def test_tcia_utils_requests_updates(nbia: ModuleType, sandbox: Sandbox) -> None:
    assert nbia.getUpdatedSeries("2099/01/01") is None
    uid = SMALL["SeriesInstanceUID"]
    sandbox.archive.release([uid])
    yesterday = "2026/01/01"
    assert uid in {row["SeriesInstanceUID"] for row in nbia.getUpdatedSeries(yesterday)}
    assert nbia.getNewPatientsInCollection(COLLECTION, yesterday)
    assert nbia.getNewStudiesInPatient(COLLECTION, SMALL["PatientID"], yesterday)


def test_it_reads_a_shared_list(nbia: ModuleType) -> None:
    rows = nbia.getSharedCart("Segmentations")
    assert {row["Modality"] for row in rows} <= {"SEG", "RTSTRUCT"}


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # tcia_utils on a new pandas
def test_it_reads_the_metadata_of_many_series(nbia: ModuleType) -> None:
    uids = [SMALL["SeriesInstanceUID"], MANY["SeriesInstanceUID"]]
    frame = nbia.getSeriesList(uids)
    assert set(frame["SeriesInstanceUID"]) == set(uids)
    assert frame["ImageCount"].sum() == SMALL["ImageCount"] + MANY["ImageCount"]


def test_tcia_utils_reads_descriptions_and_counts_of_collections(nbia: ModuleType) -> None:
    frame = nbia.getCollectionDescriptions(format="df", removeHtml="yes")
    names = {row["Collection"] for row in CATALOGUE}
    assert set(frame["collectionName"]) == names
    assert not frame["description"].str.contains("<").any()
    counts = {row["Collection"]: row["Count"] for row in nbia.getCollectionPatientCounts()}
    assert counts.keys() == names
    assert counts[COLLECTION] == len({row["PatientID"] for row in MINE})


def test_it_reads_a_manifest(nbia: ModuleType, sandbox: Sandbox, tmp_path: Path) -> None:
    url = f"{sandbox.base_url()}/getManifestForCollection"
    manifest = tmp_path / "manifest.tcia"
    manifest.write_bytes(requests.post(url, {"collection": COLLECTION}, timeout=20).content)
    assert set(nbia.manifestToList(manifest)) == {row["SeriesInstanceUID"] for row in MINE}


def test_nothing_is_none(nbia: ModuleType) -> None:
    assert nbia.getSeries(collection="Nowhere") is None


@pytest.mark.parametrize("checked", ["", "y"])
def test_it_downloads_series_that_can_be_read(
    nbia: ModuleType, tmp_path: Path, checked: str
) -> None:
    wanted = [SMALL, MANY]
    uids = [row["SeriesInstanceUID"] for row in wanted]
    nbia.downloadSeries(uids, input_type="list", path=str(tmp_path), hash=checked)
    for row in wanted:
        folder = tmp_path / row["SeriesInstanceUID"]
        files = sorted(folder.glob("*.dcm"))
        assert len(files) == row["ImageCount"]
        assert (folder / "md5hashes.csv").exists() == bool(checked)
        for file in files[:5]:
            assert pydicom.dcmread(file).SeriesInstanceUID == row["SeriesInstanceUID"]


def test_it_downloads_zips(nbia: ModuleType, tmp_path: Path) -> None:
    uid = SMALL["SeriesInstanceUID"]
    nbia.downloadSeries([uid], input_type="list", path=str(tmp_path), as_zip=True)
    content = (tmp_path / f"{uid}.zip").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None


def test_it_downloads_one_image(nbia: ModuleType, tmp_path: Path) -> None:
    uid = SMALL["SeriesInstanceUID"]
    sop = nbia.getSopInstanceUids(uid)[0]["SOPInstanceUID"]
    nbia.downloadImage(uid, sop, path=str(tmp_path))
    assert pydicom.dcmread(tmp_path / uid / f"{sop}.dcm").SOPInstanceUID == sop
