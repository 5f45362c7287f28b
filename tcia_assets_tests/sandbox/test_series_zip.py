"""Faults in zips, and zips as a stream."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pydicom
import pytest
import requests

from tcia_assets.sandbox.faults import ARCHIVES, Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import COUNT, UID, image, zipped

from .api_client import ApiClient


def faulty(api: ApiClient, sandbox: Sandbox, kind: str, **settings: int) -> bytes:
    sandbox.faults.add(Fault(kind, **settings))  # type: ignore[arg-type]
    reply = image(api)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/octet-stream")
    return reply.content


def objects(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.startswith("0000")]


def test_a_short_zip_is_valid_and_has_no_md5s(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_short", images=2))
    assert archive.testzip() is None
    assert archive.namelist() == ["LICENSE", *(f"{n:08}.dcm" for n in range(1, COUNT - 1))]


def test_a_whole_zip_without_its_md5s(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_no_md5s"))
    assert archive.namelist() == ["LICENSE", *(f"{n:08}.dcm" for n in range(1, COUNT + 1))]


def test_the_last_object_is_cut_short_with_a_right_crc(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_last_cut"))
    assert archive.testzip() is None
    sizes = [archive.getinfo(name).file_size for name in objects(archive)]
    assert sizes == [*sizes[:1] * (COUNT - 1), sizes[0] // 2]
    assert "md5hashes.csv" not in archive.namelist()


def test_an_empty_zip_is_22_bytes(api: ApiClient, sandbox: Sandbox) -> None:
    content = faulty(api, sandbox, "zip_empty")
    assert len(content) == 22
    assert zipped(content).namelist() == []


def test_a_zip_with_only_a_license(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_license_only"))
    assert [(m.filename, m.file_size) for m in archive.infolist()] == [("LICENSE", 0)]


def test_a_flipped_byte_breaks_an_object(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_flipped_byte"))
    assert len(objects(archive)) == COUNT
    broken = []
    for name in objects(archive):
        try:
            archive.read(name)
        except (zipfile.BadZipFile, zipfile.zlib.error):  # type: ignore[attr-defined]
            broken.append(name)
    assert len(broken) == 1


def test_one_listed_md5_is_wrong(api: ApiClient, sandbox: Sandbox) -> None:
    archive = zipped(faulty(api, sandbox, "zip_wrong_md5"))
    assert archive.testzip() is None
    lines = archive.read("md5hashes.csv").decode().splitlines()[1:]
    wrong = [
        name
        for name, listed_hash in (line.split(",") for line in lines)
        if hashlib.md5(archive.read(name), usedforsecurity=False).hexdigest() != listed_hash
    ]
    assert len(wrong) == 1


def test_bytes_follow_the_end_of_the_zip(api: ApiClient, sandbox: Sandbox) -> None:
    content = faulty(api, sandbox, "zip_trailing_bytes")
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
def test_a_hostile_entry_is_added_to_the_images(
    api: ApiClient, sandbox: Sandbox, kind: str, name: str
) -> None:
    archive = zipped(faulty(api, sandbox, kind))
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


def test_two_entries_have_the_same_name(api: ApiClient, sandbox: Sandbox) -> None:
    names = zipped(faulty(api, sandbox, "zip_duplicate")).namelist()
    assert names.count("00000001.dcm") == 2


def test_a_million_entries_are_streamed(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("zip_many"))
    url, sent = f"{sandbox.base_url()}/getImage", {"SeriesInstanceUID": UID}
    with requests.get(url, params=sent, stream=True, timeout=5) as reply:
        start = next(reply.iter_content(1 << 16))
    assert start.startswith(b"PK")


@pytest.mark.parametrize("kind", sorted(set(ARCHIVES) - {"zip_bomb", "zip_many"}))
def test_the_next_zip_is_complete(api: ApiClient, sandbox: Sandbox, kind: str) -> None:
    faulty(api, sandbox, kind)
    archive = zipped(image(api).content)
    assert archive.testzip() is None
    read = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in objects(archive)]
    assert len({each.SOPInstanceUID for each in read}) == COUNT
