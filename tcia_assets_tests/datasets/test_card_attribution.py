"""The card names who made the labels, the licences and what to cite, as plain text."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from huggingface_hub import DatasetCard

from tcia_assets.datasets import card
from tcia_assets.datasets.label_makers import label_makers
from tcia_assets.metadata.publications import PUBLICATIONS
from tcia_assets_tests.datasets.example_dataset import (
    MASK,
    NON_COMMERCIAL,
    ExampleSample,
    build,
    derived_masks,
    example_info,
)

NASTY = "Model | <b>*x*</b>"


def test_a_single_licence_is_named_alone(tmp_path: Path) -> None:
    members = (ExampleSample(1, "train", "A", 0, **NON_COMMERCIAL),)
    chosen = example_info(
        masks=example_info().masks.slice(0, 0), settings={"formats": ["nifti"]}, labels={}
    )
    samples = build(tmp_path, members, labelled=False)
    card.write_card(tmp_path, samples, chosen)
    told = DatasetCard.load(tmp_path / "README.md").data
    assert told.license == "cc-by-nc-3.0"
    assert told.task_categories == ["other"]
    assert "configs" not in told.to_dict()
    assert "**Licence: Creative Commons Attribution-NonCommercial 3.0" in card.readme(
        samples, chosen
    )


def test_hostile_names_stay_text_in_the_card(tmp_path: Path) -> None:
    samples = build(tmp_path)
    chosen = {"analysis_result_id": NASTY, "SeriesDescription": NASTY, "Manufacturer": NASTY}
    published = {"doi": "10.7937/drawn", "title": NASTY, "citation": NASTY}
    info = example_info(
        masks=derived_masks(**chosen), publications=pa.Table.from_pylist([published], PUBLICATIONS)
    )
    (found,) = label_makers(samples, info)
    assert (found.analysis, found.title, found.series) == (NASTY, NASTY, 1)
    assert MASK in info.masks["SeriesInstanceUID"].to_pylist()
    text = card.readme(samples, info)
    assert "**1 of 1 Series of masks were made from the images by others.**" in text
    assert "Model \\| &lt;b&gt;\\*x\\*&lt;/b&gt;" in text
    assert "| <b>*x*" not in text
