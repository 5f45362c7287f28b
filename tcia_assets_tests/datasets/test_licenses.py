"""The licences of a dataset, the strictest first."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tcia_assets.datasets.licenses import License, attribution_table
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    build,
    example_info,
)


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


def test_the_stricter_licence_comes_first() -> None:
    ordered = [
        "",
        "Ask the PI",
        "CC BY-NC-ND 4.0",
        "CC BY-NC-SA 3.0",
        "Creative Commons Attribution-NonCommercial 4.0 International License",
        "CC BY-ND 4.0",
        "CC BY-SA 4.0",
        "CC BY 4.0",
        "CC0 1.0",
    ]
    strictness = [License(name, "", 1, ()).strictness for name in ordered]
    assert strictness == sorted(set(strictness), reverse=True)


def test_a_licence_without_a_name_is_recognized_by_its_address() -> None:
    address = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
    assert License("", address, 1, ()).short == "cc-by-nc-sa-4.0"


def test_dropped_samples_and_unused_masks_are_not_attributed(
    tmp_path: Path, samples: pa.Table
) -> None:
    table = attribution_table(samples, example_info())
    assert pc.sum(table["series"]).as_py() == len(KEPT) + 1
    alone = attribution_table(build(tmp_path, labelled=False), example_info())
    assert "Drawn by Others" not in alone["Collection"].to_pylist()
