"""Clinical tables are read from the export of the index release's version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_assets.errors import UnknownReply, UnreadableReply
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources.idc.source import IdcSource
from tcia_assets_tests.conftest import IMPATIENT, idc_settings_for

SARCOMA = "Soft-tissue-Sarcoma"


@pytest.fixture
def idc(sandbox: Sandbox, idc_index: Path, tmp_path: Path) -> Iterator[IdcSource]:
    with IdcSource(idc_settings_for(sandbox, tmp_path, idc_index), pacing=IMPATIENT) as source:
        yield source


def test_tables_of_a_collection_have_titles_and_labels(idc: IdcSource) -> None:
    grade, outcome = idc.clinical_tables(SARCOMA)
    assert (grade.name, grade.title) == (
        "soft_tissue_sarcoma_clinical",
        "Clinical data of Soft-tissue-Sarcoma",
    )
    assert outcome.columns["follow_up_days"] == "Days to the last follow-up"
    assert idc.clinical_tables("VICTRE") == idc.clinical_tables("no such Collection") == []


def test_the_rows_of_all_files_of_a_table_are_read(idc: IdcSource, sandbox: Sandbox) -> None:
    rows = idc.clinical_rows("soft_tissue_sarcoma_outcome")
    assert rows.num_rows == len(set(rows["dicom_patient_id"].to_pylist())) == 6
    assert sandbox.requests["clinical"] == 3


def test_a_table_that_is_not_there_or_cannot_be_read_is_an_error(
    idc: IdcSource, sandbox: Sandbox
) -> None:
    with pytest.raises(UnknownReply, match="version 25 of the IDC has no clinical table 'x'"):
        idc.clinical_rows("x")
    sandbox.faults.add(Fault("not_dicom", times=0))
    with pytest.raises(UnreadableReply, match="cannot be read"):
        idc.clinical_rows("lctsc_clinical")
