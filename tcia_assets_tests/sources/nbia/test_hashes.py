"""Hashes: of one object, and over those of a Series, a Study, a Patient or a Collection."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tcia_assets.errors import (
    ArchiveBroken,
    RemoteError,
    UnknownName,
    UnknownReply,
    UnreadableReply,
    UsageError,
)
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Target
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.conftest import FAST, Serve, talking
from tcia_assets_tests.sources.scripted import answer

UID = {"SeriesInstanceUID": "1.2.3"}
MD5 = "0123456789abcdef0123456789abcdef"


def over(hashes: Iterable[str]) -> str:
    return hashlib.md5("".join(sorted(hashes)).encode()).hexdigest()


def listed(path: Path) -> list[str]:
    """The MD5s that the zip of a Series ends with."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read("md5hashes.csv").decode()
    return [row["MD5Hash"] for row in csv.DictReader(io.StringIO(text))]


def test_the_hash_of_a_series_covers_the_hashes_of_its_objects(
    client: Client, tmp_path: Path
) -> None:
    uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
    client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID=uid)
    md5s = listed(tmp_path / "zip")
    assert client.get_hash("getMD5Hierarchy", SeriesInstanceUID=uid) == over(md5s)
    sop = client.get_rows("getSOPInstanceUIDs", SeriesInstanceUID=uid).table[0][0].as_py()
    assert client.get_hash("getMD5HashForImage", SOPInstanceUID=sop) in md5s


def test_each_hash_above_covers_those_below(sandbox: Sandbox, client: Client) -> None:
    rows = sandbox.archive.rows(
        "SELECT Collection, PatientID, StudyInstanceUID, SeriesInstanceUID FROM archive.series "
        "WHERE Collection IN (SELECT Collection FROM archive.series GROUP BY ALL "
        "ORDER BY sum(ImageCount) LIMIT 1)"
    )
    collection = rows[0]["Collection"]

    def below(level: str, above: dict[str, str]) -> list[str]:
        return sorted({row[level] for row in rows if above.items() <= row.items()})

    patients = []
    for patient in below("PatientID", {}):
        studies = []
        for study in below("StudyInstanceUID", {"PatientID": patient}):
            uids = below("SeriesInstanceUID", {"StudyInstanceUID": study})
            md5s = [client.get_hash("getMD5Hierarchy", SeriesInstanceUID=uid) for uid in uids]
            studies.append(client.get_hash("getMD5Hierarchy", StudyInstanceUID=study))
            assert studies[-1] == over(md5s)
        chosen = {"Collection": collection, "PatientID": patient}
        patients.append(client.get_hash("getMD5Hierarchy", **chosen))
        assert patients[-1] == over(studies)
    assert client.get_hash("getMD5Hierarchy", Collection=collection) == over(patients)


def test_a_hash_is_asked_for_in_the_way_of_its_dialect(serve: Serve) -> None:
    server = serve(answer(MD5))
    with talking(server.url) as client:
        client.get_hash("getMD5Hierarchy", Collection="A & B", PatientID="p")
        client.get_hash("getMD5HashForImage", SOPInstanceUID="1.2")
    with talking(server.url, "nbia-v1") as client:
        client.get_hash("getMD5HashForImage", SOPInstanceUID="1.2")
    form, single, sic = server.asked
    assert (form.method, form.query) == ("POST", ())
    assert parse_qs(form.body) == {"Collection": ["A & B"], "PatientID": ["p"]}
    assert (single.method, single.query) == ("GET", (("SOPInstanceUID", "1.2"),))
    assert sic.path.endswith("/getM5HashForImage")
    assert sic.query == (("SOPInstanceUid", "1.2"),)


@pytest.mark.parametrize("body", [MD5, f"{MD5}\n", f" {MD5.upper()}\r\n"])
def test_a_hash_is_bare_and_in_lower_case(body: str, serve: Serve) -> None:
    with talking(serve(answer(body)).url) as client:
        assert client.get_hash("getMD5Hierarchy", **UID) == MD5


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        ("<html>Down</html>", "<html>Down</html>"),
        (MD5[:-1], MD5[:-1]),
        (MD5 + "0", MD5 + "0"),
        (MD5[:-1] + "g", MD5[:-1] + "g"),
        (f"{MD5} {MD5}", f"{MD5} {MD5}"),
        ("\N{ARABIC-INDIC DIGIT ONE}" * 32, "\N{ARABIC-INDIC DIGIT ONE}" * 32),
        ("null", "null"),
        ("x" * 50_000_000, "x" * 200),
    ],
    ids=["a page", "short", "long", "no hex", "two", "other digits", "null", "endless"],
)
def test_what_is_no_hash_is_unreadable(body: str, excerpt: str, serve: Serve) -> None:
    server = serve(answer(body))
    with (
        talking(server.url, pacing=FAST) as client,
        pytest.raises(UnreadableReply, match="getMD5Hierarchy: not a hash") as caught,
    ):
        client.get_hash("getMD5Hierarchy", **UID)
    assert caught.value.excerpt == excerpt
    assert len(server.asked) == 3


@pytest.mark.parametrize("body", ["", "\n", "  "])
def test_no_hash_is_unknown(body: str, serve: Serve) -> None:
    server = serve([answer(body), answer(MD5)])
    with talking(server.url) as client:
        assert client.get_hash("getMD5Hierarchy", **UID) == MD5
    server = serve(answer(body))
    with talking(server.url) as client, pytest.raises(UnknownReply, match="zero bytes"):
        client.get_hash("getMD5Hierarchy", **UID)
    assert len(server.asked) == 3


def test_what_does_not_exist_has_no_hash(client: Client) -> None:
    with pytest.raises(UnknownReply):
        client.get_hash("getMD5Hierarchy", **UID)
    with pytest.raises(UnknownReply):
        client.get_hash("getMD5HashForImage", SOPInstanceUID="1.2.3")


def test_a_hash_that_is_refused_or_fails_says_so(serve: Serve) -> None:
    for status, error in ((400, RemoteError), (500, ArchiveBroken)):
        with talking(serve(answer("no", status)).url) as client, pytest.raises(error) as caught:
            client.get_hash("getMD5Hierarchy", **UID)
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("name", "filters", "error", "said"),
    [
        ("getMD5Hierarchy", {}, UsageError, "getMD5Hierarchy needs SeriesInstanceUID or Study"),
        ("getMD5Hierarchy", {"Collection": " "}, UsageError, "Collection is empty"),
        ("getMD5Hierarchy", {"Modality": "CT"}, UnknownName, "parameter of getMD5Hierarchy"),
        ("getMD5HashForImage", {}, UsageError, "getMD5HashForImage needs SOPInstanceUID"),
        ("getSeries", {"Collection": "A"}, UsageError, "returns rows, not text"),
        ("getImage", UID, UsageError, "returns zip, not text"),
        ("getMD5", UID, UnknownName, "endpoint of dialect nbia-v4"),
    ],
)
def test_a_question_for_no_hash_is_never_sent(
    name: str, filters: dict[str, str], error: type[Exception], said: str, serve: Serve
) -> None:
    server = serve(answer(MD5))
    with talking(server.url) as client, pytest.raises(error, match=said):
        client.get_hash(name, **filters)
    assert server.asked == []


def test_hashes_are_neither_rows_nor_downloads(serve: Serve, tmp_path: Path) -> None:
    server = serve(answer(MD5))
    with talking(server.url) as client:
        with pytest.raises(UsageError, match="returns text, not rows"):
            client.get_rows("getMD5Hierarchy", **UID)
        with pytest.raises(UsageError, match="returns text, not zip or dicom"):
            client.download("getMD5Hierarchy", Target(tmp_path / "x"), **UID)
    assert server.asked == []


@pytest.mark.parametrize("speaks", ["nbia-v1", "nbia-v2", "nbia-v4"])
def test_the_hash_of_an_object_is_told_in_every_dialect_that_has_it(
    speaks: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    with Client(settings_for(sandbox, tmp_path, speaks), pacing=FAST) as client:
        uid = client.get_rows("getSeries", Collection=SMALL).table["SeriesInstanceUID"][0].as_py()
        sop = client.get_rows("getSOPInstanceUIDs", SeriesInstanceUID=uid).table[0][0].as_py()
        told = client.get_hash("getMD5HashForImage", SOPInstanceUID=sop)
        target = Target(tmp_path / "dcm")
        client.download("getSingleImage", target, SeriesInstanceUID=uid, SOPInstanceUID=sop)
    assert told == hashlib.md5((tmp_path / "dcm").read_bytes()).hexdigest()
