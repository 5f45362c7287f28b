"""The SQL of an index release's values types them, and keeps the texts of those it cannot."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import COLLECTION_DESCRIPTIONS, PATIENTS, SERIES
from tcia_assets.sources.idc.index_values import (
    refused_key,
    select,
    split_unreadable,
    texts_of_unreadable,
    typed,
    without_html,
)
from tcia_assets.spec import IndexRows
from tcia_assets.store import sql

ROWS = IndexRows(
    SERIES,
    {
        name: f"t.{name}"
        for name in (
            *("Collection", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"),
            *("SeriesDate", "ImageCount"),
        )
    },
    "t",
)
GOOD = {
    "Collection": "LCTSC",
    "SeriesInstanceUID": "1.2",
    "StudyInstanceUID": "1",
    "PatientID": "p",
    "SeriesDate": "2011-07-22",
    "ImageCount": "3",
}


def made(expressions: dict[str, str], **values: str | None) -> pa.Table:
    """Return what a row of texts becomes."""
    texts = pa.table({name: pa.array([v], pa.string()) for name, v in (GOOD | values).items()})
    with sql.scratch() as connection:
        connection.register("t", texts)
        return sql.fetch_table(connection, select(expressions, "t"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SeriesDate", "2011-07-22", date(2011, 7, 22)),
        ("SeriesDate", "", None),
        ("SeriesDate", "0000-01-01", "unreadable"),
        ("SeriesDate", "soon", "unreadable"),
        ("ImageCount", "12", 12),
        ("ImageCount", "-1", "unreadable"),
        ("ImageCount", None, None),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_null_and_its_text_is_kept(
    name: str, text: str | None, value: Any
) -> None:
    found = made(typed(ROWS), **{name: text})
    unreadable = split_unreadable(found, [name])

    is_unreadable = value == "unreadable"
    assert found[name].to_pylist() == [None if is_unreadable else value]
    assert {n: v.texts.to_pylist() for n, v in unreadable.items()} == (
        {name: [text]} if is_unreadable else {}
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SeriesInstanceUID", "1..2"),
        ("StudyInstanceUID", None),
        ("PatientID", ""),
        ("Collection", None),
    ],
)
def test_the_first_key_without_a_good_value_is_named(name: str, text: str | None) -> None:
    assert made({"bad": refused_key(ROWS)})["bad"].to_pylist() == [None]
    assert made({"bad": refused_key(ROWS)}, **{name: text})["bad"].to_pylist() == [name]


def test_an_aggregate_of_unreadable_values_keeps_one_of_their_texts() -> None:
    rows = IndexRows(PATIENTS, {"PatientID": "PatientID", "day": "min(SeriesDate)"}, "t")
    (text,) = texts_of_unreadable(rows).values()
    assert text == 'CASE WHEN min(SeriesDate) IS NULL THEN min("unreadable SeriesDate") END'


def test_html_becomes_plain_text_in_the_columns_that_may_have_it() -> None:
    rows = pa.table({name: ["<p>a &amp; b</p>"] for name in ("title", "description", "citation")})
    assert without_html(COLLECTION_DESCRIPTIONS, rows)["description"].to_pylist() == ["a & b"]
    assert without_html(SERIES, rows).equals(rows)
