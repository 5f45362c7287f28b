"""A fingerprint is the documented hash, on every machine and in every version."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import FINGERPRINT_COLUMNS, SERIES
from tcia_assets.metadata.fingerprints import fingerprints
from tcia_assets_tests.examples import examples
from tcia_assets_tests.metadata.listings import listed


def by_hand(facts: dict[str, Any]) -> str:
    """The definition of a fingerprint in plain Python."""

    def text(known: Any) -> str:
        if isinstance(known, datetime):
            return str((known - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
        return str((known - date(1970, 1, 1)).days if isinstance(known, date) else known)

    said = [(name, text(facts[name])) for name in sorted(facts) if facts[name] is not None]
    encoded = "".join(f"{name}={len(t.encode())}:{t}" for name, t in said)
    return hashlib.md5(encoded.encode()).hexdigest()


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": st.none() | st.text(max_size=9),
        "SeriesDescription": st.none() | st.text("=:1x", max_size=9),
        "SeriesNumber": st.none() | st.integers(-(2**63), 2**63 - 1),
        "SeriesDate": st.none() | st.dates(),
        "MaxSubmissionTimestamp": st.none() | st.datetimes(timezones=st.just(UTC)),
    },
)


def table_of(*rows: dict[str, Any]) -> pa.Table:
    keyed = [{"SeriesInstanceUID": str(i)} | facts for i, facts in enumerate(rows)]
    names = sorted({name for facts in keyed for name in facts})
    schema = pa.schema([SERIES.schema.field(name).with_nullable(nullable=True) for name in names])
    return pa.Table.from_pylist(keyed, schema=schema)


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(FACTS, min_size=1, max_size=4))
def test_a_fingerprint_is_what_its_documentation_says(rows: list[dict[str, Any]]) -> None:
    made = fingerprints(table_of(*rows))
    assert made.to_pylist() == [
        {"SeriesInstanceUID": str(i), "fingerprint": by_hand(facts)} for i, facts in enumerate(rows)
    ]


def test_fingerprints_are_the_same_for_ever() -> None:
    facts = {
        "PatientID": "p1",
        "SeriesDescription": "",
        "SeriesDate": date(2003, 7, 4),
        "MaxSubmissionTimestamp": datetime(2020, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
        "ImageCount": 20,
    }
    [made] = fingerprints(table_of(facts)).to_pylist()
    assert made["fingerprint"] == "6a8591e22ccc65e58336448231387c51"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": None}, {"PatientID": ""}),
        ({"PatientID": "a", "Modality": "b"}, {"PatientID": "ab", "Modality": ""}),
        ({"PatientID": "a", "Modality": None}, {"PatientID": None, "Modality": "a"}),
        ({"ImageCount": 12, "FileSize": 3}, {"ImageCount": 1, "FileSize": 23}),
    ],
)
def test_rows_that_differ_have_fingerprints_that_differ(one: Any, other: Any) -> None:
    first, second = fingerprints(table_of(one, other))["fingerprint"].to_pylist()
    assert first != second


def test_a_column_without_values_does_not_change_a_fingerprint() -> None:
    sparse = table_of({"PatientID": "p"})
    wide = sparse.append_column("Modality", pa.nulls(1, pa.string()))
    assert fingerprints(wide).equals(fingerprints(sparse))


def test_only_kinds_with_an_exact_text_are_fingerprinted() -> None:
    kinds = {SERIES.column(name).kind.name for name in FINGERPRINT_COLUMNS}
    assert kinds <= {"uid", "text", "day", "instant", "count", "size", "whole"}


def test_fingerprints_come_in_the_order_of_the_rows() -> None:
    rows = pa.concat_tables([listed(**{f"{i * 7919 % 5000:04}": i}) for i in range(5000)])
    names = fingerprints(rows)["SeriesInstanceUID"]
    assert names.to_pylist() == rows["SeriesInstanceUID"].to_pylist()
