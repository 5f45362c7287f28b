"""The facts of the servers, written here a second time from archive-api.md (sections 5 and 7.2)."""

from __future__ import annotations

import pytest

from tcia_assets.catalog import DIALECTS
from tcia_assets.errors import UnknownName
from tcia_assets.sandbox.endpoints import (
    BINDAAS,
    HIBERNATE,
    NATIVE_SQL,
    SERVED,
    ServedEndpoint,
    served,
)

BY_PATH = {f"{e.dialect.name}-{e.endpoint.path}": e for e in SERVED}


def test_every_endpoint_of_the_catalog_is_served() -> None:
    assert [(e.dialect, e.endpoint) for e in SERVED] == [
        (dialect, endpoint) for dialect in DIALECTS for endpoint in dialect.endpoints
    ]
    assert served("nbia-v1", "getSeries") in SERVED
    with pytest.raises(UnknownName, match=r"endpoint of dialect nbia-v4.*'getSeries'"):
        served("nbia-v4", "getSeriess")


def test_each_dialect_has_its_software() -> None:
    assert {e.dialect.name: e.software for e in SERVED} == {
        "nbia-v4": NATIVE_SQL,
        "nbia-v1": HIBERNATE,
        "nbia-v2": HIBERNATE,
        "bindaas-v4": BINDAAS,
        "bindaas-v3": BINDAAS,
    }
    for each in SERVED:
        assert [each.is_hibernate, each.is_native_sql, each.is_bindaas] == [
            each.software == software for software in (HIBERNATE, NATIVE_SQL, BINDAAS)
        ]


def test_only_v4_rejects_unknown_parameters_except_on_one_endpoint() -> None:
    lenient = {"getCollectionValuesAndCounts"}
    assert {path: each.rejects_unknown_parameters for path, each in BY_PATH.items()} == {
        path: each.dialect.name == "nbia-v4" and each.endpoint.name not in lenient
        for path, each in BY_PATH.items()
    }


def test_the_reply_without_rows() -> None:
    exceptions = {
        (HIBERNATE, "getSeriesSize"): "null row",
        (HIBERNATE, "getSeriesMetadata"): "204",
        (HIBERNATE, "getDeniedSeries"): "204",
        (NATIVE_SQL, "getDeniedSeries"): "204",
        (NATIVE_SQL, "getCollectionDescriptions"): "array",
    }

    def expected(each: ServedEndpoint) -> str:
        usual = "array" if each.software == BINDAAS else "empty body"
        return exceptions.get((each.software, each.endpoint.name), usual)

    assert {path: each.no_rows for path, each in BY_PATH.items()} == {
        path: expected(each) for path, each in BY_PATH.items()
    }


def test_the_default_format_is_json_in_nbia_and_csv_in_bindaas() -> None:
    def expected(each: ServedEndpoint) -> str:
        if each.endpoint.method == "POST" and each.endpoint.formats:
            return "csv-download"
        return "csv" if each.software == BINDAAS and each.endpoint.formats else "json"

    assert {path: each.default_format for path, each in BY_PATH.items()} == {
        path: expected(each) for path, each in BY_PATH.items()
    }


def test_a_missing_parameter_is_an_error_except_for_one_hash() -> None:
    unchecked = {"getMD5HashForImage"}
    assert {path: bool(each.missing_parameter_message) for path, each in BY_PATH.items()} == {
        path: any(p.required for p in each.endpoint.parameters)
        and each.endpoint.name not in unchecked
        for path, each in BY_PATH.items()
    }


def test_the_day_itself_is_left_out_except_by_two_endpoints() -> None:
    includes_the_day = {
        (software, name)
        for software in (NATIVE_SQL, BINDAAS)
        for name in ("NewPatientsInCollection", "NewStudiesInPatientCollection")
    }
    dated = {path: each for path, each in BY_PATH.items() if each.endpoint.since_format}
    assert dated
    assert {path: each.since_is_exclusive for path, each in dated.items()} == {
        path: (each.software, each.endpoint.name) not in includes_the_day
        for path, each in dated.items()
    }


def test_values_are_texts_only_in_the_metadata_for_downloaders() -> None:
    numbers = {HIBERNATE: (), NATIVE_SQL: ("ImageCount", "FileSize")}
    assert {path: each.number_columns for path, each in BY_PATH.items()} == {
        path: numbers[each.software] if each.endpoint.name == "getSeriesMetadata" else None
        for path, each in BY_PATH.items()
    }
    for path, each in BY_PATH.items():
        assert set(each.number_columns or ()) <= set(each.endpoint.columns), path
