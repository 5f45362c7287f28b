"""Rows that do not satisfy the filters that were sent."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.catalog import dialect
from tcia_assets.errors import (
    ForeignRows,
)
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import SourceRows
from tcia_assets.sources.nbia import filters
from tcia_assets.sources.nbia.client import Client
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.conftest import FAST, Serve, talking
from tcia_assets_tests.sources.scripted import answer

# Every Series that the sandbox has was released later.
LONG_AGO = date(1990, 1, 1)


@pytest.mark.parametrize("speaks", ["nbia-v1", "nbia-v4", "bindaas-v4"])
def test_a_filter_that_the_server_ignored_is_an_error(
    speaks: str, sandbox: Sandbox, tmp_path: Any
) -> None:
    sandbox.requests.clear()
    sandbox.faults.add(Fault("ignored_filter", "getSeries", times=0))
    with (
        Client(settings_for(sandbox, tmp_path, speaks), pacing=FAST) as client,
        pytest.raises(ForeignRows, match=rf"getSeries for Collection='{SMALL}'") as caught,
    ):
        client.get_rows("getSeries", Collection=SMALL)
    assert sandbox.requests["getSeries"] == 1
    assert not caught.value.retryable
    assert caught.value.url.endswith("getSeries")


@pytest.mark.parametrize(
    ("asked", "row", "is_foreign"),
    [
        ({"Collection": "4D-Lung"}, {"Collection": "4D-Lung"}, False),
        ({"Collection": "4D-Lung"}, {"Collection": "4d-lung  "}, False),
        ({"Collection": "4D-Lung "}, {"Collection": "4D-LUNG"}, False),
        ({"Collection": "MÜNCHEN"}, {"Collection": "münchen"}, False),
        ({"Collection": "4D-Lung"}, {"Collection": "4D Lung"}, True),
        ({"Collection": "4D-Lung"}, {"Collection": " 4D-Lung"}, True),
        ({"Collection": "A"}, {"Collection": "AB"}, True),
        ({"SeriesInstanceUID": "1.2.3"}, {"SeriesInstanceUID": "1.2.4"}, True),
        ({"PatientID": "p1"}, {"PatientID": "P1"}, False),
        ({"PatientID": "p1"}, {"PatientID": "p2"}, True),
        ({"PatientID": "p1"}, {"Modality": "CT"}, False),
        ({"Modality": "CT", "Collection": "A"}, {"Modality": "MR", "Collection": "A"}, True),
    ],
)
def test_rows_are_compared_with_the_filters_as_the_archive_compares(
    asked: dict[str, str],
    row: dict[str, str],
    is_foreign: Any,
    serve: Serve,
) -> None:
    server = serve(answer(json.dumps([{"SeriesInstanceUID": "1.2.3", **row}])))
    with talking(server.url) as client:
        if is_foreign:
            with pytest.raises(ForeignRows, match="1 of 1 rows do not match"):
                client.get_rows("getSeries", **asked)
        else:
            assert client.get_rows("getSeries", **asked).table.num_rows == 1


def test_one_foreign_row_among_many_is_found_and_shown(serve: Serve) -> None:
    rows = [{"SeriesInstanceUID": f"1.{n}", "Collection": "A" if n != 7 else "B"} for n in range(9)]
    server = serve(answer(json.dumps(rows)))
    with talking(server.url) as client, pytest.raises(ForeignRows, match=r"1 of 9 .* 'B'"):
        client.get_rows("getSeries", Collection="A")


def test_a_row_without_the_value_that_was_asked_for_is_foreign(serve: Serve) -> None:
    rows = [{"SeriesInstanceUID": "1.1", "Collection": "A"}, {"SeriesInstanceUID": "1.2"}]
    server = serve(answer(json.dumps(rows)))
    with talking(server.url) as client, pytest.raises(ForeignRows, match=r"1 of 2 .* None"):
        client.get_rows("getSeries", Collection="A")


@pytest.mark.parametrize(
    ("released", "is_foreign"),
    [("01-04-2020", True), ("01-05-2020", False), ("01-06-2020", False), ("12-31-1990", True)],
)
def test_rows_from_before_the_day_that_was_asked_for_show_that_it_was_misread(
    released: str,
    is_foreign: Any,
    serve: Serve,
) -> None:
    server = serve(answer(json.dumps([{"SeriesInstanceUID": "1.2", "DateReleased": released}])))
    with talking(server.url) as client:
        if is_foreign:
            with pytest.raises(ForeignRows, match="getUpdatedSeries since 2020-01-05: 1 of 1"):
                client.get_rows("getUpdatedSeries", since=date(2020, 1, 5))
        else:
            assert client.get_rows("getUpdatedSeries", since=date(2020, 1, 5)).table.num_rows == 1


def test_a_release_with_a_time_of_day_on_the_very_day_is_no_misreading(serve: Serve) -> None:
    row = {"SeriesInstanceUID": "1.2", "DateReleased": "2020-01-05 08:09:01.0"}
    server = serve(answer(json.dumps([row])))
    with talking(server.url, "nbia-v1") as client:
        assert client.get_rows("getUpdatedSeries", since=date(2020, 1, 5)).table.num_rows == 1


def test_a_day_is_read_by_the_server_as_it_was_meant(sandbox: Sandbox, tmp_path: Any) -> None:
    for speaks in ("nbia-v4", "nbia-v1"):
        with Client(settings_for(sandbox, tmp_path, speaks), pacing=FAST) as client:
            everything = client.get_rows("getUpdatedSeries", since=LONG_AGO).table
            days = sorted(set(everything["DateReleased"].to_pylist()))
            middle = days[len(days) // 2]
            later = client.get_rows("getUpdatedSeries", since=middle).table
        assert set(later["DateReleased"].to_pylist()) == {day for day in days if day > middle}


def test_a_table_without_the_columns_to_tell_passes() -> None:
    rows = SourceRows(pa.table({"Modality": ["CT"]}))
    endpoint = dialect("nbia-v4").endpoint("getModalityValues")
    filters.check_rows(rows, endpoint, {"Collection": "A"}, "")
    filters.check_rows(rows, endpoint, {"since": LONG_AGO}, "")
