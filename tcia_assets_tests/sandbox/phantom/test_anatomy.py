"""The anatomy of patients."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tcia_assets.sandbox.phantom.anatomy import (
    BODY,
    LESION,
    Grid,
    Sections,
    SeededNumbers,
    anatomy,
)
from tcia_assets_tests.examples import examples
from tcia_assets_tests.sandbox.phantom.made_objects import lesion_in, opened, row


def test_a_revision_leaves_the_lesion_where_it_was() -> None:
    before, after = (lesion_in(opened(row("PT", 60), revision=number)) for number in (0, 1))
    assert before.any()
    assert np.array_equal(before, after)


def test_patients_differ_and_the_series_of_one_patient_are_alike() -> None:
    def shape(patient: str, uid: str) -> NDArray[np.bool_]:
        series = row("PT", 9, PatientID=patient, SeriesInstanceUID=uid)
        return lesion_in(opened(series))

    same_grid = [f"1.2.{n}" for n in range(40) if Grid.of(f"1.2.{n}", 9) == Grid.of("1.2.0", 9)]
    assert np.array_equal(shape("A", same_grid[0]), shape("A", same_grid[1]))
    assert not np.array_equal(shape("A", same_grid[0]), shape("B", same_grid[0]))


@given(st.text(max_size=30), st.integers(0, 50))
@settings(max_examples=examples(200))
def test_the_lesion_of_any_patient_is_inside_the_body_and_in_view(
    patient: str, revision: int
) -> None:
    ellipsoids = anatomy(patient, revision)
    sections = Sections(ellipsoids, Grid.of(patient, 60))
    lesion = [sections.mask(LESION, index) for index in range(60)]
    body = [sections.mask(BODY, index) for index in range(60)]
    assert any(mask.any() for mask in lesion[28:32])
    assert all(not (inner & ~outer).any() for inner, outer in zip(lesion, body, strict=True))
    # air all around, so that a body is never cut by the field of view
    assert not any(mask[0].any() or mask[:, 0].any() or mask[:, -1].any() for mask in body)


def test_seeded_numbers_are_within_their_limits() -> None:
    dice = SeededNumbers("seed")
    assert all(3 <= dice.between(3, 4) <= 4 for _ in range(50))
