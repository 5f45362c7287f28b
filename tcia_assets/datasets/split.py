"""Which Patient is in which part of a dataset, and the proof that nobody is in two.

What belongs here: the split, pure. What does not: what it is declared with (`declaration.py`), and
which samples there are.

A Patient's part follows from a hash of the salt and the Patient alone: no random numbers, no order,
nobody else. So adding Patients moves nobody, and each Python splits alike. `stratify` gives that up
for even parts: see `Split`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.errors import DataError, UnknownName, UsageError

ACROSS, WITHIN = "PatientID", "Collection/PatientID"
PATIENTS = {
    ACROSS: "equal PatientIDs are one Patient, in whichever Collections",
    WITHIN: "equal PatientIDs are one Patient only within a Collection",
}
PROVEN = ("patient", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "pixel_sha256")
"""Columns of samples of which no value may lie in two parts, as far as they are there."""

_SPACE = 1 << 64


@dataclass(frozen=True)
class Holdout:
    """Patients with one of these values in a column of any of their samples are a part apart."""

    part: str
    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SplitSettings:
    """How Patients are divided.

    `fractions` name the parts and what share of the Patients each is to have, together 1. `salt`
    makes another split of the same Patients. With `folds` the Patients of the first part are
    divided once more, into that many, by another hash.

    With `stratify`, the Patients of each combination of values in these columns (over all of a
    Patient's samples) are dealt out in the order of their hashes, each to the part that lacks most.
    Parts are then as even as can be, **but a Patient who is added moves others who come after.**

    `patients` says when two samples are of one Patient. By default equal PatientIDs are one person
    in whichever Collections, since the archive's derived Collections keep them; the price is that
    two persons whose IDs are equal by chance (`001`) lie in the same part, which leaks nothing.
    `same_patient` names who is one person under several IDs: a name, and the PatientIDs, or
    `Collection/PatientID`s, that it stands for.
    """

    fractions: tuple[tuple[str, Fraction], ...]
    salt: str = ""
    stratify: tuple[str, ...] = ()
    folds: int = 0
    holdout: Holdout | None = None
    patients: str = ACROSS
    same_patient: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = sum(share for _, share in self.fractions)
        if total != 1 or any(share <= 0 for _, share in self.fractions):
            told = ", ".join(f"{name} {float(share):g}" for name, share in self.fractions)
            raise UsageError(f"fractions must be above 0 and together 1, not {told or 'none'}")
        if self.patients not in PATIENTS:
            raise UnknownName("way to tell patients apart", self.patients, PATIENTS)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all parts, that which is held out at the end."""
        names = [name for name, _ in self.fractions]
        held = [self.holdout.part] if self.holdout else []
        return tuple(dict.fromkeys(names + held))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that samples need for it."""
        more = self.stratify + ((self.holdout.column,) if self.holdout else ())
        return tuple(dict.fromkeys(("Collection", "PatientID", *more)))

    @property
    def proven(self) -> tuple[str, ...]:
        """Columns of which no value may lie in two parts."""
        return tuple(n for n in PROVEN if n != "PatientID" or self.patients == ACROSS)


@dataclass(frozen=True)
class Leak:
    """A value of a column that lies in several parts."""

    column: str
    value: str
    splits: tuple[str, ...]
    samples: int

    def __str__(self) -> str:
        parts = ", ".join(self.splits)
        return f"{self.column} {self.value!r}: {self.samples} samples in {parts}"


def hash_position(salt: str, patient: str) -> int:
    """Where a Patient lies among 2**64 places; the same everywhere.

    >>> hash_position("2024", "LUNG1-001") / 2**64
    0.6881357505599518
    """
    digest = hashlib.sha256(f"{salt}/{patient}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def assign_splits(samples: pa.Table, how: SplitSettings) -> pa.Table:
    """The samples with three more columns: `patient`, `part` and `fold` (null where there is none).

    Raises:
        UsageError: samples lack a column that the split needs.
        DataError: a sample has no PatientID: nobody can say whose it is.
    """
    for name in how.columns:
        if name not in samples.schema.names:
            raise UnknownName("column of the samples", name, samples.schema.names)
    patients = _patients(samples, how)
    rows = samples.select(how.columns).to_pylist()
    part_of = _parts(patients, rows, how)
    fold_of = _folds(patients, rows, part_of, how)
    for name, values, kind in (
        ("patient", patients, pa.string()),
        ("part", [part_of[patient] for patient in patients], pa.string()),
        ("fold", [fold_of.get(patient) for patient in patients], pa.int64()),
    ):
        samples = samples.append_column(name, pa.array(values, kind))
    return samples


def find_leaks(samples: pa.Table, columns: Sequence[str] = PROVEN) -> list[Leak]:
    """Each value of these columns that lies in more than one `part`, sorted; none is the proof."""
    leaks = []
    for name in columns:
        if name not in samples.schema.names:
            continue
        pairs = samples.select([name, "part"]).filter(pc.is_valid(samples[name]))
        parts: dict[str, list[str]] = defaultdict(list)
        for row in pairs.to_pylist():
            parts[row[name]].append(row["part"])
        leaks += [
            Leak(name, value, tuple(sorted(set(seen))), len(seen))
            for value, seen in sorted(parts.items())
            if len(set(seen)) > 1
        ]
    return leaks


# --- Patients -------------------------------------------------------------------------------------


def _patients(samples: pa.Table, how: SplitSettings) -> list[str]:
    """Who each sample is of."""
    names = {uid: name for name, uids in sorted(how.same_patient.items()) for uid in uids}
    found = []
    for row in samples.select(["Collection", "PatientID"]).to_pylist():
        uid = row["PatientID"]
        if not uid:
            problem = f"a sample of {row['Collection']} has none: nobody can say whose it is"
            raise DataError(problem, table="samples", column="PatientID")
        both = f"{row['Collection']}/{uid}"
        found.append(names.get(both) or names.get(uid) or (uid if how.patients == ACROSS else both))
    return found


def _parts(patients: list[str], rows: list[dict[str, Any]], how: SplitSettings) -> dict[str, str]:
    held = _held_out(patients, rows, how.holdout)
    left = [
        (patient, row) for patient, row in zip(patients, rows, strict=True) if patient not in held
    ]
    parts = [share for _, share in how.fractions]
    names = [name for name, _ in how.fractions]
    dealt = _dealt(left, how.stratify, how.salt, parts)
    part = how.holdout.part if how.holdout else ""
    return {patient: names[place] for patient, place in dealt.items()} | dict.fromkeys(held, part)


def _held_out(patients: list[str], rows: list[dict[str, Any]], holdout: Holdout | None) -> set[str]:
    if holdout is None:
        return set()
    pairs = zip(patients, rows, strict=True)
    return {patient for patient, row in pairs if str(row[holdout.column]) in holdout.values}


def _folds(
    patients: list[str], rows: list[dict[str, Any]], part_of: dict[str, str], how: SplitSettings
) -> dict[str, int]:
    """The fold, from 0, of each Patient of the first part."""
    if not how.folds:
        return {}
    first, _ = how.fractions[0]
    pairs = zip(patients, rows, strict=True)
    chosen = [(patient, row) for patient, row in pairs if part_of[patient] == first]
    shares = [Fraction(1, how.folds)] * how.folds
    return _dealt(chosen, how.stratify, f"{how.salt}/fold", shares)


def _dealt(
    samples: list[tuple[str, dict[str, Any]]],
    stratify: tuple[str, ...],
    salt: str,
    shares: list[Fraction],
) -> dict[str, int]:
    """For each Patient, which of the shares it belongs to."""
    if not stratify:
        ends = [sum(shares[: n + 1], Fraction(0)) * _SPACE for n in range(len(shares))]
        return {
            patient: next(n for n, end in enumerate(ends) if hash_position(salt, patient) < end)
            for patient, _ in samples
        }
    dealt: dict[str, int] = {}
    for patients in _strata(samples, stratify).values():
        ordered = sorted(patients, key=_order(salt))
        counts = [0] * len(shares)
        for number, patient in enumerate(ordered, start=1):
            lacking = [share * number - count for share, count in zip(shares, counts, strict=True)]
            dealt[patient] = lacking.index(max(lacking))
            counts[dealt[patient]] += 1
    return dealt


def _order(salt: str) -> Callable[[str], tuple[int, str]]:
    return lambda patient: (hash_position(salt, patient), patient)


def _strata(
    samples: list[tuple[str, dict[str, Any]]], stratify: tuple[str, ...]
) -> dict[str, list[str]]:
    """Patients by the values that all of their samples have in these columns."""
    values: dict[str, set[str]] = defaultdict(set)
    for patient, row in samples:
        values[patient].add(repr([row[name] for name in stratify]))
    strata: dict[str, list[str]] = defaultdict(list)
    for patient, seen in values.items():
        strata[repr(sorted(seen))].append(patient)
    return strata
