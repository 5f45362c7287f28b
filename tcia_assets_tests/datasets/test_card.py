"""The card says what is in a dataset, whatever texts its title and its columns hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from tcia_assets.datasets import card, contact_sheet
from tcia_assets_tests.datasets.example_dataset import (
    MEMBERS,
    TITLE,
    build,
    example_info,
)

SETTINGS: dict[str, Any] = {"formats": ["nifti", "nnunet", "huggingface"], "title": TITLE}
ONE_LINE = " ".join(TITLE.split())


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


def text_of(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def tables_in(text: str) -> list[list[list[str]]]:
    """Return the cells of each table, as rendered."""
    tables: list[list[list[str]]] = []
    is_cell = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and is_cell:
            tables[-1][-1].append("".join(child.content for child in token.children or []))
        is_cell = token.type in {"td_open", "th_open"}
    return tables


def test_hugging_face_reads_the_front_matter(tmp_path: Path, samples: pa.Table) -> None:
    card.write_card(tmp_path, samples, example_info(settings=SETTINGS))
    told = DatasetCard.load(tmp_path / "README.md").data
    assert told.pretty_name == ONE_LINE
    # The strictest first: one Series has no licence.
    assert told.license == ["other", "cc-by-nc-3.0", "cc-by-3.0", "cc-by-4.0"]
    assert told.task_categories == ["image-segmentation"]
    assert told.size_categories == ["n<1K"]
    (config,) = told.to_dict()["configs"]
    assert [files["split"] for files in config["data_files"]] == ["train", "val", "test"]


def test_special_characters_stay_text(tmp_path: Path, samples: pa.Table) -> None:
    card.write_card(tmp_path, samples, example_info(settings=SETTINGS))
    body = DatasetCard.load(tmp_path / "README.md").content.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    title = next(t for t in tokens if t.type == "inline")
    assert "".join(child.content for child in title.children or []) == ONE_LINE
    assert not [t for t in tokens if t.type in {"html_block", "html_inline"}]
    for table in tables_in(body):
        assert {len(line) for line in table} == {len(table[0])}
    makers = next(t for t in tables_in(body) if t[0][0] == "Manufacturer")
    assert makers[1:] == [
        ["SIEMENS", "1", "1", "1", "3"],
        ["GE | MEDICAL", "1", "0", "0", "1"],
        ["not given", "1", "0", "0", "1"],
    ]


def test_the_card_says_how_to_rebuild_and_what_to_cite(tmp_path: Path, samples: pa.Table) -> None:
    chosen = example_info(settings=SETTINGS)
    card.write_card(tmp_path, samples, chosen)
    text = text_of(tmp_path)
    assert "tcia-assets dataset build lung_ct --locked" in text
    for word in (chosen.policy, chosen.cohort_sha256, "(contact_sheet.png)", "numpy 2.4.6"):
        assert word in text
    for name in ("README.md", "LICENSES.md", "CITATION.cff", "CITATIONS.bib"):
        # The mask is cited too: it has a DOI of its own.
        assert "10.7937/drawn" in (tmp_path / name).read_text(encoding="utf-8")
        assert "10.7937/K9/TCIA.2015.PF0M9REI" in (tmp_path / name).read_text(encoding="utf-8")
    assert "bytes as NIfTI" in (tmp_path / "LICENSES.md").read_text(encoding="utf-8")


def test_a_dataset_without_kept_samples_has_a_card(tmp_path: Path) -> None:
    members = tuple(member for member in MEMBERS if not member.is_kept)
    card.write_card(tmp_path, build(tmp_path, members), example_info(settings=SETTINGS))
    assert 'for the reasons under "Findings": 2.' in text_of(tmp_path)
    assert not (tmp_path / contact_sheet.NAME).exists()
    assert not (tmp_path / "LICENSES.md").exists()
