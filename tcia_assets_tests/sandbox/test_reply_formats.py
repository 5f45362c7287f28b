"""The four formats, byte for byte; the renderings of one row are the reference's (5.4)."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import reply_formats
from tcia_assets.store import sql
from tcia_assets_tests.sandbox.reply_fields import MAKER, NUMBER, PATIENT, a_field, written

from .api_client import DIALECTS, ApiClient

COLLECTION = "RIDER Lung CT"


ROW = ((PATIENT, NUMBER, MAKER), [("A", 8, None)])


def test_the_reference_rendering_of_json() -> None:
    assert written("json", *ROW) == '[{"PatientId":"A","SeriesNumber":8}]'


def test_the_reference_rendering_of_csv() -> None:
    assert written("csv", *ROW) == (
        '"PatientId","SeriesNumber","Manufacturer"\n"A","8.000000",""\n'
    )


def test_the_reference_rendering_of_xml() -> None:
    assert written("xml", *ROW) == (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results><Row>'
        "<PatientId type='java.lang.String'>A</PatientId>"
        "<SeriesNumber type='java.math.BigDecimal'>8.000000</SeriesNumber></Row></Results>"
    )


def test_the_reference_rendering_of_html() -> None:
    assert written("html", *ROW) == (
        "<P ALIGN='center'><TABLE BORDER=1><TR><TH>PatientId</TH><TH>SeriesNumber</TH>"
        "<TH>Manufacturer</TH></TR><TR><TD>A</TD><TD>8.000000</TD><TD>&nbsp;</TD></TR></TABLE></P>"
    )


def test_a_reply_without_rows_has_no_bytes_in_any_format() -> None:
    for form in reply_formats.CONTENT_TYPES:
        assert written(form, (PATIENT, NUMBER), []) == ""
    assert list(reply_formats.json_chunks([])) == []


def test_a_list_of_one_column_is_csv_without_any_quoting() -> None:
    values = [("CMS, Inc.",), (None,), ('"GE Healthcare"',)]
    assert written("csv", (MAKER,), values) == 'Manufacturer\nCMS, Inc.\n\n"GE Healthcare"\n'


def test_a_null_in_the_first_column_breaks_the_quoting_of_csv() -> None:
    body = written("csv", (PATIENT, NUMBER, MAKER), [(None, None, 'say "A"')])
    assert body.splitlines()[1] == '","","","say ""A"""'
    assert len(next(csv.reader(body.splitlines()[1:]))) != 3


def test_numbers_have_decimals_in_the_text_formats_of_v4_only() -> None:
    for name, text in (("nbia-v4", "8.000000"), ("nbia-v1", "8"), ("bindaas-v4", "8.000000")):
        field = a_field(name, "SeriesNumber")
        assert (field.text(8), field.json(8)) == (text, "8")
    assert a_field("nbia-v4", "ImageCount").text(8) == "8"


def test_java_types_are_those_of_entities_or_of_native_sql() -> None:
    types = {
        wire: (a_field("nbia-v1", wire).java_type, a_field("nbia-v4", wire).java_type)
        for wire in ("SeriesDate", "ImageCount", "FileSize", "Modality")
    }
    assert types == {
        "SeriesDate": ("java.sql.Timestamp", "java.lang.String"),
        "ImageCount": ("java.lang.Integer", "java.math.BigInteger"),
        "FileSize": ("java.lang.Long", "java.math.BigDecimal"),
        "Modality": ("java.lang.String", "java.lang.String"),
    }


COLUMNS = (MAKER, NUMBER, a_field("nbia-v1", "FileSize"), a_field("bindaas-v4", "TotalSizeInBytes"))


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


NUMBERS = st.none() | st.integers(-(2**53), 2**53)


@given(st.lists(st.tuples(TEXTS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=8))
def test_vectorised_json_equals_plain_json(rows: list[tuple[Any, ...]]) -> None:
    def literal(value: Any) -> str:
        if value is None:
            return "NULL"
        return sql.literal(value) if isinstance(value, str) else f"{value}::BIGINT"

    names = ", ".join(field.expression for field in COLUMNS)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    statement = f"FROM (VALUES {values}) AS rows_({names})"
    with sql.connect() as connection:
        table = connection.sql(reply_formats.json_statement(statement, COLUMNS)).to_arrow_table()
    body = b"".join(reply_formats.json_chunks([table])).decode()
    plain = [
        {
            field.wire_name: f"{value}.000000" if field.decimals_in_json else value
            for field, value in zip(COLUMNS, row, strict=True)
            if value is not None
        }
        for row in rows
    ]
    assert json.loads(body) == plain
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
    assert body.lower() == text.lower()  # but for the case of \u001F


@pytest.mark.parametrize("name", DIALECTS)
def test_json_equals_that_of_a_plain_writer(api: ApiClient, name: str) -> None:
    body = api(name, "getSeries", {"Collection": COLLECTION}, format="json").content
    rows = json.loads(body)
    plain = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    assert body.decode() == plain.replace("/", "\\/")


@pytest.mark.parametrize("name", DIALECTS)
def test_all_formats_contain_the_same_rows(api: ApiClient, name: str) -> None:
    plain = {"Collection": COLLECTION}
    told = by_uid(api.rows(name, "getSeries", **plain))
    columns = dialect(name).endpoint("getSeries").columns
    table = csv.DictReader(io.StringIO(api(name, "getSeries", plain, format="csv").text))
    assert tuple(table.fieldnames or ()) == columns
    for row in table:
        expected = told[row["SeriesInstanceUID"]]
        assert {key: value for key, value in row.items() if value} == as_text(expected, row)
    for row in in_xml(api(name, "getSeries", plain, format="xml").text):
        assert row == as_text(told[row["SeriesInstanceUID"]], row)


def by_uid(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["SeriesInstanceUID"]: row for row in rows}


def in_xml(body: str) -> list[dict[str, str]]:
    entities = r"&(?!amp;|lt;|gt;|quot;|#)(\w+;)"
    known = re.sub(entities, lambda found: html.unescape(found[0]), body)
    return [{cell.tag: cell.text or "" for cell in row} for row in ET.fromstring(known)]


def as_text(row: dict[str, Any], like: dict[str, str]) -> dict[str, str]:
    decimals = like.get("SeriesNumber", "").endswith(".000000")
    big = {"SeriesNumber", "FileSize"}
    return {k: f"{v}.000000" if k in big and decimals else str(v) for k, v in row.items()}
