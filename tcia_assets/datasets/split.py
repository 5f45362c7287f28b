"""The split of a dataset: which Patient is in which split, and the check that none is in two.

A Patient's split depends only on a hash of the salt and the PatientID: no random numbers, no order,
no other Patients. So adding Patients moves no Patient, and every machine splits alike. With
`stratify` the splits are more even, but this does not hold: see `SplitSettings`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
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
from tcia_assets.errors import DataError, UnknownName

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
# IDs that differ only in case or by blanks are taken as one person's that were written differently.
_WRITTEN_BY_HAND = ("patient", "PatientID")

_EXAMPLE = "{train: 0.8, test: 0.2}"
_MAX_FOLDS = 100
_MAX_NAMED = 3
_HASH_SPACE = 1 << 64

# The Patient of each sample, and the columns by which it is split.
_Samples = list[tuple[str, dict[str, Any]]]
_Column = Annotated[str, choice(SPLIT_COLUMNS, "column")]
_Stratum = Annotated[str, choice((*SPLIT_COLUMNS, CLASS), "column")]


# --- Settings -------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Leak:
    """A value of a column that is in several splits.

    `series` has the split, the Patient and the UID of each Series with that value, sorted.
    """

    column: str
    value: str
    splits: tuple[str, ...]
    samples: int
    series: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        text = f"{self.column} {self.value!r}: {self.samples} samples in {', '.join(self.splits)}"
        named = [self._first_of(split) for split in self.splits]
        return f"{text}: {'; '.join(filter(None, named))}" if any(named) else text

    def _first_of(self, split: str) -> str:
        """Name the first Series of a split."""
        found = [(patient, uid) for part, patient, uid in self.series if part == split]
        shown = [f"Patient {patient}, Series {uid}" for patient, uid in found[:_MAX_NAMED]]
        more = [f"{len(found) - _MAX_NAMED} more"] if len(found) > _MAX_NAMED else []
        return f"{split} has {', '.join([*shown, *more])}" if found else ""


# --- Splitting ------------------------------------------------------------------------------------


def hash_position(salt: str, patient: str) -> int:
    """Return the position of a Patient, from 0 up to 2**64: the same on every machine.

    >>> hash_position("2024", "LUNG1-001") / 2**64
    0.6881357505599518
    """
    digest = hashlib.sha256(f"{salt}/{patient}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def assign_splits(samples: pa.Table, settings: SplitSettings) -> pa.Table:
    """Add the columns `patient`, `part` (the split) and `fold` (from 0, or null) to samples.

    Raises:
        UnknownName: The samples lack a column that the split needs.
        DataError: A sample has no PatientID, so that its Patient is unknown.
    """
    for name in settings.columns:
        if name not in samples.schema.names:
            raise UnknownName("column", name, samples.schema.names)
    patients = _patients(samples, settings)
    rows = list(zip(patients, samples.select(settings.columns).to_pylist(), strict=True))
    split_of = _assign(rows, settings)
    fold_of = _assign_folds(rows, split_of, settings)
    for name, values, kind in (
        ("patient", patients, pa.string()),
        ("part", [split_of[patient] for patient in patients], pa.string()),
        ("fold", [fold_of.get(patient) for patient in patients], pa.int64()),
    ):
        samples = samples.append_column(name, pa.array(values, kind))
    return samples


def find_leaks(samples: pa.Table, columns: Sequence[str] = LEAK_COLUMNS) -> list[Leak]:
    """Return each value of these columns that is in more than one split, sorted.

    An empty list proves that the splits share no Patient, Study, frame of reference or pixels.
    """
    leaks = []
    for name in (n for n in columns if n in samples.schema.names):
        keys = _comparable(samples, name)
        values = samples.select([name, "part"]).append_column("key", keys)
        seen = values.filter(pc.is_valid(keys)).group_by("key")
        found = seen.aggregate([(name, "distinct"), ("part", "distinct"), ("part", "count")])
        leaks += [
            Leak(
                name,
                min(row[f"{name}_distinct"]),
                tuple(sorted(row["part_distinct"])),
                row["part_count"],
                _series_with(samples, keys, row["key"]),
            )
            for row in found.sort_by("key").to_pylist()
            if len(row["part_distinct"]) > 1
        ]
    return leaks


def _comparable(samples: pa.Table, name: str) -> pa.ChunkedArray:
    column = samples[name]
    if name not in _WRITTEN_BY_HAND:
        return column
    return pa.chunked_array(
        [[each and each.strip().lower() for each in column.to_pylist()]], pa.string()
    )


def _series_with(
    samples: pa.Table, keys: pa.ChunkedArray, key: str
) -> tuple[tuple[str, str, str], ...]:
    columns = ("part", "PatientID", "SeriesInstanceUID")
    if not set(columns) <= set(samples.schema.names):
        return ()
    rows = samples.filter(pc.equal(keys, key)).select(columns).to_pylist()
    return tuple(sorted({(row[columns[0]], row[columns[1]], row[columns[2]]) for row in rows}))


def _patients(samples: pa.Table, settings: SplitSettings) -> list[str]:
    """Return the Patient of each sample."""
    names = {uid: name for name, uids in sorted(settings.same_patient.items()) for uid in uids}
    patients = []
    for row in samples.select(["Collection", "PatientID"]).to_pylist():
        # Blanks around an ID have no meaning in DICOM.
        patient_id = (row["PatientID"] or "").strip()
        if not patient_id:
            problem = f"a sample of {row['Collection']} has no PatientID: its Patient is unknown"
            raise DataError(problem, table="samples", column="PatientID")
        full_id = f"{row['Collection']}/{patient_id}"
        default = patient_id if settings.patients == ACROSS else full_id
        patients.append(names.get(full_id) or names.get(patient_id) or default)
    return patients


def _assign(samples: _Samples, settings: SplitSettings) -> dict[str, str]:
    """Return the split of each Patient."""
    held_out = _held_out(samples, settings.holdout)
    others = [(patient, row) for patient, row in samples if patient not in held_out]
    names = list(settings.fractions)
    dealt = _deal(others, settings.stratify, settings.salt, list(settings.fractions.values()))
    split = settings.holdout.part if settings.holdout else ""
    return {patient: names[n] for patient, n in dealt.items()} | dict.fromkeys(held_out, split)


def _held_out(samples: _Samples, holdout: Holdout | None) -> set[str]:
    if holdout is None:
        return set()
    return {patient for patient, row in samples if str(row[holdout.column]) in holdout.values}


def _assign_folds(
    samples: _Samples, split_of: dict[str, str], settings: SplitSettings
) -> dict[str, int]:
    """Return the fold, from 0, of each Patient of the first split."""
    if not settings.folds:
        return {}
    first = settings.splits[0]
    chosen = [(patient, row) for patient, row in samples if split_of[patient] == first]
    shares = [Fraction(1, settings.folds)] * settings.folds
    return _deal(chosen, settings.stratify, f"{settings.salt}/fold", shares)


def _deal(
    samples: _Samples, stratify: tuple[str, ...], salt: str, shares: list[Fraction]
) -> dict[str, int]:
    """Return the number of the share, from 0, that each Patient belongs to."""
    if not stratify:
        ends = [sum(shares[: n + 1], Fraction(0)) * _HASH_SPACE for n in range(len(shares))]
        return {
            patient: next(n for n, end in enumerate(ends) if hash_position(salt, patient) < end)
            for patient, _ in samples
        }
    dealt: dict[str, int] = {}
    for patients in _strata(samples, stratify).values():
        counts = [0] * len(shares)
        for number, patient in enumerate(sorted(patients, key=_by_hash(salt)), start=1):
            lacking = [share * number - count for share, count in zip(shares, counts, strict=True)]
            dealt[patient] = lacking.index(max(lacking))
            counts[dealt[patient]] += 1
    return dealt


def _by_hash(salt: str) -> Callable[[str], tuple[int, str]]:
    return lambda patient: (hash_position(salt, patient), patient)


def _strata(samples: _Samples, stratify: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the Patients of each combination of values that their samples have."""
    values: dict[str, set[str]] = defaultdict(set)
    for patient, row in samples:
        values[patient].add(repr([row[name] for name in stratify]))
    strata: dict[str, list[str]] = defaultdict(list)
    for patient, seen in values.items():
        strata[repr(sorted(seen))].append(patient)
    return strata
