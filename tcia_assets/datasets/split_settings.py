"""The section `split` of a declaration: how Patients are divided into splits."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer

from tcia_assets.datasets.declaration_types import (
    GROUP,
    UNIQUE,
    Names,
    Section,
    Text,
    check_group,
    choice,
    problem,
    read_number,
    some,
    unlike,
    whole_number,
    word,
)

ACROSS, WITHIN = "PatientID", "Collection/PatientID"
PATIENTS = {
    ACROSS: "equal PatientIDs are one Patient, in whichever Collections",
    WITHIN: "equal PatientIDs are one Patient only within a Collection",
}
SPLIT_COLUMNS = (
    "Collection",
    "Site",
    "Modality",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "PatientSex",
    "ThirdPartyAnalysis",
)
"""Columns of the cohort that `stratify` and `holdout` may name."""
CLASS = "class_name"
"""The class of a sample, which `stratify` may name too."""
LEAK_COLUMNS = ("patient", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "pixel_sha256")
"""Columns of samples in which no value may be in two splits; absent columns are not checked."""

_EXAMPLE = "{train: 0.8, test: 0.2}"
_MAX_FOLDS = 100

_Column = Annotated[str, choice(SPLIT_COLUMNS, "column")]
_Stratum = Annotated[str, choice((*SPLIT_COLUMNS, CLASS), "column")]


def _read_share(value: Any) -> Fraction:
    wanted = "a share above 0 and up to 1, such as 0.8 or 1/3"
    share = read_number(value, wanted)
    if not 0 < share <= 1:
        raise unlike(value, wanted)
    return share


def _check_total(shares: dict[str, Fraction]) -> dict[str, Fraction]:
    total = sum(shares.values())
    if total != 1:
        raise problem(f"the shares add up to {float(total):g}, not 1; write a third as 1/3")
    return shares


def _check_owners(same_patient: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    owners: dict[str, str] = {}
    for name, ids in same_patient.items():
        for patient_id in ids:
            owner = owners.setdefault(patient_id, name)
            if owner != name:
                raise problem(f"{patient_id!r} is listed under {owner!r} and under {name!r}")
    return same_patient


_HOLDOUT_KEYS = "it needs part, column, values"


class Holdout(Section):
    """A split of its own for Patients with one of these values in a column of any sample.

    Attributes:
        part: Name of the split.
        column: The column.
        values: Values of that column; one that no image of the cohort has is an error.
    """

    part: Annotated[Text, word("split")] = Field(description=_HOLDOUT_KEYS)
    column: _Column = Field(description=_HOLDOUT_KEYS)
    values: Names = Field(description=_HOLDOUT_KEYS)


class SplitSettings(Section):
    """How Patients are divided into splits.

    With `stratify`, the Patients of each combination of values in these columns (over all samples
    of a Patient) are dealt out in the order of their hashes, each to the split that is furthest
    below its share. The splits are then as even as possible, **but adding a Patient moves others.**

    Attributes:
        fractions: The splits by name, with their shares of the Patients, which add up to 1.
        salt: A different salt splits the same Patients differently.
        stratify: Columns by which the splits are kept even; `class_name` is the class.
        folds: The Patients of the first split are divided into this many folds, by a different
            hash.
        holdout: Patients that are a split of their own.
        patients: When two samples are of one Patient. By default equal PatientIDs are one person in
            any Collections, because derived Collections keep the PatientIDs. The price: two persons
            with the same ID by chance (`001`) are in the same split, which leaks nothing.
        same_patient: Persons with several IDs: a name, and its PatientIDs or
            `Collection/PatientID`s.
    """

    hints = dict.fromkeys(
        ("train", "val", "valid", "validation", "test"),
        "splits are named below 'fractions': {fractions: {train: 0.8, test: 0.2}}",
    ) | dict.fromkeys(
        ("seed", "random_seed", "random_state"),
        "no random numbers are used: 'salt' gives another split, such as {salt: second}",
    )

    fractions: Annotated[
        dict[Annotated[Text, word("split")], Annotated[Fraction, BeforeValidator(_read_share)]],
        BeforeValidator(lambda value: check_group(value, _EXAMPLE)),
        AfterValidator(_check_total),
    ] = Field(description=f"such as {_EXAMPLE}")
    salt: Text = ""
    stratify: Annotated[tuple[_Stratum, ...], some("columns"), UNIQUE] = ()
    folds: Annotated[int, whole_number(2, _MAX_FOLDS)] = 0
    holdout: Annotated[Holdout | None, GROUP] = None
    patients: Annotated[str, choice(PATIENTS, "way to tell patients apart")] = ACROSS
    same_patient: Annotated[dict[str, Names], GROUP, AfterValidator(_check_owners)] = Field(
        default_factory=dict
    )

    @field_serializer("fractions")
    def _fractions_in_order(self, fractions: dict[str, Fraction]) -> list[list[str]]:
        # Pairs, because JSON with sorted keys would lose which split is the first.
        return [[name, str(share)] for name, share in fractions.items()]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits; the held-out one, if it is not in `fractions`, is the last."""
        held_out = [self.holdout.part] if self.holdout else []
        return tuple(dict.fromkeys([*self.fractions, *held_out]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the samples must have."""
        more = self.stratify + ((self.holdout.column,) if self.holdout else ())
        return tuple(dict.fromkeys(("Collection", "PatientID", *more)))

    @property
    def leak_columns(self) -> tuple[str, ...]:
        """The columns in which no value may be in two splits."""
        return tuple(n for n in LEAK_COLUMNS if n != "PatientID" or self.patients == ACROSS)
