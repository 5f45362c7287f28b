"""Metadata of datasets as Dagster shows it."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from tcia_assets.defs.dataset_metadata import (
    as_texts,
    card_and_picture,
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


def test_the_card_has_its_picture_and_no_front_matter(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "contact_sheet.png")
    text = "---\nlicense: cc0\n---\n# Lungs\n\n![Slices](contact_sheet.png)\n\n---\nend\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    facts = card_and_picture(tmp_path)
    card, sheet = facts["card"].value, facts["contact_sheet"].value
    assert card.startswith("# Lungs") and card.endswith("---\nend\n")
    assert sheet in card and len(sheet) < 50_000
    shown = Image.open(BytesIO(b64decode(sheet.partition("base64,")[2].removesuffix(")"))))
    assert (shown.format, shown.size) == ("JPEG", (840, 630))


def test_a_card_without_a_picture_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Empty\n", encoding="utf-8")
    assert {name: fact.value for name, fact in card_and_picture(tmp_path).items()} == {
        "card": "# Empty\n"
    }
