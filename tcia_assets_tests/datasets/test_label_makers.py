"""The masks of kept samples are grouped by who made them, and models are named as such."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets import card
from tcia_assets.datasets.label_makers import LabelMaker, label_makers
from tcia_assets_tests.datasets.example_dataset import build, derived_masks, example_info


def maker(algorithms: str = "", descriptions: tuple[str, ...] = ()) -> LabelMaker:
    return LabelMaker(descriptions, 1, "a", "m", "m", algorithms, "", "", "", "")


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
    info = example_info(
        masks=derived_masks(analysis_result_id="model_x", SeriesInstanceUID="1.9.8")
    )
    assert label_makers(build(tmp_path), info) == []
