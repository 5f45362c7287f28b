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
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.split_settings import ACROSS, LEAK_COLUMNS, Holdout, SplitSettings
from tcia_assets.errors import DataError, UnknownName

# IDs that differ only in case or by blanks are taken as one person's that were written differently.
_WRITTEN_BY_HAND = ("patient", "PatientID")

_MAX_NAMED = 3
_HASH_SPACE = 1 << 64

# The Patient of each sample, and the columns by which it is split.
_Samples = list[tuple[str, dict[str, Any]]]


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
