"""Names of exported folders and files are safe on each system, and no two are the same."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.errors import UsageError
from tcia_assets.images.export_paths import (
    DEFAULT_TEMPLATE,
    FolderTemplate,
    file_names,
    safe_name,
    unique_folders,
)
from tcia_assets_tests.examples import examples

ROW = {
    "PatientID": "LUNG1-001",
    "StudyDate": date(2004, 3, 3),
    "StudyDescription": "CT CHEST/ABD",
    "SeriesNumber": 2,
    "SeriesDescription": "Lung  1.0 B30f",
}


def folder(template: str = DEFAULT_TEMPLATE, **changed: Any) -> str:
    return FolderTemplate(template).folder(ROW | changed)


def test_a_folder_is_named_by_the_columns_of_its_series() -> None:
    assert folder() == "LUNG1-001/2004-03-03-CT CHEST_ABD/2-Lung 1.0 B30f"


def test_a_value_that_is_missing_leaves_no_gap() -> None:
    assert folder(StudyDescription=None, SeriesNumber=None) == (
        "LUNG1-001/2004-03-03/Lung 1.0 B30f"
    )
    assert folder(StudyDescription=None, StudyDate=None, PatientID="") == (
        "unknown/unknown/2-Lung 1.0 B30f"
    )


@pytest.mark.parametrize("value", ["..", ".", "/", "../../etc", "a/b", "C:\\x", "\0\n", "-rf"])
def test_no_value_leads_out_of_its_folder(value: str) -> None:
    parts = folder("{PatientID}/{SeriesDescription}", SeriesDescription=value).split("/")
    assert len(parts) == 2
    assert parts[1] not in {"", ".", ".."}
    assert not parts[1].startswith("-")


def test_two_patients_never_get_one_folder() -> None:
    ids = ["a/b", "a_b", "a:b", "a b", "a  b", "A/b"]
    assert len({folder("{PatientID}", PatientID=each).casefold() for each in ids}) == len(ids)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "empty parts"),
        ("/{PatientID}", "empty parts"),
        ("{PatientID}//x", "empty parts"),
        ("../{PatientID}", "'..'"),
        ("all", "it has no field"),
        ("{PatientId}", "did you mean 'PatientID'"),
        ("{PatientID!r}", "a field has no format"),
        ("{SeriesNumber:03d}", "a field has no format"),
        ("{}", "needs a name"),
        ("{PatientID", "expected '}'"),
        ("{PatientID.__class__}", "PatientID.__class__"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        FolderTemplate(template)
    assert problem in str(caught.value)


@settings(max_examples=examples(200))
@given(text=st.text())
def test_a_safe_name_is_accepted_everywhere_and_stays_as_it_is(text: str) -> None:
    name = safe_name(text)
    assert len(name.encode()) <= 101
    assert not set(name) & set('<>:"/\\|?*\0\n')
    assert name == name.strip(" .")
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["CON", "nul.dcm", "Lpt1", "com9.a.b"])
def test_a_name_that_windows_reserves_is_changed(name: str) -> None:
    assert safe_name(name) == f"_{name}"


def test_files_of_equal_names_in_any_case_are_told_apart() -> None:
    members = ["a/1.dcm", "b/1.DCM", "1.dcm", "2", "../2.dcm", ""]
    names = [name for _, name in file_names(members)]
    assert names == ["1.dcm", "1.DCM.dcm", "1-2.dcm", "2.dcm", "2-2.dcm", "unknown.dcm"]


def test_the_folders_that_are_tried_are_all_different() -> None:
    uid = "1.3.6.1.4.1.14519.5.2.1.7695.4164.588007658875211151397302775781"
    names = list(unique_folders("P/2-Lung", uid))
    assert names[:2] == ["P/2-Lung", "P/2-Lung-775781"]
    assert len(set(names)) == len(names)
