"""The settings of a split add up, name columns that exist, and know which splits there are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from pydantic import ValidationError

from tcia_assets.datasets.split_settings import PATIENTS, WITHIN, Holdout, SplitSettings

HALVES = {"train": Fraction("0.5"), "test": Fraction("0.5")}


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"add up to 0\.9, not 1"):
        SplitSettings(fractions={"train": Fraction("0.7"), "test": Fraction("0.2")})
    with pytest.raises(ValidationError, match="did you mean 'Manufacturer'"):
        SplitSettings(fractions=HALVES, stratify=("Manufacturers",))
    with pytest.raises(ValidationError, match="'1' is listed under 'a' and under 'b'"):
        SplitSettings(fractions=HALVES, same_patient={"a": ("1",), "b": ("1",)})


def test_the_held_out_split_is_the_last_one() -> None:
    held = Holdout(part="external", column="Manufacturer", values=("SIEMENS",))
    settings = SplitSettings(fractions=HALVES, holdout=held)
    assert settings.splits == ("train", "test", "external")
    assert settings.columns == ("Collection", "PatientID", "Manufacturer")


def test_equal_ids_in_two_collections_are_no_leak_where_they_are_two_patients() -> None:
    assert "PatientID" in SplitSettings(fractions=HALVES).leak_columns
    assert "PatientID" not in SplitSettings(fractions=HALVES, patients=WITHIN).leak_columns
    assert set(PATIENTS) == {"PatientID", "Collection/PatientID"}
