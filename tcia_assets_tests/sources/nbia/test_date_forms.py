"""The forms of dates are told apart, by our names of the columns."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tcia_assets.catalog import DATE_FORMATS, dialect
from tcia_assets.sources.nbia.date_forms import date_forms, declared_forms, form_of


@pytest.mark.parametrize("form", DATE_FORMATS)
def test_each_known_form_is_recognized(form: str) -> None:
    assert form_of(datetime(2011, 7, 22, 13, 5, 9, 120, tzinfo=UTC).strftime(form)) == form


@pytest.mark.parametrize("text", ["22/07/2011", "2011-7-2", "July 22", "2011", "2011-07-22T00:00"])
def test_other_forms_are_not(text: str) -> None:
    assert form_of(text) == ""


def test_fractions_of_a_second_may_have_one_to_nine_digits() -> None:
    for digits in ("0", "123456", "123456789"):
        assert form_of(f"2011-07-22 00:00:00.{digits}") == "%Y-%m-%d %H:%M:%S.%f"


def test_forms_are_by_our_names_each_once_and_only_of_dates() -> None:
    rows = [
        {"TimeStamp": "2011-07-22 00:00:00.0", "StudyDate": "07-22-2011", "Modality": "CT"},
        {"TimeStamp": "2012-07-22 00:00:00.0", "StudyDate": "2011-07-22", "SeriesDate": None},
        {"StudyDate": {"year": 2011}, "SeriesDate": " ", "Unheard": "2011-07-22"},
    ]
    assert date_forms(rows) == {
        "MaxSubmissionTimestamp": ("%Y-%m-%d %H:%M:%S.%f",),
        "StudyDate": ("%m-%d-%Y", "%Y-%m-%d"),
    }


def test_the_declared_form_is_that_of_the_dialect_or_of_the_column() -> None:
    spoken = dialect("nbia-v1")
    forms = declared_forms(spoken, spoken.endpoint("getSeriesMetadata"))
    assert forms["StudyDate"] == "%m-%d-%Y"
    assert declared_forms(spoken, spoken.endpoint("getSeries"))["StudyDate"].startswith("%Y-%m-%d")
