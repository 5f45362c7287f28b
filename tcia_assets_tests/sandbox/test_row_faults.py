"""Faults in rows."""

from __future__ import annotations

import json

import pytest

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.small_series import CATALOGUE, COLLECTION, COUNT, UID, list_series

from .api_client import ApiClient


def test_a_wrong_count_is_the_same_in_all_endpoints(api: ApiClient, sandbox: Sandbox) -> None:
    right = {row["SeriesInstanceUID"]: row["ImageCount"] for row in list_series(api).json()}
    sandbox.faults.add(Fault("wrong_count", images=3, times=0))
    for row in list_series(api).json():
        assert row["ImageCount"] == right[row["SeriesInstanceUID"]] + 3
    [size] = api.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=UID)
    assert size["ObjectCount"] == COUNT + 3


def test_an_ignored_filter_returns_all_rows(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("ignored_filter"))
    assert len(list_series(api).json()) == len(CATALOGUE)


def test_a_renamed_column(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("renamed_column", column="DataDescriptionURI", value="CollectionURI"))
    row = list_series(api).json()[0]
    assert "CollectionURI" in row
    assert "DataDescriptionURI" not in row


def test_a_renamed_column_of_rows_that_are_made_without_a_query(
    api: ApiClient, sandbox: Sandbox
) -> None:
    name = "getCollectionDescriptions"
    [right] = api.rows("nbia-v4", name, Collection=COLLECTION)
    sandbox.faults.add(Fault("renamed_column", name, column="description", value="text"))
    [wrong] = api.rows("nbia-v4", name, Collection=COLLECTION)
    assert wrong == {{"description": "text"}.get(key, key): right[key] for key in right}


@pytest.mark.parametrize("endpoint", ["getSeries", "getPatient", "getModalityValues"])
def test_duplicate_rows(api: ApiClient, sandbox: Sandbox, endpoint: str) -> None:
    once = api.rows("nbia-v4", endpoint, Collection=COLLECTION)
    sandbox.faults.add(Fault("duplicate_rows"))
    twice = api.rows("nbia-v4", endpoint, Collection=COLLECTION)
    assert sorted(map(str, twice)) == sorted(map(str, once + once))


@pytest.mark.parametrize("endpoint", ["getCollectionValues", "getSOPInstanceUIDs"])
def test_a_null_row_follows_the_others(api: ApiClient, sandbox: Sandbox, endpoint: str) -> None:
    sent = {"SeriesInstanceUID": UID} if endpoint == "getSOPInstanceUIDs" else {}
    once = api.rows("nbia-v4", endpoint, **sent)
    sandbox.faults.add(Fault("null_row"))
    rows = api.rows("nbia-v4", endpoint, **sent)
    assert rows[-1] == {} and sorted(map(str, rows[:-1])) == sorted(map(str, once))


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("column", ["ImageCount", "FileSize", "SeriesDate"])
def test_a_bad_value_is_in_one_row(
    api: ApiClient, sandbox: Sandbox, form: str, column: str
) -> None:
    sandbox.faults.add(Fault("bad_value", column=column, value="twelve"))
    body = list_series(api, format=form).text
    assert body.count('"twelve') == 1
    if form == "json":
        assert [row[column] for row in json.loads(body) if row.get(column) == "twelve"]


def test_a_bad_size(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("bad_value", column="TotalSizeInBytes", value="huge"))
    rows = api.rows("nbia-v4", "getSeriesSize", SeriesInstanceUID=UID)
    assert rows == [{"TotalSizeInBytes": "huge", "ObjectCount": COUNT}]


def test_a_body_in_latin_1(api: ApiClient, sandbox: Sandbox) -> None:
    sandbox.archive.move([UID], to="Café")
    right = list_series(api, "Café").content
    sandbox.faults.add(Fault("latin1"))
    wrong = list_series(api, "Café").content
    assert "Café".encode() in right
    assert "Café".encode("latin-1") in wrong
    assert json.loads(wrong.decode("latin-1"))
