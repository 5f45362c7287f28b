"""The code that docs/datasets.md shows runs as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import card, formats
from tcia_assets.datasets.frame.png import write_png
from tcia_assets.datasets.samples import SAMPLES_OF_FRAMES
from tcia_assets_tests.datasets.example_dataset import KEPT, LABELS, build, example_info, from_torch
from tcia_assets_tests.repository import ROOT

DOCS = ROOT / "docs" / "datasets.md"


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the snippet that contains a text, beside a built dataset, and return its variables."""
    root = tmp_path / "data" / "datasets" / "lung_ct" / "abc"
    samples = build(root)
    chosen = example_info(settings={"formats": ["monai", "nnunet", "huggingface"]})
    for name in chosen.settings["formats"]:
        formats.write(name, root, samples, chosen)
    card.write_card(root, samples, chosen)
    (root.parent / "latest").symlink_to("abc")
    monkeypatch.chdir(tmp_path)
    return run_snippet


def run_snippet(text: str) -> dict[str, Any]:
    """Run the snippet of the docs that contains a text, and return its variables."""
    snippets = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = [each for each in snippets if text in each]
    names: dict[str, Any] = {}
    exec(compile(snippet, str(DOCS), "exec"), names)
    return names


def write_images(root: Path) -> int:
    """Write a dataset of four images, dark and bright ones; return their number."""
    rows = []
    for number in range(4):
        row: dict[str, Any] = dict.fromkeys(SAMPLES_OF_FRAMES.names)
        row |= {"reasons": [], "findings": [], "target_series_instance_uids": [], "state": "kept"}
        row |= {"SeriesInstanceUID": f"1.{number}", "sample": f"1.{number}-0001", "part": "train"}
        row |= {"class_index": number % 2, "class_name": "bright" if number % 2 else "dark"}
        rows.append(row | {"image": f"images/1.{number}-0001.png"})
        (root / "images").mkdir(parents=True, exist_ok=True)
        pixels = np.full((16, 24), 40 + 180 * (number % 2), np.uint8)
        write_png(root / "images" / f"1.{number}-0001.png", pixels, None)
    table = pa.Table.from_pylist(rows, schema=SAMPLES_OF_FRAMES)
    pq.write_table(table, root / "samples.parquet")
    return len(rows)


def test_load_dataset(shown: Any) -> None:
    names = shown("sample = samples[0]")
    assert len(names["samples"]) == sum(member.part == "train" for member in KEPT)
    assert names["samples"].labels == LABELS
    assert (len(names["train"]), len(names["validation"])) == (1, 2)


@pytest.mark.filterwarnings("ignore")
def test_pytorch(shown: Any) -> None:
    from_torch("torch")
    names = shown("class Volumes")
    ((volumes, labels),) = list(names["loader"])
    assert (volumes.shape, labels.shape) == ((1, 1, 8, 40, 48), (1, 8, 40, 48))


@pytest.mark.filterwarnings("ignore")
def test_monai(shown: Any) -> None:
    from_torch("monai")
    (batch,) = list(shown("load_decathlon_datalist")["loader"])
    assert batch["image"].shape == batch["label"].shape == (1, 1, 32, 32, 8)


def test_hugging_face(shown: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    names = shown("import datasets")
    assert names["image"].shape == (48, 40, 8)


def test_the_number_of_the_nnunet_dataset_is_right() -> None:
    from tcia_assets.datasets.formats import nnunet

    numbers = set(re.findall(r"(?:-d |train |Dataset)([0-9]{3})", DOCS.read_text(encoding="utf-8")))
    assert numbers == {str(nnunet.number("lung_ct"))}


@pytest.mark.filterwarnings("ignore")
def test_pytorch_classifies_two_dimensional_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_torch("torch")
    import torch

    root = tmp_path / "data"
    samples = write_images(root / "datasets" / "breasts" / "abc")
    (root / "datasets" / "breasts" / "latest").symlink_to("abc")
    monkeypatch.chdir(tmp_path)
    (batch,) = list(run_snippet("class Images")["images"])
    pixels, classes = batch
    assert pixels.shape == (samples, 1, 16, 24) and float(pixels.max()) <= 1
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * 24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(model(pixels), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(pixels).argmax(dim=1) == classes).all()
