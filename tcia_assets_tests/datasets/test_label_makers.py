"""The masks of kept samples are grouped by who made them, and models are named as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tcia_assets.datasets import card
from tcia_assets.datasets.cohort import SERIES
from tcia_assets.datasets.label_makers import LabelMaker, label_makers
from tcia_assets.metadata.publications import PUBLICATIONS
from tcia_assets_tests.datasets.example_dataset import MASK, build, example_info, masks

NASTY = "Model | <b>*x*</b>"


def maker(algorithms: str = "", descriptions: tuple[str, ...] = ()) -> LabelMaker:
    return LabelMaker(descriptions, 1, "a", "m", "m", algorithms, "", "", "", "")


def derived(**columns: Any) -> pa.Table:
    rows = [row | columns for row in masks().to_pylist()]
    return pa.Table.from_pylist(rows, SERIES)


@pytest.mark.parametrize(
    ("algorithms", "is_model"),
    [
        ("AUTOMATIC (TotalSegmentator)", True),
        ("AUTOMATIC (a), AUTOMATIC (b)", True),
        ("AUTOMATIC (a), MANUAL", False),
        ("SEMIAUTOMATIC", False),
        ("", False),
    ],
)
def test_only_what_an_algorithm_made_alone_is_by_a_model(
    algorithms: str, *, is_model: bool
) -> None:
    assert maker(algorithms).is_model == is_model


def test_many_descriptions_are_counted() -> None:
    named = tuple(f"Segmentation of Series {number}" for number in range(5000))
    shown = maker(descriptions=named).shown_descriptions
    assert shown.endswith("Series 2; and 4,997 more")
    assert maker(descriptions=named[:1]).shown_descriptions == "Segmentation of Series 0"


def test_masks_of_the_collections_alone_have_no_makers(tmp_path: Path) -> None:
    samples = build(tmp_path)
    assert label_makers(samples, example_info()) == []
    assert "Who made the labels" not in card.readme(samples, example_info())


def test_masks_that_no_kept_sample_uses_are_not_counted(tmp_path: Path) -> None:
    info = example_info(masks=derived(analysis_result_id="model_x", SeriesInstanceUID="1.9.8"))
    assert label_makers(build(tmp_path), info) == []


def test_hostile_names_stay_text_in_the_card(tmp_path: Path) -> None:
    samples = build(tmp_path)
    chosen = {"analysis_result_id": NASTY, "SeriesDescription": NASTY, "Manufacturer": NASTY}
    published = {"doi": "10.7937/drawn", "title": NASTY, "citation": NASTY}
    info = example_info(
        masks=derived(**chosen), publications=pa.Table.from_pylist([published], PUBLICATIONS)
    )
    (found,) = label_makers(samples, info)
    assert (found.analysis, found.title, found.series) == (NASTY, NASTY, 1)
    assert MASK in info.masks["SeriesInstanceUID"].to_pylist()
    text = card.readme(samples, info)
    assert "**1 of 1 Series of masks were made from the images by others.**" in text
    assert "Model \\| &lt;b&gt;\\*x\\*&lt;/b&gt;" in text
    assert "| <b>*x*" not in text
