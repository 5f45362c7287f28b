"""Dates in wrong formats, as each server reads them (archive-api.md 7.2)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tcia_assets_tests.sandbox.released_series import ALL, COLLECTION, LATER, NONE, series_uids

from .api_client import ApiClient

ODD_DATES = [
    # sent                 getUpdatedSeries v1  New... v1  getUpdatedSeries v4
    ("31/01/2020", NONE, ALL, NONE),
    ("30/01/2020", LATER, ALL, NONE),
    ("01/31/2020", NONE, ALL, NONE),
    ("2020/01/31", ALL, NONE, NONE),
    ("2020/01/30", ALL, LATER, NONE),
    ("5/1/2020", LATER, ALL, NONE),
    ("31/01/20", ALL, ALL, NONE),
    ("2020/02/31", ALL, NONE, NONE),
    ("30/01/2020 23:59", LATER, ALL, NONE),
    ("2020-01-31", NONE, NONE, NONE),
    ("01-30-2020", NONE, NONE, LATER),
    ("01-31-2020", NONE, NONE, NONE),
    ("1-3-2020", NONE, NONE, LATER),
    ("01-30-20", NONE, NONE, LATER),
    ("13-01-2020", NONE, NONE, NONE),
    ("02-31-2020", NONE, NONE, NONE),
    ("00-00-2020", NONE, NONE, LATER),
    ("", NONE, NONE, ALL),
    ("today", NONE, NONE, NONE),
]


@pytest.mark.parametrize(("dialect", "place"), [("nbia-v1", 1), ("nbia-v4", 3)])
def test_get_updated_series_accepts_any_text_as_a_date(
    api: ApiClient, dated: Mapping[str, set[str]], dialect: str, place: int
) -> None:
    found = {
        row[0]: series_uids(api, dialect, "getUpdatedSeries", since=row[0]) for row in ODD_DATES
    }
    assert found == {row[0]: dated[row[place]] for row in ODD_DATES}


def test_new_studies_accept_any_text_as_a_date(
    api: ApiClient, dated: Mapping[str, set[str]]
) -> None:
    def new_series(since: str) -> int:
        rows = api.rows(
            "nbia-v1", "NewStudiesInPatientCollection", Collection=COLLECTION, since=since
        )
        return sum(row["SeriesCount"] for row in rows)

    found = {row[0]: new_series(row[0]) for row in ODD_DATES}
    assert found == {row[0]: len(dated[row[2]]) for row in ODD_DATES}
