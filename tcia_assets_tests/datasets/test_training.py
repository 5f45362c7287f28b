"""The code that docs/datasets.md shows runs as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.datasets import card, formats
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
    snippets = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

    def run(text: str) -> dict[str, Any]:
        (snippet,) = [each for each in snippets if text in each]
        names: dict[str, Any] = {}
        exec(compile(snippet, str(DOCS), "exec"), names)
        return names

    return run


def test_load_dataset(shown: Any) -> None:
    names = shown("sample = samples[0]")
    assert len(names["samples"]) == sum(member.part == "train" for member in KEPT)
    assert names["samples"].labels == LABELS
    assert (len(names["train"]), len(names["validation"])) == (1, 2)


@pytest.mark.filterwarnings("ignore")
def test_pytorch(shown: Any) -> None:
    from_torch("torch")
    names = shown("import torch")
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
