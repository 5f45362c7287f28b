"""What the source replies, over the sandbox with its faults: one step at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.catalog import DIALECTS
from tcia_assets.doctor.reply_checks import reply_steps
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN
from tcia_assets.doctor.subject import Subject
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.doctor.conftest import MakeSubject, check_of


def outcome(subject: Subject, name: str, *lists: str) -> tuple[str, str]:
    check = check_of(reply_steps(subject, lists), name)
    return check.outcome, check.seen


def test_a_collection_of_the_mirror_that_is_not_listed_differs(
    sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    subject = subject_of(settings_for(sandbox, tmp_path), SMALL, "Gone")
    found, seen = outcome(subject, "collections")
    assert (found, seen.endswith("or not yet: Gone")) == (DIFFERS, True)


def test_values_without_any_row_are_unknown_and_other_tables_differ(
    subject: Subject, sandbox: Sandbox
) -> None:
    for endpoint in ("getBodyPartValues", "getPatient"):
        sandbox.faults.add(Fault("empty", endpoint))
    assert outcome(subject, "body_part_values")[0] == UNKNOWN
    assert outcome(subject, "patients")[0] == DIFFERS


def test_an_endpoint_that_fails_differs_and_hides_no_other(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("html", "getPatientStudy", times=0))
    found, seen = outcome(subject, "studies")
    assert (found, "Maintenance" in seen) == (DIFFERS, True)
    assert outcome(subject, "series")[0] == OK


def test_sizes_are_as_listed(subject: Subject) -> None:
    found, seen = outcome(subject, "series_sizes")
    assert (found, seen) == (OK, "6 rows, 2 of 2 fields")


def test_sizes_that_contradict_the_list_differ(subject: Subject, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("wrong_count", "getSeriesSize", times=0))
    found, seen = outcome(subject, "series_sizes")
    assert (found, seen.startswith("ObjectCount is ")) == (DIFFERS, True)


def test_a_shared_list_is_asked_for_if_one_is_known(subject: Subject, sandbox: Sandbox) -> None:
    assert outcome(subject, "shared_lists")[0] == UNKNOWN
    assert not sandbox.requests["getContentsByName"]
    uids = subject.smallest_series()["SeriesInstanceUID"]
    sandbox.archive.share("mine", [uids])
    assert outcome(subject, "shared_lists", "mine")[0] == OK


@pytest.mark.parametrize(("dialect", "seen"), [("nbia-v4", "none s"), ("bindaas-v4", "not off")])
def test_no_changes_are_expected_of_a_day_to_come(
    dialect: str, seen: str, sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    found = outcome(subject_of(settings_for(sandbox, tmp_path, dialect)), "changes")
    assert (found[0], found[1].startswith(seen)) == (OK, True)


def test_a_source_that_reads_the_day_differently_differs(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("ignored_filter", "getUpdatedSeries"))
    assert outcome(subject, "changes")[0] == DIFFERS


@pytest.mark.parametrize("endpoint", ["getModalityValues", "getPatientStudy", "getSeries"])
def test_a_filter_that_is_ignored_is_found(
    endpoint: str, subject: Subject, sandbox: Sandbox
) -> None:
    found, seen = outcome(subject, "filters")
    assert (found, seen.startswith("honoured by modality_values, "), seen.count(",")) == (
        OK,
        True,
        5,
    )
    sandbox.faults.add(Fault("ignored_filter", endpoint))
    found, seen = outcome(subject, "filters")
    assert (found, seen.count("ignored by")) == (DIFFERS, 1)


def test_an_empty_reply_shows_a_filter_only_where_others_have_rows(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("empty", "getManufacturerValues", times=0))
    found, seen = outcome(subject, "filters")
    assert (found, seen.endswith("no answer from manufacturer_values")) == (UNKNOWN, True)


def test_a_collection_without_such_a_value_differs_in_nothing(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(
        Fault("status", "getManufacturerValues", status=200, body="[{}]", content_type="text/plain")
    )
    assert outcome(subject, "manufacturer_values")[0] == UNKNOWN
    assert outcome(subject, "filters")[0] == UNKNOWN


@pytest.mark.parametrize(
    ("dialect", "seen"), [("nbia-v4", "1 row, 7 of 7 fields"), ("nbia-v1", "not offered by")]
)
def test_descriptions_are_asked_for_where_the_dialect_has_them(
    dialect: str, seen: str, sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    subject = subject_of(settings_for(sandbox, tmp_path, dialect), SMALL)
    found, told = outcome(subject, "collection_descriptions")
    assert (found, told.startswith(seen)) == (OK, True)


@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_unknown_parameters_are_treated_as_the_dialect_does(
    dialect: str, sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    found, seen = outcome(subject_of(settings_for(sandbox, tmp_path, dialect)), "strictness")
    word = "refused" if dialect == "nbia-v4" else "ignored"
    assert (found, seen) == (OK, f"an unknown parameter is {word}, as this dialect does")


def test_a_server_of_another_strictness_differs(subject: Subject, sandbox: Sandbox) -> None:
    assert outcome(subject, "collections")[0] == OK
    rows = '[{"Collection":"A"}]'
    sandbox.faults.add(Fault("status", status=200, body=rows, content_type="application/json"))
    found, seen = outcome(subject, "strictness")
    assert (found, "ignored, which this dialect does not" in seen) == (DIFFERS, True)
