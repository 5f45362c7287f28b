"""The objects of all modalities."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom import element_values
from tcia_assets_tests.examples import examples
from tcia_assets_tests.repository import ROOT
from tcia_assets_tests.sandbox.phantom.made_objects import (
    MODALITIES,
    TEXTS,
    WITH_PIXELS,
    digest,
    files,
    opened,
    read,
    row,
)


@pytest.mark.slow
def test_the_same_row_gives_the_same_bytes_in_every_process() -> None:
    found = {digest()}
    for seed in ("0", "1", "random"):
        told = subprocess.run(
            [sys.executable, "-c", f"from {digest.__module__} import digest; print(digest())"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        )
        found.add(told.stdout.strip())
    assert len(found) == 1


def test_the_bytes_are_the_same_on_all_machines_and_in_all_releases() -> None:
    # Who changes the phantom on purpose puts the new value here, and knows that each archive that
    # was fetched from a sandbox before has other MD5s now.
    assert digest() == "4b29ddb086d8449e636cd73a844ae5cd05e025c3676bada38885d51da094029c"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_revision_changes_the_content_but_no_uid(modality: str) -> None:
    series, source = row(modality, 2), row("CT", 30)
    first, again = dict(phantom.objects(series, source)), dict(phantom.objects(series, source, 1))
    assert first.keys() == again.keys()
    assert all(first[uid] != again[uid] for uid in first)
    if modality in WITH_PIXELS:
        assert all(read(first[uid]).PixelData != read(again[uid]).PixelData for uid in first)


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_object_has_the_values_of_its_row(modality: str) -> None:
    series = row(modality, 3)
    made = list(phantom.objects(series, row("CT", 30)))
    uids = phantom.sop_instance_uids(str(series["SeriesInstanceUID"]), 3)
    assert [uid for uid, _ in made] == uids
    for number, (uid, content) in enumerate(made, start=1):
        dataset = read(content)
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == uid
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID
        assert dataset.SOPClassUID == phantom.sop_class_uid(modality)
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert dataset.InstanceNumber == number
        assert dataset.Modality == element_values.code_string(modality)
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesNumber"):
            assert dataset[keyword].value == series[keyword]
        assert dataset.private_block(0x0013, "CTP")[0x10].value == "LIDC-IDRI"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_row_of_nulls_gives_an_object(modality: str) -> None:
    empty = dict.fromkeys(row(modality)) | {"SeriesInstanceUID": "1.2.3", "ImageCount": 2}
    for dataset in opened(empty | {"Modality": modality}):
        assert dataset.PatientName == ""
        assert "SeriesDescription" not in dataset
        assert "StudyInstanceUID" not in dataset


def test_a_series_of_no_images_has_no_objects() -> None:
    assert files(row("CT", 0)) == []
    assert files(row("CT") | {"ImageCount": None}) == []


@given(
    st.sampled_from(MODALITIES),
    st.fixed_dictionaries({key: st.none() | st.text(max_size=90) for key in TEXTS}),
    st.fixed_dictionaries(
        {
            "SeriesNumber": st.none() | st.integers() | st.text(max_size=14),
            "StudyDate": st.none() | st.dates(),
            "SeriesDate": st.none() | st.dates(),
            "StudyInstanceUID": st.none() | st.text(max_size=70),
        }
    ),
)
@settings(max_examples=examples(150), deadline=None)
def test_any_row_gives_an_object_that_pydicom_reads_without_warnings(
    modality: str, texts: dict[str, object], others: dict[str, object]
) -> None:
    series = row(modality, 1, **texts, **others)
    (content,) = files(series, row("MR", 12, PatientID=texts["PatientID"]))
    assert read(content).SOPClassUID == phantom.sop_class_uid(modality)
    assert len(content) == phantom.object_bytes(modality)
