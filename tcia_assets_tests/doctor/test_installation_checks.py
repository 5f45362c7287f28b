from __future__ import annotations

import platform

import duckdb

from tcia_assets.doctor.installation_checks import installation_steps, versions
from tcia_assets.doctor.step_result import OK, UNKNOWN
from tcia_assets.version import __version__
from tcia_assets_tests.doctor.conftest import check_of


def test_versions_are_those_that_are_imported() -> None:
    found = versions()
    assert (found["tcia_assets"], found["duckdb"]) == (__version__, duckdb.__version__)
    assert found["python"] == platform.python_version()
    check = check_of(installation_steps(), "versions")
    assert (check.outcome, f"duckdb {duckdb.__version__}" in check.seen) == (OK, True)


def test_extras_are_named_by_whether_all_of_them_is_installed() -> None:
    check = check_of(installation_steps(), "extras")
    assert check.outcome in {OK, UNKNOWN}  # unknown where the package is only on the path
    if check.outcome == OK:
        installed = check.seen.partition(";")[0]
        assert {"dicom", "datasets"} <= set(installed.removeprefix("installed: ").split(", "))
