"""The card of a dataset says what is in it, whatever its title and its makers are called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from PIL import Image

from tcia_assets.datasets import card, contact_sheet, formats
from tcia_assets.datasets.licenses import License, attribution_table
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    MEMBERS,
    NON_COMMERCIAL,
    TITLE,
    ExampleSample,
    build,
    example_info,
    labels_of,
    voxels_of,
)

SETTINGS: dict[str, Any] = {"formats": ["nifti", "nnunet", "huggingface"], "title": TITLE}
ONE_LINE = " ".join(TITLE.split())
PARTS = {
    part: [member.uid for member in KEPT if member.part == part]
    for part in ("train", "val", "test")
}


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


# --- README.md ------------------------------------------------------------------------------------


def text_of(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def tables_in(text: str) -> list[list[list[str]]]:
    """The cells of each table as a reader sees them."""
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
    # The strictest first: of one Series no licence is told.
    assert told.license == ["other", "cc-by-nc-3.0", "cc-by-3.0", "cc-by-4.0"]
    assert told.task_categories == ["image-segmentation"]
    assert told.size_categories == ["n<1K"]
    (config,) = told.to_dict()["configs"]
    assert [files["split"] for files in config["data_files"]] == ["train", "val", "test"]


def test_one_licence_is_one_licence(tmp_path: Path) -> None:
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
    assert "**The licence is: Creative Commons Attribution-NonCommercial 3.0" in text_of(tmp_path)


def test_whatever_the_title_and_the_makers_are_called_it_stays_a_text(
    tmp_path: Path, samples: pa.Table
) -> None:
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
        ["none told", "1", "0", "0", "1"],
    ]


def test_the_card_tells_how_to_build_it_again_and_whom_to_cite(
    tmp_path: Path, samples: pa.Table
) -> None:
    chosen = example_info(settings=SETTINGS)
    card.write_card(tmp_path, samples, chosen)
    text = text_of(tmp_path)
    assert "tcia-assets dataset build lung_ct --locked" in text
    for word in (chosen.policy, chosen.cohort_sha256, "(contact_sheet.png)", "numpy 2.4.6"):
        assert word in text
    for name in ("README.md", "LICENSES.md", "CITATION.cff", "CITATIONS.bib"):
        # The mask is cited too: others than the images' have drawn it.
        assert "10.7937/drawn" in (tmp_path / name).read_text(encoding="utf-8")
        assert "10.7937/K9/TCIA.2015.PF0M9REI" in (tmp_path / name).read_text(encoding="utf-8")
    assert "bytes as NIfTI" in (tmp_path / "LICENSES.md").read_text(encoding="utf-8")


def test_a_dataset_of_which_nothing_is_kept_has_a_card(tmp_path: Path) -> None:
    members = tuple(member for member in MEMBERS if not member.is_kept)
    card.write_card(tmp_path, build(tmp_path, members), example_info(settings=SETTINGS))
    assert "Left out, for the reasons below: 2 Series" in text_of(tmp_path)
    assert not (tmp_path / contact_sheet.NAME).exists()
    assert not (tmp_path / "LICENSES.md").exists()


# --- Numbers --------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_samples(samples: pa.Table) -> None:
    numbers = card.summary(samples, ("train", "val", "test"))
    assert set(numbers) == set(card.TITLES)
    assert [(r["part"], r["patients"], r["kept"], r["dropped"]) for r in numbers["parts"]] == [
        ("train", 2, 3, 0),
        ("val", 1, 1, 0),
        ("test", 1, 1, 1),
        ("none", 0, 0, 1),
    ]
    total = sum(pc.sum(samples[f"{kind}_bytes"]).as_py() for kind in ("image", "label"))
    assert sum(int(record["bytes"]) for record in numbers["parts"]) == total
    assert [(r["what is told"], r["in all"]) for r in numbers["ages"]] == [
        ("0-17", 1),
        ("18-39", 1),
        ("60-79", 2),
        ("none told", 1),
    ]
    voxels = sum(np.count_nonzero(labels_of(member) == 2) for member in KEPT)
    assert {"label": "tumour", "samples with it": 5, "voxels": voxels} in numbers["labels"]
    assert numbers["quality"] == [
        {"code": "gantry_tilt", "policy": "keep", "samples": 7, "kept": 5, "dropped": 2},
        {"code": "missing_slice", "policy": "drop", "samples": 2, "kept": 0, "dropped": 2},
    ]


def test_a_part_without_samples_is_shown_as_that(tmp_path: Path) -> None:
    numbers = card.summary(build(tmp_path, (ExampleSample(1, "train", "A", 0),)), ("train", "test"))
    assert [(r["part"], r["kept"]) for r in numbers["parts"]] == [("train", 1), ("test", 0)]


@pytest.mark.parametrize(
    ("age", "group"),
    [
        ("000Y", "0-17"),
        ("017Y", "0-17"),
        ("018Y", "18-39"),
        ("010D", "0-17"),
        ("020W", "0-17"),
        ("300M", "18-39"),
        ("080Y", "80 and more"),
        (None, "none told"),
        ("  ", "none told"),
        ("sixty", "sixty"),
    ],
)
def test_ages_are_grouped_by_years(tmp_path: Path, age: str | None, group: str) -> None:
    numbers = card.summary(build(tmp_path, (ExampleSample(1, "train", "A", 0, age=age),)))
    assert [record["what is told"] for record in numbers["ages"]] == [group]


# --- Licences -------------------------------------------------------------------------------------


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


def test_a_licence_without_a_name_is_known_by_its_address() -> None:
    address = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
    assert License("", address, 1, ()).short == "cc-by-nc-sa-4.0"


def test_dropped_samples_and_masks_without_an_image_ask_nothing(
    tmp_path: Path, samples: pa.Table
) -> None:
    table = attribution_table(samples, example_info())
    assert pc.sum(table["series"]).as_py() == len(KEPT) + 1
    alone = attribution_table(build(tmp_path, labelled=False), example_info())
    assert "Drawn by Others" not in alone["Collection"].to_pylist()


# --- Contact sheet --------------------------------------------------------------------------------


def panel(root: Path) -> Any:
    """The picture of the only sample, as colours."""
    pixels = np.asarray(Image.open(root / contact_sheet.NAME).convert("RGB")).astype(int)
    left, top = (
        contact_sheet._GAP,
        pixels.shape[0] - contact_sheet._SIDE - 2 * contact_sheet._LINE - contact_sheet._GAP - 6,
    )
    return pixels[top : top + contact_sheet._SIDE, left : left + contact_sheet._SIDE]


def centre(pixels: Any, color: tuple[int, int, int]) -> tuple[float, float]:
    """Across and down, from 0 to 1, of what has a label's own colour: its edges."""
    down, across = np.nonzero((pixels == color).all(axis=2))
    assert len(across)
    return across.mean() / pixels.shape[1], down.mean() / pixels.shape[0]


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI", "PSR", "SLP", "IRA"])
def test_the_patients_right_is_at_the_left_and_his_front_on_top(
    tmp_path: Path, orientation: str
) -> None:
    samples = build(tmp_path, (ExampleSample(1, "train", "A", 0),), orientation=orientation)
    assert contact_sheet.write_contact_sheet(tmp_path, samples, example_info())
    across, down = centre(panel(tmp_path), contact_sheet._color(2))
    # The tumour lies at x = 14 of 48 and y = 13 of 40, as LPS counts.
    assert across == pytest.approx(14.5 / 48, abs=0.02)
    assert 0.3 < down < 0.42


def test_a_slice_is_shown_in_millimetres(tmp_path: Path) -> None:
    stretched = AFFINE @ np.diag([1.0, 2.0, 1.0, 1.0])
    samples = build(tmp_path, (ExampleSample(1, "train", "A", 0),), affine=stretched)
    contact_sheet.write_contact_sheet(tmp_path, samples, example_info())
    # Above the letters at its sides.
    columns = np.flatnonzero(panel(tmp_path)[:100].any(axis=(0, 2)))
    # 48 pixels of 0.8 mm across, 40 of 1.6 mm down.
    assert (np.ptp(columns) + 1) / contact_sheet._SIDE == pytest.approx(48 / 80, abs=0.01)


def test_the_same_samples_give_the_same_picture(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        samples = build(tmp_path / name)
        contact_sheet.write_contact_sheet(
            tmp_path / name, samples.take([3, 1, 0, 2, 4, 5, 6]), example_info()
        )
        digests.add(hashlib.sha256((tmp_path / name / contact_sheet.NAME).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_each_part_is_in_the_picture(samples: pa.Table) -> None:
    assert [row["part"] for row in contact_sheet._chosen(samples, example_info(), 3)] == [
        "train",
        "val",
        "test",
    ]
    chosen = [row["part"] for row in contact_sheet._chosen(samples, example_info(), 4)]
    assert chosen == ["train", "train", "val", "test"]
    assert len(contact_sheet._chosen(samples, example_info(), 100)) == len(KEPT)


def test_the_slice_with_the_labels_is_shown() -> None:
    labels = np.zeros((9, 4, 4), np.uint8)
    assert contact_sheet._slice_of(labels, 9) == contact_sheet._slice_of(None, 9) == 4
    labels[6, 1, 1] = 2  # small, and all of it in one slice
    labels[:, 2:] = 1
    assert contact_sheet._slice_of(labels, 9) == 6


@pytest.mark.parametrize(
    ("member", "values", "window"),
    [
        ({}, [-1000, -800, 40, 60], "-1350 to 150 HU"),
        ({}, [-1000, -100, 40, 60], "-160 to 240 HU"),
        ({"modality": "MR", "units": "stored"}, [0, 100, 200, 300], "100 to 300"),
        ({"modality": "PT", "units": "SUVbw"}, [0.0, 1.0, 2.0, 12.0], "0 to 12 SUVbw"),
    ],
)
def test_what_is_shown_depends_on_what_was_measured(
    member: dict[str, Any], values: list[float], window: str
) -> None:
    row = {"modality": "CT", "units": "HU"} | member
    image = np.array([values] * 4, np.float32)
    assert contact_sheet._window(image, row, example_info())[1] == window
    # What was windowed when it was written is shown as a whole.
    chosen = example_info(settings={"volume": {"window": [-100, 300]}})
    low, high = contact_sheet._window(image, row, chosen)[0]
    assert (low, high) == (min(values), max(values))


def test_labels_that_are_many_have_colours_of_their_own() -> None:
    assert len({contact_sheet._color(label) for label in range(1, 41)}) == 40


# --- Hugging Face ---------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    return datasets


def test_hugging_face_loads_the_folder_by_the_card(
    tmp_path: Path, samples: pa.Table, hub: Any
) -> None:
    root = tmp_path / "dataset"
    samples = build(root)
    chosen = example_info(settings={"formats": ["huggingface"]})
    formats.write("huggingface", root, samples, chosen)
    card.write_card(root, samples, chosen)
    loaded = hub.load_dataset(str(root), cache_dir=str(tmp_path / "cache"))
    assert {split: list(rows["SeriesInstanceUID"]) for split, rows in loaded.items()} == PARTS
    rows = loaded["train"].cast_column("image", hub.Nifti()).cast_column("label", hub.Nifti())
    for row in rows:
        member = next(m for m in KEPT if m.uid == row["SeriesInstanceUID"])
        assert np.array_equal(np.asanyarray(row["image"].dataobj).T, voxels_of(member))
        assert np.array_equal(np.asanyarray(row["label"].dataobj).T, labels_of(member))
        np.testing.assert_allclose(row["image"].affine, AFFINE, atol=1e-6)
        assert row["fold"] == member.fold
        assert row["label_voxels"]["tumour"] == np.count_nonzero(labels_of(member) == 2)
        assert row["findings"][0]["code"] == "gantry_tilt"
    assert "state" not in rows.column_names
