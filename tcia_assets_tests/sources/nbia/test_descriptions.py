"""Rows of getCollectionDescriptions become rows of `collection_descriptions`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS
from tcia_assets.errors import RequestRefused
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Source, SourceRows, UnreadableValues, open_source
from tcia_assets.sources.nbia.descriptions import read_descriptions
from tcia_assets_tests.conftest import IMPATIENT, SMALL, settings_for

DOI = "https://doi.org/10.7937/K9/TCIA.2017.3R3FVZ08"
AT = 1_500_000_000_000


def wire_row(**more: Any) -> dict[str, Any]:
    row = {
        "Collection": SMALL,
        "description": "<p>CT &amp; contours</p>",
        "DataDescriptionURI": DOI,
        "CollectionDescriptionTimestamp": AT,
    }
    return row | more


def read(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return read_descriptions(SourceRows(pa.Table.from_pylist(list(rows)))).table.to_pylist()


def test_a_row_has_the_doi_in_lower_case_and_plain_text() -> None:
    assert read(wire_row()) == [
        {
            "Collection": SMALL,
            "doi": "10.7937/k9/tcia.2017.3r3fvz08",
            "description": "CT & contours",
            "citation": DOI,
            "updated_on": date(2017, 7, 14),
        }
    ]


@pytest.mark.parametrize("address", [None, "", "https://wiki.example.org/LCTSC"])
def test_without_a_doi_the_key_is_empty_and_the_address_stays(address: str | None) -> None:
    [row] = read(wire_row(DataDescriptionURI=address))
    assert (row["doi"], row["citation"]) == ("", address)


@pytest.mark.parametrize("at", [None, 0, 10**18, -(10**18)])
def test_an_impossible_time_is_no_day(at: int | None) -> None:
    [row] = read(wire_row(CollectionDescriptionTimestamp=at))
    assert row["updated_on"] is None


def test_of_one_doi_the_newest_description_counts() -> None:
    rows = [
        wire_row(description="new", CollectionDescriptionTimestamp=AT + 1),
        wire_row(description="old", DataDescriptionURI=DOI.lower()),
        wire_row(description="another", DataDescriptionURI="doi:10.1234/other"),
    ]
    assert {row["description"] for row in read(*rows)} == {"new", "another"}


def test_a_row_that_describes_nothing_is_left_out() -> None:
    assert read({"Collection": SMALL}, wire_row(description=" ", DataDescriptionURI=None)) == []


def test_what_cannot_be_read_is_named_by_our_column_and_key() -> None:
    rows = pa.Table.from_pylist([wire_row(CollectionDescriptionTimestamp=None)])
    texts = pa.chunked_array([["soon"]])
    found = UnreadableValues(rows, texts, 1)
    reply = SourceRows(
        rows, unreadable={"CollectionDescriptionTimestamp": found, "LicenseID": found}
    )
    [(name, values)] = read_descriptions(reply).unreadable.items()
    assert name == "updated_on" and values.texts == texts
    assert values.rows["doi"].to_pylist() == ["10.7937/k9/tcia.2017.3r3fvz08"]


def test_the_sandbox_describes_a_collection_in_one_request(source: Source) -> None:
    reply = source.rows(COLLECTION_DESCRIPTIONS, SMALL)
    [row] = reply.table.to_pylist()
    assert row["doi"].startswith("10.7937/") and row["updated_on"]
    assert row["description"].startswith(f"{SMALL} has ") and "<" not in row["description"]
    assert f"Data citation: {SMALL} ({row['citation']})" in row["description"]
    assert reply.unclaimed == () and reply.cost.requests == 1
    assert set(reply.promised) == {"Collection", "description", "citation", "updated_on"}


def test_no_description_is_no_row_after_one_request(source: Source, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("empty", COLLECTION_DESCRIPTIONS.endpoint))
    reply = source.rows(COLLECTION_DESCRIPTIONS, SMALL)
    assert (reply.table.num_rows, reply.cost.requests) == (0, 1)


@pytest.mark.parametrize("dialect", ["nbia-v1", "nbia-v2", "bindaas-v3", "bindaas-v4"])
def test_other_dialects_have_none_and_are_not_asked(
    dialect: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    with open_source(settings_for(sandbox, tmp_path, dialect), pacing=IMPATIENT) as source:
        reply = source.rows(COLLECTION_DESCRIPTIONS, SMALL)
    assert (reply.table.num_rows, reply.cost.requests) == (0, 0)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_the_endpoint_has_no_descriptions(
    status: int, source: Source, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("status", COLLECTION_DESCRIPTIONS.endpoint, status=status))
    assert source.rows(COLLECTION_DESCRIPTIONS, SMALL).table.num_rows == 0


def test_another_refusal_is_an_error(source: Source, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("status", COLLECTION_DESCRIPTIONS.endpoint, status=400))
    with pytest.raises(RequestRefused):
        source.rows(COLLECTION_DESCRIPTIONS, SMALL)
