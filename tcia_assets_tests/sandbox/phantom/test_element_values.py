"""The values of header elements."""

from __future__ import annotations

from tcia_assets_tests.sandbox.phantom.made_objects import opened, row


def test_texts_are_kept_and_truncated_if_too_long() -> None:
    series = row(
        "CT",
        PatientName="Müller-Lüdenscheidt^Łukasz, jr.",
        SeriesDescription="Kopf, nativ ^ \\ 5,0 mm \x00" + "ü" * 100,
        BodyPartExamined="Left Breast",
        Manufacturer="Siemens, Healthineers",
    )
    (dataset,) = opened(series)
    assert dataset.PatientName == "Müller-Lüdenscheidt^Łukasz, jr."
    assert dataset.SeriesDescription.startswith("Kopf, nativ ^   5,0 mm  ü")
    assert len(dataset.SeriesDescription) == 64
    assert dataset.BodyPartExamined == "LEFT BREAST"
    assert dataset.Manufacturer == "Siemens, Healthineers"


def test_values_that_dicom_forbids_are_left_out() -> None:
    series = row(
        "CT",
        StudyInstanceUID="1.02.3",
        PatientAge="N-A",
        PatientSex="6657",
        SeriesNumber=2**40,
        PatientName="\ud800^" * 20,
    )
    (dataset,) = opened(series)
    assert "StudyInstanceUID" not in dataset
    assert "PatientAge" not in dataset
    assert dataset.PatientSex == ""
    assert dataset.SeriesNumber is None
