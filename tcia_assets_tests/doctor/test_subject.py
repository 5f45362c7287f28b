"""What is looked at: a Collection that the mirror has, a few patients, a small Series."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.catalog import PATIENTS, SERIES, STUDIES
from tcia_assets.doctor.steps import NotChecked
from tcia_assets.doctor.subject import Subject, values_of
from tcia_assets.errors import TciaError
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.doctor.conftest import MakeSubject


def test_a_collection_of_the_mirror_is_preferred_if_the_source_lists_it(
    sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    settings = settings_for(sandbox, tmp_path)
    assert subject_of(settings, "Withdrawn", SMALL).collection.get() == SMALL
    listed = subject_of(settings).collection_names()
    assert subject_of(settings, "Withdrawn").collection.get() == listed[0]


def test_without_a_list_a_collection_of_the_mirror_will_do(
    sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    sandbox.faults.add(Fault("html", "getCollectionValues", times=0))
    settings = settings_for(sandbox, tmp_path)
    assert subject_of(settings, SMALL).collection.get() == SMALL
    with pytest.raises(NotChecked, match="the list of Collections"):
        subject_of(settings).collection.get()


def test_replies_are_small_also_of_a_large_collection(subject: Subject, sandbox: Sandbox) -> None:
    patients = values_of(subject.samples(PATIENTS).get()[0], "PatientID")
    for table in (STUDIES, SERIES):
        samples = subject.samples(table).get()
        found = [values_of(each, "PatientID") for each in samples]
        assert [set(each) for each in found] == [{name} for name in patients[:3]]
    subject.samples(SERIES).need()
    assert sandbox.requests["getSeries"] == 3


def test_without_patients_the_whole_collection_is_asked_for(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("renamed_column", "getPatient", column="PatientId", value="Subject"))
    [sample] = subject.samples(SERIES).get()
    assert sample.rows.table.num_rows == 10


@pytest.mark.parametrize("dialect", ["nbia-v4", "bindaas-v4"])
def test_the_smallest_series_of_known_size_is_chosen(
    dialect: str, sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    subject = subject_of(settings_for(sandbox, tmp_path, dialect), SMALL)
    chosen = subject.smallest_series()
    sizes = subject.sizes.get().table.to_pylist()
    assert chosen["FileSize"] == min(row["TotalSizeInBytes"] for row in sizes)
    assert chosen["ImageCount"] == 1


def test_without_sizes_the_one_with_the_fewest_images_is(
    sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject
) -> None:
    sandbox.faults.add(Fault("status", "getSeriesSize", times=0))
    subject = subject_of(settings_for(sandbox, tmp_path, "bindaas-v4"), SMALL)
    chosen = subject.smallest_series()
    assert (chosen["ImageCount"], chosen["FileSize"]) == (1, None)
    with pytest.raises(TciaError, match="busy or down"):
        subject.sizes.get()


def test_nothing_is_asked_of_a_source_that_cannot_be_reached(
    tmp_path: Path, sandbox: Sandbox, subject_of: MakeSubject
) -> None:
    settings = settings_for(sandbox, tmp_path)
    subject = subject_of(settings.replace(base_url="http://127.0.0.1:9/nbia-api/services/v4"))
    with pytest.raises(NotChecked, match="a connection to the source"):
        subject.samples(SERIES).need()
