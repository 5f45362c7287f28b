"""The image Series to which SEG, RTSTRUCT and RTDOSE refer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom import referenced_series
from tcia_assets_tests.examples import examples
from tcia_assets_tests.sandbox.phantom.made_objects import VOLUMES, files, opened, row


@given(st.integers(1, 400), st.text(max_size=20), st.integers(0, 3))
@settings(max_examples=examples(40), deadline=None)
def test_objects_that_refer_to_any_series_of_any_patient_fit(
    count: int, patient: str, again: int
) -> None:
    source = row("CT", count, PatientID=patient)
    for modality in ("SEG", "RTSTRUCT", "RTDOSE"):
        (content,) = files(row(modality), source, again)
        assert len(content) == phantom.object_bytes(modality)


def test_the_sop_classes_of_referenced_series() -> None:
    assert {m: phantom.sop_class_uid(m) for m in VOLUMES} == referenced_series.SOP_CLASSES


@pytest.mark.parametrize(
    "source", [None, row("MG", 4), row("CT", 0), row("CT", 9) | {"SeriesInstanceUID": None}]
)
@pytest.mark.parametrize("modality", ["SEG", "RTSTRUCT", "RTDOSE"])
def test_without_a_usable_series_there_are_no_references(
    modality: str, source: dict[str, object] | None
) -> None:
    (dataset,) = opened(row(modality), source)
    assert "ReferencedSeriesSequence" not in dataset
    assert "RTReferencedStudySequence" not in dataset.to_json()
    assert "30060016" not in dataset.to_json()  # ContourImageSequence
    assert "00089124" not in dataset.to_json()  # DerivationImageSequence
