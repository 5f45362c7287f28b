"""What the sandbox sends for images: zips, single objects, hashes (archive-api.md 6)."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Iterator

import pydicom
import pytest
import requests

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.series_zip import SeriesZip
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.datasets.derived_labels import small_catalogue
from tcia_assets_tests.sandbox.small_series import CATALOGUE, COUNT, FEW, UID

from .api_client import BINDAAS, DIALECTS, NBIA, ApiClient

ONE_OF_EACH = {row["Modality"]: row for row in reversed(CATALOGUE) if row["ImageCount"] < 300}


def zipped(reply: requests.Response) -> zipfile.ZipFile:
    assert reply.status_code == 200, reply.text
    return zipfile.ZipFile(io.BytesIO(reply.content))


def images(archive: zipfile.ZipFile) -> dict[str, bytes]:
    return {n: archive.read(n) for n in archive.namelist() if n.endswith(".dcm")}


def hashes(archive: zipfile.ZipFile) -> dict[str, str]:
    head, *lines = archive.read("md5hashes.csv").decode().splitlines()
    assert head == "Filename,MD5Hash"
    return dict(line.split(",") for line in lines)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def get(api: ApiClient, name: str, endpoint: str = "getImage", **more: str) -> requests.Response:
    return api(name, endpoint, {"SeriesInstanceUID": UID}, **more)


@pytest.mark.parametrize("modality", ONE_OF_EACH)
def test_a_zip_agrees_with_the_rows(api: ApiClient, modality: str) -> None:
    row = ONE_OF_EACH[modality]
    uid = row["SeriesInstanceUID"]
    [told] = api.rows("nbia-v4", "getSeries", SeriesInstanceUID=uid)
    sent = {"SeriesInstanceUID": uid}
    archive = zipped(api("nbia-v4", "getImage", sent, IncludeMD5="Yes"))
    assert archive.testzip() is None
    assert archive.namelist()[0] == "LICENSE"
    assert archive.namelist()[-1] == "md5hashes.csv"
    objects = images(archive)
    assert len(objects) == told["ImageCount"]
    assert sum(map(len, objects.values())) == told["FileSize"]
    assert hashes(archive) == {name: md5(content) for name, content in objects.items()}
    read = [pydicom.dcmread(io.BytesIO(content)) for content in objects.values()]
    assert {(each.SeriesInstanceUID, each.Modality) for each in read} == {(uid, modality)}
    uids = api.rows("nbia-v4", "getSOPInstanceUIDs", SeriesInstanceUID=uid)
    assert {each.SOPInstanceUID for each in read} == {u["SOPInstanceUID"] for u in uids}


def test_a_segmentation_refers_to_the_images_that_are_served(api: ApiClient) -> None:
    uid = ONE_OF_EACH["SEG"]["SeriesInstanceUID"]
    [content] = images(zipped(api("nbia-v4", "getImage", {"SeriesInstanceUID": uid}))).values()
    referred = pydicom.dcmread(io.BytesIO(content)).ReferencedSeriesSequence[0].SeriesInstanceUID
    assert api.rows("nbia-v4", "getSeries", SeriesInstanceUID=referred)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_entries_of_a_zip_are_those_of_the_dialect(api: ApiClient, name: str) -> None:
    numbered = [f"{number:08}.dcm" for number in range(1, COUNT + 1)]
    license_first = [] if name in BINDAAS else ["LICENSE"]
    assert zipped(get(api, name)).namelist() == [*license_first, *numbered]
    if dialect(name).has("getImageWithMD5Hash"):
        archive = zipped(get(api, name, "getImageWithMD5Hash"))
        assert archive.namelist() == [*numbered, "md5hashes.csv"]


def test_only_v4_has_include_md5(api: ApiClient) -> None:
    assert "md5hashes.csv" in zipped(get(api, "nbia-v4", IncludeMD5="Yes")).namelist()
    assert "md5hashes.csv" not in zipped(get(api, "nbia-v1", IncludeMD5="Yes")).namelist()
    assert "md5hashes.csv" not in zipped(get(api, "nbia-v4", IncludeMD5="yes")).namelist()


@pytest.mark.parametrize("name", NBIA)
def test_new_file_names_count_in_the_order_of_the_series(api: ApiClient, name: str) -> None:
    archive = zipped(get(api, name, NewFileNames="Yes"))
    width = len(str(COUNT))
    expected = [f"1-{number:0{width}}.dcm" for number in range(1, COUNT + 1)]
    assert archive.namelist() == ["LICENSE", *expected]
    numbers = [
        int(pydicom.dcmread(io.BytesIO(content)).InstanceNumber)
        for content in images(archive).values()
    ]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("name", NBIA)
def test_get_dcm_image_names_entries_by_number_and_has_no_license(
    api: ApiClient, name: str
) -> None:
    width = len(str(COUNT))
    expected = [f"1-{number:0{width}}.dcm" for number in range(1, COUNT + 1)]
    assert zipped(get(api, name, "getDCMImage", IncludeAnnotation="true")).namelist() == expected
    archive = zipped(get(api, name, "getDCMImage", MD5Verification="TRUE"))
    assert archive.namelist() == [*expected, "md5hashes.csv"]
    assert hashes(archive) == {n: md5(content) for n, content in images(archive).items()}


def test_new_file_names_and_md5s_are_only_for_get_image(api: ApiClient) -> None:
    plain = zipped(get(api, "nbia-v1", MD5Verification="true")).namelist()
    assert plain == ["LICENSE", *(f"{number:08}.dcm" for number in range(1, COUNT + 1))]
    assert zipped(get(api, "bindaas-v4", NewFileNames="Yes")).namelist() == plain[1:]


def test_a_zip_is_streamed_while_its_objects_are_made() -> None:
    made: list[int] = []

    def objects() -> Iterator[tuple[str, bytes]]:
        for number in range(1000):
            made.append(number)
            yield str(number), random.Random(number).randbytes(100_000)

    pieces = SeriesZip(1000, license="free", with_md5=True).chunks(objects())
    next(pieces)
    assert len(made) < 40
    assert max(len(piece) for _, piece in zip(range(50), pieces, strict=False)) < 300_000
    assert len(made) < 100


def test_the_license_entry_has_the_licence_of_the_row(api: ApiClient) -> None:
    text = zipped(get(api, "nbia-v4")).read("LICENSE").decode()
    assert FEW["LicenseName"] in text
    assert FEW["LicenseURI"] in text


def test_two_downloads_have_the_same_images_under_other_names(api: ApiClient) -> None:
    first, second = (images(zipped(get(api, "nbia-v4"))) for _ in range(2))
    assert first != second
    assert sorted(map(md5, first.values())) == sorted(map(md5, second.values()))


def test_a_zip_is_streamed_as_java_writes_it(api: ApiClient) -> None:
    reply = get(api, "nbia-v4")
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{UID}.zip"'
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert not {"Content-Length", "ETag", "Accept-Ranges"} & set(reply.headers)
    assert reply.content[:8] == b"PK\x03\x04\x14\x00\x08\x08"  # deflate, sizes after the data
    assert reply.content[14:26] == bytes(12)
    for member in zipped(reply).infolist():
        assert (member.flag_bits, member.compress_type) == (0x0808, zipfile.ZIP_DEFLATED)


def test_a_range_is_ignored(api: ApiClient) -> None:
    reply = api("nbia-v4", "getImage", {"SeriesInstanceUID": UID}, headers={"Range": "bytes=10-"})
    assert reply.status_code == 200
    assert zipped(reply).testzip() is None


@pytest.mark.parametrize("name", BINDAAS)
def test_bindaas_sends_the_count_in_a_header(api: ApiClient, name: str) -> None:
    assert get(api, name).headers["imageCount"] == str(COUNT)
    assert api(name, "getImage", {"SeriesInstanceUID": "1.2.3"}).content == b""


@pytest.mark.parametrize("name", DIALECTS)
def test_a_single_image_is_the_object_of_the_zip(api: ApiClient, name: str) -> None:
    sop = phantom.sop_instance_uids(UID, COUNT)[2]
    reply = get(api, name, "getSingleImage", SOPInstanceUID=sop)
    assert reply.headers["Content-Type"] == "application/dicom"
    assert reply.headers["Content-Disposition"] == f"attachment; filename={sop}.dcm"
    assert pydicom.dcmread(io.BytesIO(reply.content)).SOPInstanceUID == sop
    assert reply.content in images(zipped(get(api, name))).values()


@pytest.mark.parametrize("name", NBIA)
def test_the_hash_of_an_image(api: ApiClient, name: str) -> None:
    sop = api.rows(name, "getSOPInstanceUIDs", SeriesInstanceUID=UID)[0]["SOPInstanceUID"]
    content = get(api, name, "getSingleImage", SOPInstanceUID=sop).content
    reply = api(name, "getMD5HashForImage", {"SOPInstanceUID": sop})
    assert (reply.headers["Content-Type"], reply.text) == ("text/plain", md5(content))
    for unknown in ({"SOPInstanceUID": "1.2.3"}, {}):
        nothing = api(name, "getMD5HashForImage", unknown)
        assert (nothing.status_code, nothing.content) == (200, b"")


def over(hashes: list[str]) -> str:
    return md5("".join(sorted(hashes)).encode())


@pytest.fixture
def small_ct() -> Iterator[Sandbox]:
    """Serve a Collection of five Patients with at most ten images a Series."""
    with Sandbox(small_catalogue()) as sandbox:
        yield sandbox


def test_the_md5_hierarchy_is_over_the_md5s_in_zips(
    small_ct: Sandbox, session: requests.Session
) -> None:
    sandbox, api = small_ct, ApiClient(small_ct, session)
    rows = sandbox.archive.rows("SELECT * FROM archive.series")

    def asked(**values: str) -> str:
        reply = api("nbia-v4", "getMD5Hierarchy", values)
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/plain")
        return reply.text

    by_patient: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        sent = {"SeriesInstanceUID": row["SeriesInstanceUID"]}
        archive = zipped(api("nbia-v4", "getImage", sent, IncludeMD5="Yes"))
        one = over(list(hashes(archive).values()))
        assert asked(SeriesInstanceUID=row["SeriesInstanceUID"]) == one
        studies = by_patient.setdefault(row["PatientID"], {})
        studies.setdefault(row["StudyInstanceUID"], []).append(one)
    patients = []
    for patient, studies in by_patient.items():
        for study, ones in studies.items():
            assert asked(StudyInstanceUID=study) == over(ones)
        patients.append(over([over(ones) for ones in studies.values()]))
        assert asked(PatientID=patient, Collection="LCTSC") == patients[-1]
    assert asked(Collection="LCTSC") == over(patients)
    assert asked(SeriesInstanceUID="1.2.3") == asked(Collection="Nowhere") == ""
    uid = rows[0]["SeriesInstanceUID"]
    before = asked(SeriesInstanceUID=uid)
    sandbox.archive.revise([uid])
    assert asked(SeriesInstanceUID=uid) != before
