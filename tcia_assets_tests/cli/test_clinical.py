"""`tcia-assets clinical`."""

from __future__ import annotations

import pytest

from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.cli.terminal import Terminal
from tcia_assets_tests.conftest import SMALL

JOINED = """
    SELECT stage, count(*) AS series FROM current_series
    JOIN clinical_lctsc_clinical USING (Collection, PatientID) GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture
def idc(terminal: Terminal, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The command line with the settings of the sandbox's IDC, though its source is NBIA."""
    monkeypatch.setenv("TCIA_IDC_BASE_URL", sandbox.idc_base_url)
    monkeypatch.setenv("TCIA_IDC_INDEX", sandbox.idc_index_url)
    return terminal


def test_tables_of_named_collections_can_be_joined(idc: Terminal) -> None:
    result = idc("clinical", SMALL)
    assert result.stdout == "LCTSC: 1 table with 5 rows\n"
    assert "clinical_tables" in result.stderr
    assert idc("query", JOINED, "--format", "csv").stdout == '"stage","series"\n"1",6\n"2",4\n'


def test_the_setting_names_collections_too(idc: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = idc("clinical")
    assert (refused.exit_code, "TCIA_IDC_CLINICAL" in refused.stderr) == (2, True)
    monkeypatch.setenv("TCIA_IDC_CLINICAL", SMALL)
    assert idc("clinical").stdout == "LCTSC: 1 table with 5 rows\n"


def test_a_failure_is_named_and_the_exit_code_is_1(idc: Terminal, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault("access_denied", endpoint="clinical", times=0))
    failed, misspelt = idc("clinical", SMALL), idc("clinical", "LCTC")
    assert (failed.exit_code, "clinical tables of 'LCTSC'" in failed.stderr) == (1, True)
    assert (misspelt.exit_code, "no refreshed Collection" in misspelt.stderr) == (2, True)
