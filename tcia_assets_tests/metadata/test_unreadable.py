"""A value that cannot be read costs itself only, and is recorded until it can be read."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import (
    PATIENTS,
    SERIES,
    SERIES_SIZES,
    SHARED_LISTS,
    STUDIES,
    UNREADABLE_VALUES,
)
from tcia_assets.errors import BadValue
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.metadata.refresh_result import RefreshResult
from tcia_assets.metadata.unreadable import (
    describe,
    describe_unreadable,
    record_unreadable,
    row_key_of,
    unreadable_rows,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sources import SourceRows, UnreadableValues
from tcia_assets.spec import Table
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL
from tcia_assets_tests.metadata.mirror import SandboxMirror, day


def reply(bad: int, values: int, text: str = "abc") -> SourceRows:
    rows = pa.table({"SeriesInstanceUID": [f"1.{n}" for n in range(bad)]})
    found = UnreadableValues(rows, pa.chunked_array([pa.array([text] * bad, pa.string())]), values)
    return SourceRows(rows, unreadable={"SeriesDate": found})


def stored(warehouse: Warehouse, collection: str = SMALL) -> list[dict[str, Any]]:
    return warehouse.read_or_empty(UNREADABLE_VALUES, collection).to_pylist()


def bad(endpoint: str, column: str, value: str = "abc", rows: int = 1) -> Fault:
    return Fault("bad_value", endpoint, times=0, column=column, value=value, rows=rows)


def refreshed(
    mirror: SandboxMirror, table: Table, number: int, key: str = SMALL, *, accept: bool = False
) -> RefreshResult:
    budget = ProbeBudget(100)
    return refresh(
        table, key, mirror.source, mirror.warehouse, day(number), budget, accept_schema=accept
    )


# --- How many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "values"), [(1, 1), (5, 5), (6, 600), (100, 10_000)])
def test_up_to_five_or_one_percent_are_borne(count: int, values: int) -> None:
    assert unreadable_rows(SERIES, "A", reply(count, values), day(1)).num_rows == count


@pytest.mark.parametrize(("count", "values"), [(6, 6), (6, 599), (101, 10_000)])
def test_more_than_five_and_more_than_one_percent_are_refused(count: int, values: int) -> None:
    received = reply(count, values)
    with pytest.raises(BadValue) as caught:
        unreadable_rows(SERIES, "A", received, day(1))
    text = str(caught.value)
    assert f"series.SeriesDate: {count} of {values} values cannot be read" in text
    assert "'abc'" in text and "TCIA_DIALECT" in text and "--accept-schema A`" in text
    assert unreadable_rows(SERIES, "A", received, day(1), accept=True).num_rows == count


def test_a_row_has_the_key_and_the_beginning_of_the_value() -> None:
    [row] = unreadable_rows(SERIES, "A", reply(1, 1, "é" * 300), day(1)).to_pylist()
    assert row == {
        "Collection": "A",
        "table_name": "series",
        "column_name": "SeriesDate",
        "row_key": '{"SeriesInstanceUID": "1.0"}',
        "value_text": "é" * 200,
        "first_seen_at": day(1),
        "last_value_text": None,
    }
    assert row_key_of(PATIENTS, {"PatientID": "é", "Collection": "A", "x": 1}) == (
        '{"Collection": "A", "PatientID": "é"}'
    )


def test_a_row_of_a_list_without_a_collection_has_no_place_for_its_value() -> None:
    with pytest.raises(BadValue, match=r"shared_lists\.Collection: is null"):
        unreadable_rows(SHARED_LISTS, "list", reply(1, 1), day(1))


# --- The table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "endpoint", "column"),
    [
        (STUDIES, "getPatientStudy", "SeriesCount"),
        (STUDIES, "getPatientStudy", "StudyDate"),
        (SERIES, "getSeries", "SeriesDate"),
        (SERIES, "getSeries", "StudyInstanceUID"),
        (SERIES, "getSeries", "FileSize"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_odd_value_is_null_and_a_row_until_it_can_be_read(
    table: Table, endpoint: str, column: str, mirror: SandboxMirror
) -> None:
    plain = refreshed(mirror, table, 1)
    assert not mirror.warehouse.has(UNREADABLE_VALUES, SMALL)
    assert (plain.unreadable, plain.unreadable_example) == (0, "")
    before = mirror.warehouse.read(table, [SMALL]).to_pylist()
    mirror.sandbox.faults.add(bad(endpoint, column))
    for number in (2, 3):
        done = refreshed(mirror, table, number)
        assert done.unreadable == 1
        [row] = stored(mirror.warehouse)
        assert (row["table_name"], row["column_name"]) == (table.name, column)
        assert (row["value_text"], row["first_seen_at"]) == ("abc", day(2))
        last = next(r[column] for r in before if json.loads(row["row_key"]).items() <= r.items())
        assert row["last_value_text"] == str(last)
        key = json.loads(row["row_key"])
        assert tuple(key) == table.key
        now = mirror.warehouse.read(table, [SMALL]).to_pylist()
        [(was, odd)] = [(a, b) for a, b in zip(before, now, strict=True) if a != b]
        assert odd == was | {column: None}
        assert key.items() <= odd.items()
    mirror.sandbox.faults.clear()
    assert refreshed(mirror, table, 4).unreadable == 0
    assert mirror.warehouse.read(table, [SMALL]).to_pylist() == before
    assert stored(mirror.warehouse) == []


def test_a_value_that_was_never_read_has_no_last_one(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(bad("getPatientStudy", "StudyDate"))
    refreshed(mirror, STUDIES, 1)
    refreshed(mirror, STUDIES, 2)
    [row] = stored(mirror.warehouse)
    assert row["last_value_text"] is None


def test_a_refused_partition_leaves_all_as_it_was(mirror: SandboxMirror) -> None:
    refreshed(mirror, SERIES, 1)
    before = mirror.warehouse.path(SERIES, SMALL).read_bytes()
    mirror.sandbox.faults.add(bad("getSeries", "ImageCount", rows=6))
    with pytest.raises(BadValue, match="6 of 10 values"):
        refreshed(mirror, SERIES, 2)
    assert mirror.warehouse.path(SERIES, SMALL).read_bytes() == before
    assert stored(mirror.warehouse) == []
    assert refreshed(mirror, SERIES, 2, accept=True).unreadable == 6
    assert len(stored(mirror.warehouse)) == 6


def test_tables_do_not_remove_the_rows_of_others(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(bad("getSeries", "SeriesDate"), bad("getPatientStudy", "StudyDate"))
    refreshed(mirror, SERIES, 1)
    refreshed(mirror, STUDIES, 1)
    assert [row["table_name"] for row in stored(mirror.warehouse)] == ["series", "studies"]
    refreshed(mirror, PATIENTS, 2)
    assert len(stored(mirror.warehouse)) == 2


def test_a_size_that_cannot_be_read_is_recorded_until_its_series_is_asked_again(
    mirror: SandboxMirror,
) -> None:
    mirror.start()
    mirror.sandbox.faults.add(Fault("bad_value", "getSeriesSize", column="TotalSizeInBytes"))
    done = refreshed(mirror, SERIES_SIZES, 1)
    assert (done.unreadable, done.facts["unknown"]) == (1, 1)
    [row] = stored(mirror.warehouse)
    assert (row["table_name"], row["value_text"]) == ("series_sizes", "twelve")
    budget = ProbeBudget(0)
    refresh(SERIES_SIZES, SMALL, mirror.source, mirror.warehouse, day(2), budget)
    assert len(stored(mirror.warehouse)) == 1
    assert refreshed(mirror, SERIES_SIZES, 3).facts["asked"] == 1
    assert stored(mirror.warehouse) == []


def test_values_of_a_list_are_with_the_collection_of_their_series(warehouse: Warehouse) -> None:
    def record(name: str, *uids: str) -> None:
        rows = pa.table({"SeriesInstanceUID": uids, "Collection": ["A"] * len(uids)})
        texts = pa.chunked_array([pa.array(["abc"] * len(uids), pa.string())])
        received = SourceRows(rows, unreadable={"SeriesDate": UnreadableValues(rows, texts, 9)})
        found = unreadable_rows(SHARED_LISTS, name, received, day(1))
        record_unreadable(SHARED_LISTS, name, found, warehouse)

    record("one", "1.1", "1.2")
    record("two", "1.1")
    assert len(stored(warehouse, "A")) == 3
    record_unreadable(SHARED_LISTS, "one", UNREADABLE_VALUES.schema.empty_table(), warehouse)
    assert [json.loads(row["row_key"]) for row in stored(warehouse, "A")] == [
        {"list_name": "two", "SeriesInstanceUID": "1.1"}
    ]
    assert describe_unreadable(warehouse, ["A"]) == ""
    assert "1 value" in describe_unreadable(warehouse, [], ["two"])
    assert describe_unreadable(warehouse, [], ["one"]) == ""


def test_a_line_says_how_many_and_shows_one_in_part() -> None:
    rows = unreadable_rows(SERIES, "A", reply(3, 9, "x" * 200), day(1)).to_pylist()
    line = describe(rows)
    assert line.startswith("3 values cannot be read and are null, such as 'xxx")
    assert "series.SeriesDate" in line and len(line) < 300
    assert describe([]) == ""


def test_an_unlisted_series_keeps_the_record_of_its_value(mirror: SandboxMirror) -> None:
    mirror.sandbox.faults.add(bad("getSeries", "SeriesDate"))
    mirror.refresh(day(1), SMALL)
    [row] = stored(mirror.warehouse)
    mirror.sandbox.faults.clear()
    mirror.archive.hide([json.loads(row["row_key"])["SeriesInstanceUID"]])
    mirror.refresh(day(2), SMALL)
    assert stored(mirror.warehouse) == [row]
