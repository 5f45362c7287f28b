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

BY_PATH = [pytest.param(e, id=f"{e.dialect.name}-{e.endpoint.path}") for e in SERVED]


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


@pytest.mark.parametrize("each", BY_PATH)
def test_only_v4_rejects_unknown_parameters_except_on_one_endpoint(each: ServedEndpoint) -> None:
    is_v4 = each.dialect.name == "nbia-v4"
    is_lenient = each.endpoint.name == "getCollectionValuesAndCounts"
    assert each.rejects_unknown_parameters == (is_v4 and not is_lenient)


@pytest.mark.parametrize("each", BY_PATH)
def test_the_reply_without_rows(each: ServedEndpoint) -> None:
    exceptions = {
        (HIBERNATE, "getSeriesSize"): "null row",
        (HIBERNATE, "getSeriesMetadata"): "204",
        (HIBERNATE, "getDeniedSeries"): "204",
        (NATIVE_SQL, "getDeniedSeries"): "204",
        (NATIVE_SQL, "getCollectionDescriptions"): "array",
    }
    usual = "array" if each.software == BINDAAS else "empty body"
    assert each.no_rows == exceptions.get((each.software, each.endpoint.name), usual)


@pytest.mark.parametrize("each", BY_PATH)
def test_the_default_format_is_json_in_nbia_and_csv_in_bindaas(each: ServedEndpoint) -> None:
    if each.endpoint.method == "POST" and each.endpoint.formats:
        assert each.default_format == "csv-download"
    else:
        is_csv = each.software == BINDAAS and bool(each.endpoint.formats)
        assert each.default_format == ("csv" if is_csv else "json")


@pytest.mark.parametrize("each", BY_PATH)
def test_a_missing_parameter_is_an_error_except_for_one_hash(each: ServedEndpoint) -> None:
    is_required = any(p.required for p in each.endpoint.parameters)
    is_checked = is_required and each.endpoint.name != "getMD5HashForImage"
    assert bool(each.missing_parameter_message) == is_checked


@pytest.mark.parametrize("each", [e for e in SERVED if e.endpoint.since_format])
def test_the_day_itself_is_left_out_except_by_two_endpoints(each: ServedEndpoint) -> None:
    includes_the_day = {
        (software, name)
        for software in (NATIVE_SQL, BINDAAS)
        for name in ("NewPatientsInCollection", "NewStudiesInPatientCollection")
    }
    is_included = (each.software, each.endpoint.name) in includes_the_day
    assert each.since_is_exclusive == (not is_included)


@pytest.mark.parametrize("each", BY_PATH)
def test_values_are_texts_only_in_the_metadata_for_downloaders(each: ServedEndpoint) -> None:
    expected = None
    if each.endpoint.name == "getSeriesMetadata":
        expected = () if each.software == HIBERNATE else ("ImageCount", "FileSize")
    assert each.number_columns == expected
    assert set(each.number_columns or ()) <= set(each.endpoint.columns)
