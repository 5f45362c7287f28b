"""What the sandbox tells of whole Collections: counts, descriptions, manifests."""

from __future__ import annotations

import re

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox.server import Sandbox

from .api_client import ApiClient
from .small_series import CATALOGUE

COLLECTION = "RIDER Lung CT"
MINE = [row for row in CATALOGUE if row["Collection"] == COLLECTION]
UIDS = {row["SeriesInstanceUID"] for row in MINE}
NAMES = sorted({row["Collection"] for row in CATALOGUE})


# --- Counts and descriptions ----------------------------------------------------------------------


def test_patients_are_counted_by_collection(api: ApiClient, sandbox: Sandbox) -> None:
    told = {row["Collection"]: row for row in api.rows("nbia-v4", "getCollectionValuesAndCounts")}
    for name in NAMES:
        patients = {row["PatientID"] for row in CATALOGUE if row["Collection"] == name}
        assert told[name] == {"Collection": name, "Count": len(patients), "Authorized": 1}
    sandbox.archive.hide(collection=COLLECTION)
    left = api.rows("nbia-v4", "getCollectionValuesAndCounts")
    assert {row["Collection"] for row in left} == set(NAMES) - {COLLECTION}


def test_descriptions_of_collections_have_all_fields(api: ApiClient) -> None:
    rows = api.rows("nbia-v4", "getCollectionDescriptions")
    columns = dialect("nbia-v4").endpoint("getCollectionDescriptions").columns
    assert [row["collectionName"] for row in rows] == NAMES
    assert {tuple(row) for row in rows} == {columns}
    assert len({row["id"] for row in rows}) == len(rows)
    by_name = {row["collectionName"]: row for row in rows}
    assert by_name[COLLECTION]["descriptionURI"] in {row["DataDescriptionURI"] for row in MINE}
    assert by_name[COLLECTION]["description"].startswith("<p>")


def test_a_description_of_one_collection_or_none(api: ApiClient, sandbox: Sandbox) -> None:
    everything = api.rows("nbia-v4", "getCollectionDescriptions")
    [one] = api.rows("nbia-v4", "getCollectionDescriptions", Collection=COLLECTION)
    assert one in everything
    assert api.rows("nbia-v4", "getCollectionDescriptions", Collection="") == everything
    sandbox.archive.hide(collection=COLLECTION)
    for name in ("Nowhere", COLLECTION):
        reply = api("nbia-v4", "getCollectionDescriptions", {"Collection": name})
        assert (reply.status_code, reply.content) == (200, b"[]")
        assert reply.headers["Content-Type"] == "application/json"


def test_a_slash_in_a_description_is_not_escaped(api: ApiClient) -> None:
    assert b"https://doi.org/" in api("nbia-v4", "getCollectionDescriptions").content


# --- Manifests ------------------------------------------------------------------------------------


def manifest(api: ApiClient, **sent: str) -> tuple[dict[str, str], list[str]]:
    reply = api("nbia-v4", "getManifestForCollection", **sent)
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/x-nbia-manifest-file"
    head, end, uids = reply.text.partition("ListOfSeriesToDownload=\n")
    assert end
    return dict(line.split("=", 1) for line in head.splitlines()), uids.splitlines()


def test_a_series_list_has_six_lines_and_the_uids(api: ApiClient) -> None:
    head, uids = manifest(api, collection=COLLECTION)
    assert sorted(uids) == sorted(UIDS)
    assert re.fullmatch(rf"{COLLECTION}-\d{{4}}-\d\d-\d\d_\d\d-\d\d\.tcia", head["databasketId"])
    assert list(head) == [
        "downloadServerUrl",
        "includeAnnotation",
        "noOfrRetry",
        "databasketId",
        "manifestVersion",
    ]


def test_a_series_list_has_the_url_of_the_sandbox(api: ApiClient, sandbox: Sandbox) -> None:
    head, _ = manifest(api, collection=COLLECTION)
    assert head["downloadServerUrl"].startswith(f"{sandbox.url}/")


@pytest.mark.parametrize(
    ("sent", "told"), [("", "true"), ("true", "true"), ("TRUE", "true"), ("no", "false")]
)
def test_annotations_are_included_unless_refused(api: ApiClient, sent: str, told: str) -> None:
    head, _ = manifest(api, collection=COLLECTION, includeAnnotation=sent)
    assert head["includeAnnotation"] == told


def test_a_series_list_has_one_visibility_or_all(api: ApiClient, sandbox: Sandbox) -> None:
    hidden = set(sandbox.archive.hide(sorted(UIDS)[:2]))
    sandbox.archive.withdraw(sorted(UIDS)[2:3])
    gone = set(sorted(UIDS)[2:3])
    assert set(manifest(api, collection=COLLECTION)[1]) == UIDS - hidden - gone
    assert set(manifest(api, collection=COLLECTION, visibility="")[1]) == UIDS - hidden - gone
    assert set(manifest(api, collection=COLLECTION, visibility="0")[1]) == hidden
    assert set(manifest(api, collection=COLLECTION, visibility="13")[1]) == UIDS - gone
    assert manifest(api, collection=COLLECTION, visibility="4")[1] == []


@pytest.mark.parametrize("sent", [{}, {"collection": "Nowhere"}])
def test_a_series_list_without_series_has_no_uids(api: ApiClient, sent: dict[str, str]) -> None:
    assert manifest(api, **sent)[1] == []
