"""A Patient's split depends on a hash only, and no Patient is in two splits."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.datasets.split import Leak, assign_splits, find_leaks, hash_position
from tcia_assets.datasets.split_settings import WITHIN, Holdout, SplitSettings
from tcia_assets.errors import DataError, UnknownName

THREE = {"train": Fraction("0.7"), "val": Fraction("0.15"), "test": Fraction("0.15")}
patients = st.lists(
    st.text(min_size=1, max_size=8).filter(str.strip),
    min_size=1,
    max_size=40,
    unique_by=lambda text: text.strip().lower(),
)
salts = st.text(min_size=1, max_size=8).filter(str.strip)


def samples(ids: Sequence[str], **columns: Any) -> pa.Table:
    defaults = {"Collection": ["A"] * len(ids), "Manufacturer": ["GE"] * len(ids)}
    return pa.table({"PatientID": list(ids)} | defaults | columns)


def parts(table: pa.Table, how: SplitSettings) -> dict[str, str]:
    found = assign_splits(table, how)
    return dict(zip(found["patient"].to_pylist(), found["part"].to_pylist(), strict=True))


@given(ids=patients, more=patients, salt=salts, folds=st.integers(2, 6))
def test_adding_patients_moves_nobody(
    ids: list[str], more: list[str], salt: str, folds: int
) -> None:
    how = SplitSettings(fractions=THREE, salt=salt, folds=folds)
    before = assign_splits(samples(ids), how).to_pylist()
    grown = assign_splits(samples(list({*ids, *more})), how)
    after = {row["PatientID"]: row for row in grown.to_pylist()}
    assert all(after[row["PatientID"]] == row for row in before)


@given(ids=patients, salt=salts, stratify=st.sampled_from([(), ("Manufacturer",)]), data=st.data())
def test_the_order_of_samples_does_not_matter(
    ids: list[str], salt: str, stratify: tuple[str, ...], data: st.DataObject
) -> None:
    how = SplitSettings(fractions=THREE, salt=salt, stratify=stratify, folds=3)
    makers = {uid: data.draw(st.sampled_from(["GE", "SIEMENS"])) for uid in ids}
    shuffled = data.draw(st.permutations(ids))

    def rows(order: Sequence[str]) -> list[Any]:
        found = assign_splits(samples(order, Manufacturer=[makers[uid] for uid in order]), how)
        return sorted(found.to_pylist(), key=lambda row: row["PatientID"])

    assert rows(ids) == rows(shuffled)


@given(ids=patients, salt=salts, stratify=st.sampled_from([(), ("Manufacturer",)]))
def test_all_samples_of_a_patient_are_in_one_split(
    ids: list[str], salt: str, stratify: tuple[str, ...]
) -> None:
    twice = samples(
        ids * 2,
        Collection=["A"] * len(ids) + ["B"] * len(ids),
        Manufacturer=["GE"] * len(ids) + ["SIEMENS"] * len(ids),
        StudyInstanceUID=[f"1.{n}" for n in range(len(ids))] * 2,
    )
    held = Holdout(part="external", column="Manufacturer", values=("PHILIPS",))
    how = SplitSettings(fractions=THREE, salt=salt, stratify=stratify, folds=3, holdout=held)
    found = assign_splits(twice, how)
    assert find_leaks(found) == []
    assert set(found["part"].to_pylist()) <= {"train", "val", "test"}
    folds = {row["patient"]: row["fold"] for row in found.to_pylist()}
    for row in found.to_pylist():
        assert row["fold"] == folds[row["patient"]]
        assert (row["fold"] is None) == (row["part"] != "train")


def test_a_position_is_the_first_eight_bytes_of_the_hash() -> None:
    digest = hashlib.sha256(b"s/LUNG1-001").digest()
    assert hash_position("s", "LUNG1-001") == int.from_bytes(digest[:8], "big")
    edge = Fraction(hash_position("s", "LUNG1-001"), 1 << 64)
    for share, part in ((edge, "b"), (edge + Fraction(1, 1 << 64), "a")):
        how = SplitSettings(fractions={"a": share, "b": 1 - share}, salt="s")
        assert parts(samples(["LUNG1-001"]), how) == {"LUNG1-001": part}


IDS = [f"P{n}" for n in range(30)]


def split_in_halves() -> pa.Table:
    """Split thirty Patients of two manufacturers."""
    half = Fraction("0.5")
    halves = SplitSettings(
        fractions={"a": half, "b": half}, salt="s", stratify=("Manufacturer",), folds=3
    )
    return assign_splits(samples(IDS, Manufacturer=["GE", "SIEMENS"] * 15), halves)


def test_every_process_splits_alike() -> None:
    """As it was when this was written: no seed, machine or version makes a difference."""
    found = split_in_halves()
    assert "".join(found["part"].to_pylist()) == "babbbbababbaaabaabbaababbaaaaa"
    folds = ["-" if fold is None else str(fold) for fold in found["fold"].to_pylist()]
    assert "".join(folds) == "-0----1-1--101-21--02-0--10022"


@pytest.mark.slow
def test_another_process_splits_alike() -> None:
    how = (
        "SplitSettings(fractions={'a': Fraction('0.5'), 'b': Fraction('0.5')}, salt='s', "
        "stratify=('Manufacturer',), folds=3)"
    )
    script = (
        "from fractions import Fraction\n"
        "import pyarrow as pa\n"
        "from tcia_assets.datasets.split import assign_splits\n"
        "from tcia_assets.datasets.split_settings import SplitSettings\n"
        f"t = pa.table({{'PatientID': {IDS}, 'Collection': ['A'] * 30, "
        "'Manufacturer': ['GE', 'SIEMENS'] * 15})\n"
        f"print(assign_splits(t, {how}).select(['part', 'fold']).to_pydict())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "4711", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == str(split_in_halves().select(["part", "fold"]).to_pydict())


def test_splits_have_about_their_shares_and_strata_exactly() -> None:
    ids = [f"P{n:04}" for n in range(2000)]
    counts = Counter(parts(samples(ids), SplitSettings(fractions=THREE, salt="s")).values())
    assert 1340 < counts["train"] < 1460
    makers = ["GE", "SIEMENS", "GE", "PHILIPS"] * 500
    found = assign_splits(
        samples(ids, Manufacturer=makers),
        SplitSettings(fractions=THREE, salt="s", stratify=("Manufacturer",)),
    )
    by_maker = Counter(
        (row["Manufacturer"], row["part"])
        for row in found.select(["Manufacturer", "part"]).to_pylist()
    )
    for maker, total in Counter(makers).items():
        for part, share in THREE.items():
            assert abs(by_maker[maker, part] - share * total) <= 1


def test_equal_ids_are_one_patient_by_default() -> None:
    table = samples(["001", "001", "X-1"], Collection=["A", "B", "B"])
    assert set(parts(table, SplitSettings(fractions=THREE))) == {"001", "X-1"}
    assert set(parts(table, SplitSettings(fractions=THREE, patients=WITHIN))) == {
        "A/001",
        "B/001",
        "B/X-1",
    }
    linked = SplitSettings(fractions=THREE, same_patient={"one": ("A/001", "X-1")})
    assert assign_splits(table, linked)["patient"].to_pylist() == ["one", "001", "one"]


def test_a_patient_is_held_out_with_all_samples() -> None:
    held = Holdout(part="external", column="Manufacturer", values=("SIEMENS",))
    table = samples(["P1", "P1", "P2"], Manufacturer=["GE", "SIEMENS", "GE"])
    found = assign_splits(table, SplitSettings(fractions={"train": Fraction(1)}, holdout=held))
    assert found["part"].to_pylist() == ["external", "external", "train"]


def test_find_leaks_returns_each_value_in_two_splits() -> None:
    table = samples(
        ["P1", "P2", "P3"],
        part=["train", "test", "train"],
        StudyInstanceUID=["1.1", "1.2", "1.3"],
        FrameOfReferenceUID=["1.9", "1.9", None],
        pixel_sha256=["a", "b", "a"],
    )
    (leak,) = find_leaks(table)
    assert leak == Leak("FrameOfReferenceUID", "1.9", ("test", "train"), 2)
    assert str(leak) == "FrameOfReferenceUID '1.9': 2 samples in test, train"


def test_a_leak_names_patients_and_series_of_each_split() -> None:
    numbers = range(6)
    table = samples(
        [f"P{n}" for n in numbers],
        part=["train"] * 5 + ["test"],
        StudyInstanceUID=["1.1"] * 6,
        SeriesInstanceUID=[f"1.5.{n}" for n in numbers],
    )
    (leak,) = find_leaks(table)
    assert leak.series[0] == ("test", "P5", "1.5.5") and len(leak.series) == 6
    assert str(leak) == (
        "StudyInstanceUID '1.1': 6 samples in test, train: test has Patient P5, Series 1.5.5; "
        "train has Patient P0, Series 1.5.0, Patient P1, Series 1.5.1, Patient P2, Series 1.5.2, "
        "2 more"
    )


def test_blanks_around_a_patient_id_have_no_meaning() -> None:
    ids = [f"P{n}" for n in range(20)]
    table = samples([*ids, *(f" {each} " for each in ids)])
    found = assign_splits(table, SplitSettings(fractions=THREE))
    assert found["patient"].to_pylist() == ids * 2 and find_leaks(found) == []
    with pytest.raises(DataError, match="its Patient is unknown"):
        assign_splits(samples(["  "]), SplitSettings(fractions=THREE))


def test_patient_ids_that_differ_only_in_case_are_a_leak() -> None:
    table = samples(["p1 ", "P1", "P2"], part=["train", "test", "train"])
    assert find_leaks(table) == [Leak("PatientID", "P1", ("test", "train"), 2)]


def test_samples_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(DataError, match="its Patient is unknown"):
        assign_splits(samples(["P1", None]), SplitSettings(fractions=THREE))  # type: ignore[list-item]
    stratified = SplitSettings(fractions=THREE, stratify=("Manufacturer",))
    with pytest.raises(UnknownName, match="no column 'Manufacturer'"):
        assign_splits(samples(["P1"]).drop_columns(["Manufacturer"]), stratified)
