"""Each fault does what it says, as often as it says, to the requests that it fits."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import time
import zipfile

import pydicom
import pytest
import requests

from tcia_assets.errors import UnknownName
from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.faults import ARCHIVES, KINDS, Fault, Faults
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sandbox.zip_stream import EMPTY

from .conftest import Asker

CATALOGUE = series_rows.load().to_pylist()
COLLECTION = "RIDER Lung CT"
FEW = min((r for r in CATALOGUE if r["ImageCount"] >= 5), key=lambda r: r["ImageCount"])
UID, COUNT = FEW["SeriesInstanceUID"], FEW["ImageCount"]
CUT_OFF = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)


def listed(ask: Asker, collection: str = COLLECTION, **more: str) -> requests.Response:
    return ask("nbia-v4", "getSeries", {"Collection": collection}, **more)


def image(ask: Asker, uid: str = UID) -> requests.Response:
    return ask("nbia-v4", "getImage", {"SeriesInstanceUID": uid}, IncludeMD5="Yes")


def zipped(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


# --- Which request ------------------------------------------------------------------------------


def test_a_fault_is_due_as_often_as_it_says(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("empty", times=2))
    assert [bool(listed(ask).content) for _ in range(4)] == [False, False, True, True]
    sandbox.faults.add(Fault("empty", times=0))
    assert not any(listed(ask).content for _ in range(4))
    sandbox.faults.clear()
    assert listed(ask).content


def test_a_fault_waits_for_the_request_that_it_fits(ask: Asker, sandbox: Sandbox) -> None:
    fault = Fault("empty", endpoint="getSeries", collection=COLLECTION, dialect="nbia-v4")
    sandbox.faults.add(fault)
    assert ask.rows("nbia-v4", "getPatient", Collection=COLLECTION)
    assert ask.rows("nbia-v4", "getSeries", Collection="LCTSC")
    assert ask.rows("nbia-v1", "getSeries", Collection=COLLECTION)
    assert listed(ask).content == b""
    assert listed(ask).content


def test_a_fault_of_zips_waits_for_a_zip_and_one_of_rows_for_rows(
    ask: Asker, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("zip_empty", series=UID), Fault("wrong_count"))
    assert image(ask).content == EMPTY
    assert listed(ask).json()
    assert len(sandbox.faults) == 0


def test_the_token_endpoint_can_fail_too(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("status", endpoint="token", status=500))
    assert ask.grant().status_code == 500
    assert ask.grant().status_code == 200


def test_faults_are_values() -> None:
    assert Fault("empty") == Fault("empty")
    with pytest.raises(UnknownName, match="zip_bomb"):
        Fault("zip_bom")
    faults = Faults()
    faults.add(Fault("empty", times=3))
    faults.take("nbia-v4", "getSeries", {}, returns="rows")
    assert [each["times"] for each in faults.pending()] == [2]


# --- The connection -----------------------------------------------------------------------------


def test_a_status_carries_its_body_and_retry_after(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(
        Fault("status", status=429, retry_after="7", body="slow down", content_type="text/plain")
    )
    reply = listed(ask)
    assert (reply.status_code, reply.text) == (429, "slow down")
    assert reply.headers["Retry-After"] == "7"


def test_html_empty_and_no_data(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("html"), Fault("empty"), Fault("no_data"))
    page, empty, no_data = (listed(ask) for _ in range(3))
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    assert page.text.startswith("<html>")
    assert (empty.status_code, empty.content) == (200, b"")
    assert "Content-Type" not in empty.headers
    assert (no_data.status_code, no_data.text) == (500, "No data found.")


@pytest.mark.parametrize("kind", ["reset", "unterminated"])
@pytest.mark.parametrize("ask_for", [listed, image])
def test_a_connection_breaks_in_the_middle(
    ask: Asker, sandbox: Sandbox, kind: str, ask_for: object
) -> None:
    sandbox.faults.add(Fault(kind, after_bytes=700))
    with pytest.raises(CUT_OFF) as caught:
        ask_for(ask)  # type: ignore[operator]
    assert ("reset" in str(caught.value).lower()) == (kind == "reset")
    assert ask_for(ask).status_code == 200  # type: ignore[operator]


def test_what_came_before_a_break_has_arrived(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("unterminated", after_bytes=700))
    url = f"{sandbox.base_url()}/getSeries"
    got: list[bytes] = []
    with requests.get(url, stream=True, timeout=5) as reply, pytest.raises(CUT_OFF):
        got.extend(reply.iter_content(100))
    assert sum(map(len, got)) == 700


@pytest.mark.parametrize("ask_for", [listed, image])
def test_a_cut_body_looks_as_if_it_were_whole(
    ask: Asker, sandbox: Sandbox, ask_for: object
) -> None:
    sandbox.faults.add(Fault("cut", after_bytes=1234))
    reply = ask_for(ask)  # type: ignore[operator]
    assert (reply.status_code, len(reply.content)) == (200, 1234)


def test_json_is_cut_right_after_a_comma(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("cut_after_comma", after_bytes=5000))
    body = listed(ask).content
    assert body.endswith(b",")
    assert 4000 < len(body) <= 5000
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_xml_is_cut_in_the_middle(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("cut", after_bytes=3000))
    assert not listed(ask, format="xml").text.endswith("</Results>")


def test_a_hang_lasts_as_long_as_it_says_and_blocks_nobody_else(
    ask: Asker, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("hang", seconds=5))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{sandbox.base_url()}/getSeries", timeout=0.1)
    start = time.monotonic()
    assert listed(ask).status_code == 200
    assert time.monotonic() - start < 4
    sandbox.faults.add(Fault("hang", seconds=0.3))
    start = time.monotonic()
    assert listed(ask).json()
    assert time.monotonic() - start >= 0.3


def test_a_drip_sends_byte_by_byte(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("drip", seconds=0.02))
    url, sent = f"{sandbox.base_url()}/getSeries", {"Collection": COLLECTION}
    with requests.get(url, params=sent, stream=True, timeout=5) as reply:
        pieces = list(itertools.islice(reply.raw.stream(1, decode_content=False), 5))
    assert pieces == [b"[", b"{", b'"', b"S", b"e"]


# --- Rows ---------------------------------------------------------------------------------------


def test_a_wrong_count_is_wrong_everywhere(ask: Asker, sandbox: Sandbox) -> None:
    right = {row["SeriesInstanceUID"]: row["ImageCount"] for row in listed(ask).json()}
    sandbox.faults.add(Fault("wrong_count", images=3, times=0))
    for row in listed(ask).json():
        assert row["ImageCount"] == right[row["SeriesInstanceUID"]] + 3
    [size] = ask.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=UID)
    assert size["ObjectCount"] == COUNT + 3


def test_an_ignored_filter_gives_the_whole_list(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("ignored_filter"))
    assert len(listed(ask).json()) == len(CATALOGUE)


def test_a_renamed_column(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("renamed_column", column="DataDescriptionURI", value="CollectionURI"))
    row = listed(ask).json()[0]
    assert "CollectionURI" in row
    assert "DataDescriptionURI" not in row


@pytest.mark.parametrize("endpoint", ["getSeries", "getPatient", "getModalityValues"])
def test_duplicate_rows(ask: Asker, sandbox: Sandbox, endpoint: str) -> None:
    once = ask.rows("nbia-v4", endpoint, Collection=COLLECTION)
    sandbox.faults.add(Fault("duplicate_rows"))
    twice = ask.rows("nbia-v4", endpoint, Collection=COLLECTION)
    assert sorted(map(str, twice)) == sorted(map(str, once + once))


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("column", ["ImageCount", "FileSize", "SeriesDate"])
def test_a_bad_value_stands_in_one_row(
    ask: Asker, sandbox: Sandbox, form: str, column: str
) -> None:
    sandbox.faults.add(Fault("bad_value", column=column, value="twelve"))
    body = listed(ask, format=form).text
    assert body.count('"twelve') == 1
    if form == "json":
        assert [row[column] for row in json.loads(body) if row.get(column) == "twelve"]


def test_a_bad_size(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("bad_value", column="TotalSizeInBytes", value="huge"))
    rows = ask.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=UID)
    assert rows == [{"TotalSizeInBytes": "huge", "ObjectCount": COUNT}]


def test_a_body_in_latin_1(ask: Asker, sandbox: Sandbox) -> None:
    sandbox.archive.move([UID], to="Café")
    right = listed(ask, "Café").content
    sandbox.faults.add(Fault("latin1"))
    wrong = listed(ask, "Café").content
    assert "Café".encode() in right
    assert "Café".encode("latin-1") in wrong
    assert json.loads(wrong.decode("latin-1"))


# --- Zips ---------------------------------------------------------------------------------------


def faulty(ask: Asker, sandbox: Sandbox, kind: str, **settings: int) -> bytes:
    sandbox.faults.add(Fault(kind, **settings))  # type: ignore[arg-type]
    reply = image(ask)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/octet-stream")
    return reply.content


def objects(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.startswith("0000")]


def test_a_short_zip_is_valid_and_has_no_hashes(ask: Asker, sandbox: Sandbox) -> None:
    archive = zipped(faulty(ask, sandbox, "zip_short", images=2))
    assert archive.testzip() is None
    assert archive.namelist() == ["LICENSE", *(f"{n:08}.dcm" for n in range(1, COUNT - 1))]


def test_the_last_object_is_cut_short_with_a_right_crc(ask: Asker, sandbox: Sandbox) -> None:
    archive = zipped(faulty(ask, sandbox, "zip_last_cut"))
    assert archive.testzip() is None
    sizes = [archive.getinfo(name).file_size for name in objects(archive)]
    assert sizes == [*sizes[:1] * (COUNT - 1), sizes[0] // 2]
    assert "md5hashes.csv" not in archive.namelist()


def test_an_empty_zip_is_22_bytes(ask: Asker, sandbox: Sandbox) -> None:
    content = faulty(ask, sandbox, "zip_empty")
    assert len(content) == 22
    assert zipped(content).namelist() == []


def test_a_zip_of_a_license_alone(ask: Asker, sandbox: Sandbox) -> None:
    archive = zipped(faulty(ask, sandbox, "zip_license_only"))
    assert [(m.filename, m.file_size) for m in archive.infolist()] == [("LICENSE", 0)]


def test_a_flipped_byte_breaks_an_object(ask: Asker, sandbox: Sandbox) -> None:
    archive = zipped(faulty(ask, sandbox, "zip_flipped_byte"))
    assert len(objects(archive)) == COUNT
    broken = []
    for name in objects(archive):
        try:
            archive.read(name)
        except (zipfile.BadZipFile, zipfile.zlib.error):  # type: ignore[attr-defined]
            broken.append(name)
    assert len(broken) == 1


def test_one_listed_hash_is_wrong(ask: Asker, sandbox: Sandbox) -> None:
    archive = zipped(faulty(ask, sandbox, "zip_wrong_md5"))
    assert archive.testzip() is None
    lines = archive.read("md5hashes.csv").decode().splitlines()[1:]
    wrong = [
        name
        for name, listed_hash in (line.split(",") for line in lines)
        if hashlib.md5(archive.read(name), usedforsecurity=False).hexdigest() != listed_hash
    ]
    assert len(wrong) == 1


def test_bytes_follow_the_end_of_the_zip(ask: Asker, sandbox: Sandbox) -> None:
    content = faulty(ask, sandbox, "zip_trailing_bytes")
    assert content.endswith(b"trailing bytes")
    assert len(objects(zipped(content))) == COUNT


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("zip_traversal", "../outside.dcm"),
        ("zip_absolute", "/tmp/outside.dcm"),
        ("zip_drive", "C:\\outside.dcm"),
        ("zip_symlink", "00000000.dcm"),
        ("zip_nested", "nested.zip"),
        ("zip_bomb", "bomb.dcm"),
    ],
)
def test_a_hostile_entry_stands_beside_the_images(
    ask: Asker, sandbox: Sandbox, kind: str, name: str
) -> None:
    archive = zipped(faulty(ask, sandbox, kind))
    member = archive.getinfo(name)
    assert len(archive.namelist()) == COUNT + 3
    if kind == "zip_symlink":
        assert member.external_attr >> 16 == 0o120777
        assert archive.read(name) == b"/etc/passwd"
    if kind == "zip_nested":
        assert zipped(archive.read(name)).read("inside.dcm") == b"inside"
    if kind == "zip_bomb":
        assert member.file_size == 1 << 30
        assert member.compress_size < 2 << 20
        with archive.open(name) as bomb:
            assert bomb.read(1000) == bytes(1000)


def test_two_entries_have_one_name(ask: Asker, sandbox: Sandbox) -> None:
    names = zipped(faulty(ask, sandbox, "zip_duplicate")).namelist()
    assert names.count("00000001.dcm") == 2


def test_a_million_entries_come_one_by_one(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("zip_many"))
    url, sent = f"{sandbox.base_url()}/getImage", {"SeriesInstanceUID": UID}
    with requests.get(url, params=sent, stream=True, timeout=5) as reply:
        start = next(reply.iter_content(1 << 16))
    assert start.startswith(b"PK")


@pytest.mark.parametrize("kind", sorted(set(ARCHIVES) - {"zip_bomb", "zip_many"}))
def test_the_next_zip_is_whole_again(ask: Asker, sandbox: Sandbox, kind: str) -> None:
    faulty(ask, sandbox, kind)
    archive = zipped(image(ask).content)
    assert archive.testzip() is None
    read = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in objects(archive)]
    assert len({each.SOPInstanceUID for each in read}) == COUNT


def test_every_fault_is_described() -> None:
    assert all(KINDS.values())
