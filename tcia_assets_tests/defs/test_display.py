"""Pictures, links and rows in the metadata of events."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, PATIENTS
from tcia_assets.defs.display import first_rows, picture, pictures, publication
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.pages.conftest import series_row, write_series


def test_a_picture_is_in_the_markdown_itself() -> None:
    text = picture(b"\xff\xd8\xff", "Slices")
    head, _, content = text.partition("base64,")
    assert head == "![Slices](data:image/jpeg;"
    assert b64decode(content.removesuffix(")")) == b"\xff\xd8\xff"


def test_the_first_rows_of_a_partition_are_texts_and_short(warehouse: Warehouse) -> None:
    assert first_rows(warehouse, PATIENTS, SMALL) == {}
    patients = {"PatientID": [f"p{n}" for n in range(9)], "PatientName": ["x" * 999] * 9}
    rows = conform(PATIENTS, pa.table(patients), Collection=SMALL)
    warehouse.write(PATIENTS, rows, SMALL)
    records = first_rows(warehouse, PATIENTS, SMALL)["first_rows"].records
    assert [record.data["PatientID"] for record in records] == [f"p{n}" for n in range(5)]
    assert all("Collection" not in record.data for record in records)
    assert all(len(text) < 120 for record in records for text in record.data.values())


def test_the_page_of_a_collection_is_a_link(warehouse: Warehouse) -> None:
    assert publication(warehouse, SMALL) == {}
    described = {"doi": ["10.7937/K9/TCIA.2017.3R3FVZ08"], "source": ["nbia-v4@host"]}
    rows = conform(COLLECTION_DESCRIPTIONS, pa.table(described), Collection=SMALL)
    warehouse.write(COLLECTION_DESCRIPTIONS, rows, SMALL)
    link = publication(warehouse, SMALL)["publication"]
    assert link.url == "https://doi.org/10.7937/K9/TCIA.2017.3R3FVZ08"


def test_pictures_of_series_are_inline_and_small(fetched_root: Path) -> None:
    warehouse = Warehouse(fetched_root)
    rows = warehouse.query("SELECT SeriesInstanceUID AS uid FROM series")
    shown = pictures(warehouse, SMALL, rows["uid"].to_pylist())["pictures"].value
    assert shown.startswith("![Some of the Series](data:image/jpeg") and len(shown) < 50_000
    assert pictures(warehouse, SMALL, []) == {}


def test_of_several_pages_that_of_the_images_is_linked(warehouse: Warehouse) -> None:
    dois = ["10.7937/a", "10.7937/b"]
    described = conform(COLLECTION_DESCRIPTIONS, pa.table({"doi": dois}), Collection=SMALL)
    warehouse.write(COLLECTION_DESCRIPTIONS, described, SMALL)
    derived, own = {"ThirdPartyAnalysis": "YES"}, {"ThirdPartyAnalysis": "NO"}
    uris = [f"https://doi.org/{doi}" for doi in dois]
    rows = [series_row(n, SMALL, DataDescriptionURI=uris[0], **derived) for n in (1, 2)]
    write_series(warehouse, *rows, series_row(3, SMALL, DataDescriptionURI=uris[1], **own))
    assert publication(warehouse, SMALL)["publication"].url == uris[1]


def test_uids_in_the_first_rows_are_whole(warehouse: Warehouse) -> None:
    uid = "1.3.6.1.4.1.14519.5.2.1.7014.4598.2013342018549460352983901234"
    rows = conform(PATIENTS, pa.table({"PatientID": [uid]}), Collection=SMALL)
    warehouse.write(PATIENTS, rows, SMALL)
    [record] = first_rows(warehouse, PATIENTS, SMALL)["first_rows"].records
    assert record.data["PatientID"] == uid
