"""Pages of built datasets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import contact_sheet, version_publishing, versions
from tcia_assets.errors import MissingExtra
from tcia_assets.pages import datasets
from tcia_assets.pages.datasets import DatasetPages
from tcia_assets.pages.folder import CatalogueFolder
from tcia_assets_tests.datasets.example_dataset import MEMBERS, build, example_info
from tcia_assets_tests.pages.html import Page


def publish(root: Path, members: Any = MEMBERS, salt: str = "one") -> versions.Version:
    """Publish a version of the synthetic dataset."""
    folder = versions.dataset_folder(root, "lung_ct")
    draft = folder / ".draft"
    draft.mkdir(parents=True)
    samples = build(draft, members)
    pq.write_table(samples, draft / versions.INDEX)
    contact_sheet.write_contact_sheet(draft, samples, example_info())
    (draft / "CITATIONS.bib").write_text("@misc{lungs}")
    split = {"salt": salt, "fractions": [["train", "1/2"], ["val", "1/4"], ["test", "1/4"]]}
    content = {
        "name": "lung_ct",
        "settings": {"title": "Lungs <b>", "split": split},
        "made_with": {},
        "cohort": {},
    }
    return version_publishing.publish(draft, folder, content, versions.list_files(draft))


def written(root: Path, tmp_path: Path) -> dict[str, Page]:
    folder = CatalogueFolder(tmp_path / "out")
    with folder.opened(root):
        count = DatasetPages(root, folder).write()
    found = {
        path.relative_to(folder.path).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.path.rglob("*.html"))
    }
    assert len(found) == count
    return found


def test_a_dataset_has_a_page_with_its_versions_and_their_difference(tmp_path: Path) -> None:
    root = tmp_path / "data"
    first = publish(root)
    second = publish(root, MEMBERS[:-3], salt="two")
    pages = written(root, tmp_path)
    page = pages["datasets/lung_ct.html"]
    assert "Lungs <b>" in page.text and not page.all("b")
    order = [page.text.index(version.version) for version in (second, first)]
    assert order == sorted(order)
    assert "~ setting split.salt: 'one' -> 'two'" in page.text
    assert "@misc{lungs}" in page.text and "CC BY 3.0" in page.text
    assert [image["src"] for image in page.all("img")] == [
        f"../datasets/lung_ct-{version.version}.png" for version in (second, first)
    ]
    assert (tmp_path / "out" / "datasets" / f"lung_ct-{first.version}.png").is_file()
    assert page.open == [] and "datasets/lung_ct.html" in pages["datasets.html"].links


def test_splits_are_in_the_order_of_the_declaration(tmp_path: Path) -> None:
    publish(tmp_path / "data")
    text = written(tmp_path / "data", tmp_path)["datasets/lung_ct.html"].text
    table = text[text.index("Splits") :]
    assert table.index("train") < table.index("val") < table.index("test")


def test_columns_have_short_names_and_sizes_have_units(tmp_path: Path) -> None:
    publish(tmp_path / "data")
    page = written(tmp_path / "data", tmp_path)["datasets/lung_ct.html"]
    assert "1 version." in page.text and "newest first" not in page.text
    assert "in total" not in page.text and "the value" not in page.text
    splits = page.text[page.text.index("Splits") : page.text.index("Labels")]
    assert "size" in splits and re.search(r"\d (B|kB|MB)", splits)


def test_pages_of_datasets_that_are_gone_are_removed(tmp_path: Path) -> None:
    version = publish(tmp_path / "data")
    assert "datasets/lung_ct.html" in written(tmp_path / "data", tmp_path)
    version_publishing.remove(version.folder)
    pages = written(tmp_path / "data", tmp_path)
    assert list(pages) == ["datasets.html"]
    assert not list((tmp_path / "out" / "datasets").iterdir())
    assert "tcia-assets dataset build NAME" in pages["datasets.html"].text


def test_a_damaged_version_says_so(tmp_path: Path) -> None:
    version = publish(tmp_path / "data")
    (version.folder / versions.INDEX).write_bytes(b"damaged")
    assert "cannot be read" in written(tmp_path / "data", tmp_path)["datasets/lung_ct.html"].text


def test_without_the_extra_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise MissingExtra("numpy", "datasets", "building and reading datasets")

    monkeypatch.setattr(datasets, "import_module", missing)
    pages = written(tmp_path / "data", tmp_path)
    assert "building and reading datasets needs 'numpy'" in pages["datasets.html"].text
