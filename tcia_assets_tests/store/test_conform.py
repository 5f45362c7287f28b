"""Rows become exactly the declared table, or an error that names the place."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets import catalog
from tcia_assets.errors import BadValue, DataError, MissingColumn, RepeatedKey, UnknownName
from tcia_assets.spec import Column, Table
from tcia_assets.store.conform import align, check, conform, empty, is_same
from tcia_assets_tests.examples import examples

VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=12),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.list_(pa.int64()): st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    pa.list_(pa.float64()): st.lists(st.floats(allow_nan=False), max_size=3),
    pa.list_(pa.string()): st.lists(st.text(max_size=3), max_size=3),
}


def value(column: Column) -> st.SearchStrategy[Any]:
    some = VALUES[column.kind.arrow_type]
    return some if column.required else st.none() | some


def valid_rows(table: Table, **constants: str) -> st.SearchStrategy[pa.Table]:
    """Random rows that conform to the table."""
    row = st.fixed_dictionaries(
        {
            c.name: st.just(constants[c.name]) if c.name in constants else value(c)
            for c in table.columns
        }
    )
    rows = st.lists(row, max_size=4, unique_by=lambda r: tuple(r[name] for name in table.key))
    return rows.map(lambda r: conform(table, pa.Table.from_pylist(r, schema=table.schema)))


def patients(*rows: dict[str, Any]) -> pa.Table:
    return conform(catalog.PATIENTS, pa.Table.from_pylist(list(rows)), Collection="4D-Lung")


def test_the_result_has_exactly_the_declared_schema() -> None:
    rows = pa.table({"PatientSex": ["F"], "PatientID": ["p1"], "NoSuchColumn": [1]})
    table = conform(catalog.PATIENTS, rows, Collection="4D-Lung")
    assert table.schema.equals(catalog.PATIENTS.schema, check_metadata=True)
    assert table.to_pylist() == [
        dict.fromkeys(catalog.PATIENTS.column_names)
        | {"PatientID": "p1", "Collection": "4D-Lung", "PatientSex": "F"}
    ]


def test_a_constant_fills_only_absent_columns() -> None:
    rows = pa.table({"list_name": ["as sent"], "SeriesInstanceUID": ["1.2"]})
    table = conform(catalog.SHARED_LISTS, rows, list_name="as asked", Collection="4D-Lung")
    assert table["list_name"].to_pylist() == ["as sent"]
    assert table["Collection"].to_pylist() == ["4D-Lung"]


def test_a_constant_without_a_column_is_refused() -> None:
    with pytest.raises(UnknownName, match="Collection"):
        conform(catalog.PATIENTS, pa.table({"PatientID": ["p"]}), Colection="4D-Lung")


def test_a_constant_has_the_type_of_its_column() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    rows = pa.table({"SeriesInstanceUID": ["1.2", "1.3"]})
    sizes = align(catalog.SERIES_SIZES, rows, fetched_at=at, TotalSizeInBytes=5)
    assert sizes.schema.equals(catalog.SERIES_SIZES.schema)
    assert sizes["fetched_at"].to_pylist() == [at, at]
    assert sizes["TotalSizeInBytes"].to_pylist() == [5, 5]


def test_null_is_the_same_as_null_only() -> None:
    first, second = pa.array(["a", "a", None, None]), pa.array(["a", "b", "a", None])
    assert is_same(first, second).to_pylist() == [True, False, False, True]


def test_rows_are_sorted_by_key_with_nulls_first() -> None:
    rows = pa.table({"Modality": ["MR", None, "CT", ""]})
    table = conform(catalog.MODALITY_VALUES, rows, Collection="4D-Lung")
    assert table["Modality"].to_pylist() == [None, "", "CT", "MR"]


def test_text_is_sorted_by_its_bytes_on_every_machine() -> None:
    names = ["ä", "Z", "a", "😀", "\uffff", "1.10", "1.9"]
    table = patients(*({"PatientID": name} for name in names))
    assert table["PatientID"].to_pylist() == sorted(names, key=str.encode)


def test_repeated_rows_collapse() -> None:
    row = {"PatientID": "p1", "PatientSex": "F"}
    table = patients(row, {"PatientID": "p0"}, row, row)
    assert table["PatientID"].to_pylist() == ["p0", "p1"]


def test_repeated_rows_collapse_also_where_values_compare_unequal_to_themselves() -> None:
    row = {
        "SOPInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2",
        "Collection": "4D-Lung",
        "SliceThickness": math.nan,
        "PixelSpacing": [0.5, math.nan],
        "Modality": None,
    }
    assert conform(catalog.IMAGES, pa.Table.from_pylist([row, dict(row)])).num_rows == 1


@pytest.mark.parametrize(
    ("column", "values"),
    [("PixelSpacing", ([0.5], [0.6])), ("Modality", (None, "")), ("SliceThickness", (1.0, None))],
)
def test_two_rows_with_the_same_key_are_refused(column: str, values: tuple[Any, Any]) -> None:
    same = {"SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2", "Collection": "4D-Lung"}
    rows = [same | {column: v} for v in (values[0], values[1], values[0])]
    with pytest.raises(RepeatedKey, match=rf"'1\.2\.3' differ in {column}") as caught:
        conform(catalog.IMAGES, pa.Table.from_pylist(rows))
    assert caught.value.key == "1.2.3"


def test_the_error_for_a_repeated_key_has_all_its_columns() -> None:
    rows = ({"PatientID": "p1", "PatientSex": "F"}, {"PatientID": "p1", "PatientSex": "M"})
    with pytest.raises(RepeatedKey) as caught:
        patients(*rows)
    assert caught.value.key == ("4D-Lung", "p1")


def test_a_missing_required_column_is_refused() -> None:
    with pytest.raises(MissingColumn, match=r"patients\.PatientID: is in no row"):
        patients({"PatientSex": "F"}, {"PatientSex": "M"})


def test_the_error_for_a_null_in_a_required_column_names_the_row() -> None:
    with pytest.raises(BadValue, match=r"patients\.PatientID: is null \(row \('4D-Lung', None\)"):
        patients({"PatientID": "p1"}, {"PatientSex": "M"})
    rows = pa.table({"SeriesInstanceUID": ["1.1", None]})
    with pytest.raises(BadValue, match=r"series_sizes\.SeriesInstanceUID: is null \(row number 2"):
        conform(catalog.SERIES_SIZES, rows, Collection="4D-Lung")
    rows = pa.table({"SeriesInstanceUID": ["1.1", "1.2"], "status": ["complete", None]})
    with pytest.raises(BadValue, match=r"image_archives\.status: is null \(row 1\.2"):
        conform(catalog.IMAGE_ARCHIVES, rows, Collection="4D-Lung")


def test_other_types_are_cast_if_no_value_is_lost() -> None:
    dictionary = pa.array(["F"]).dictionary_encode()
    rows = pa.table({"PatientID": pa.array(["p"], pa.large_string()), "PatientSex": dictionary})
    assert conform(catalog.PATIENTS, rows, Collection="x")["PatientSex"].to_pylist() == ["F"]
    with pytest.raises(BadValue, match=r"studies\.SeriesCount: .* a count"):
        conform(catalog.STUDIES, pa.table({"SeriesCount": [1.5]}), Collection="x")


def test_no_rows_are_a_table_too() -> None:
    for table in catalog.TABLES:
        assert conform(table, pa.table({})).equals(empty(table), check_metadata=True)
        assert conform(table, empty(table)).num_rows == 0


@pytest.mark.parametrize("table", catalog.TABLES, ids=lambda t: t.name)
@settings(max_examples=examples(10), deadline=None)
@given(draw=st.data())
def test_order_chunks_and_repetitions_make_no_difference(table: Table, draw: st.DataObject) -> None:
    expected = draw.draw(valid_rows(table))
    places = [*range(expected.num_rows), *range(expected.num_rows)]
    random.Random(draw.draw(st.integers())).shuffle(places)
    chunks = [expected.slice(place, 1) for place in places]
    arrived = pa.concat_tables([empty(table), *chunks])
    assert conform(table, arrived).equals(expected, check_metadata=True)
    check(table, expected)


def test_sorted_rows_are_not_copied() -> None:
    rows = patients({"PatientID": "p1"}, {"PatientID": "p2"})
    again = conform(catalog.PATIENTS, rows)
    before, after = (t["PatientID"].chunk(0).buffers()[2].address for t in (rows, again))
    assert before == after


def test_aligning_keeps_rows_as_they_are() -> None:
    rows = pa.table({"Modality": ["MR", "CT", "MR"]})
    table = align(catalog.MODALITY_VALUES, rows)
    assert table.to_pylist() == [{"Collection": None, "Modality": m} for m in ("MR", "CT", "MR")]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ({"Collection": ["b", "a"]}, DataError),
        ({"Collection": ["a", "a"]}, RepeatedKey),
        ({"Collection": ["a", None]}, BadValue),
        ({"Collection": pa.nulls(1, pa.string())}, MissingColumn),
        ({"Collection": [date(2026, 1, 1)]}, BadValue),
        ({"Collection": ["a"], "more": [1]}, DataError),
        ({}, MissingColumn),
    ],
)
def test_rows_that_do_not_conform_are_refused(rows: dict[str, Any], error: type) -> None:
    table = pa.table(rows)
    if table.schema.types == [pa.string()]:
        table = pa.Table.from_arrays(table.columns, schema=catalog.COLLECTIONS.schema)
    with pytest.raises(error, match="collections"):
        check(catalog.COLLECTIONS, table)


def test_columns_out_of_order_are_refused() -> None:
    rows = patients({"PatientID": "p1"})
    with pytest.raises(DataError, match="out of order"):
        check(catalog.PATIENTS, rows.select(rows.column_names[::-1]))


def test_instants_of_all_time_zones_are_equal() -> None:
    at = pa.array([datetime(2026, 1, 1, 12, tzinfo=UTC)]).cast(pa.timestamp("us", "Asia/Tokyo"))
    rows = pa.table({"SeriesInstanceUID": ["1.2"], "fetched_at": at})
    table = conform(catalog.SERIES_SIZES, rows, Collection="x")
    assert table["fetched_at"].to_pylist() == [datetime(2026, 1, 1, 12, tzinfo=UTC)]


def keyless(*names: str, **more: Any) -> list[dict[str, Any]]:
    same = {"SeriesInstanceUID": "1.2", "Collection": "4D-Lung"}
    return [same | {"entry_name": name} | more for name in names]


def test_rows_without_a_key_are_distinguished_by_all_their_values() -> None:
    rows = [*keyless("b", "a", "b"), *keyless("c", SOPInstanceUID="1"), *keyless("a", Rows=1)]
    tables = [
        conform(catalog.IMAGES, pa.Table.from_pylist(order, schema=catalog.IMAGES.schema))
        for order in (rows, rows[::-1])
    ]
    assert tables[0].equals(tables[1])
    assert sorted(tables[0]["entry_name"].to_pylist()[:3]) == ["a", "a", "b"]
    assert tables[0]["SOPInstanceUID"].to_pylist() == [None, None, None, "1"]
    check(catalog.IMAGES, tables[0])
    assert conform(catalog.IMAGES, tables[0]).equals(tables[0])


@pytest.mark.parametrize(
    "places", [[1, 0, 2, 3], [0, 0, 1, 2, 3], [0, 3, 1, 2], [3, 0, 1, 2], [0, 1, 2, 3, 3]]
)
def test_unsorted_rows_without_a_key_are_refused(places: list[int]) -> None:
    rows = [*keyless("a", "b", "c"), *keyless("d", SOPInstanceUID="1")]
    table = conform(catalog.IMAGES, pa.Table.from_pylist(rows, schema=catalog.IMAGES.schema))
    check(catalog.IMAGES, table)
    with pytest.raises(DataError, match="images"):
        check(catalog.IMAGES, table.take(places))


def test_a_key_with_one_null_is_a_key() -> None:
    row = {"Collection": "x", "Modality": None}
    rows = pa.Table.from_pylist([row, row], schema=catalog.MODALITY_VALUES.schema)
    table = conform(catalog.MODALITY_VALUES, rows)
    assert table.num_rows == 1
    with pytest.raises(RepeatedKey):
        check(catalog.MODALITY_VALUES, pa.concat_tables([table, table]))
