"""Metadata of datasets as Dagster shows it."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.defs.dataset_metadata import (
    as_texts,
    code_block,
    column_schema,
    sample_counts,
    table,
)


def test_samples_are_counted_by_state_and_the_kept_ones_by_split_and_licence() -> None:
    samples = pa.table(
        {
            "state": ["kept", "kept", "dropped"],
            "part": ["train", "test", "train"],
            "LicenseName": ["CC BY 4.0", None, "CC BY 4.0"],
        }
    )
    counts = sample_counts(samples)

    assert (counts["dagster/row_count"], counts["kept"], counts["dropped"]) == (3, 2, 1)
    assert [record.data for record in counts["parts"].records] == [
        {"part": "test", "samples": 1},
        {"part": "train", "samples": 1},
    ]
    assert [record.data["licence"] for record in counts["licences"].records] == [
        "CC BY 4.0",
        "None",
    ]


def test_a_long_text_is_cut_after_twenty_lines() -> None:
    lines = code_block("\n".join(map(str, range(25)))).value.splitlines()

    assert lines == ["```", *map(str, range(20)), "... and 5 more", "```"]


def test_no_rows_are_a_text_and_values_of_any_type_are_texts() -> None:
    assert table([]).value == "none"
    assert as_texts(pa.table({"a": [None, 1.5]})) == [{"a": "None"}, {"a": "1.5"}]


def test_a_schema_keeps_types_and_nullability() -> None:
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False), ("b", pa.string())])
    columns = column_schema(schema).columns

    assert [(c.name, c.type, c.constraints.nullable) for c in columns] == [
        ("a", "int64", False),
        ("b", "string", True),
    ]
