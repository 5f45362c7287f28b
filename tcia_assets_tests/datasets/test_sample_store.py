"""The store of finished samples: a sample is there as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.sample_store import (
    IMAGE,
    keep_samples,
    read_sample,
    remove_drafts,
    sample_draft,
    sample_path,
    store_sample,
)

ROW = {"findings": [], "image_bytes": 3}


def add(store: Path, key: str, content: bytes = b"abc") -> None:
    with sample_draft(store) as draft:
        sample_path(draft, IMAGE).write_bytes(content)
        store_sample(store, key, draft, dict(ROW))


def test_a_stored_sample_is_read_back(tmp_path: Path) -> None:
    add(tmp_path, "a")
    assert read_sample(tmp_path, "a") == ROW
    assert sample_path(tmp_path / "a", IMAGE).read_bytes() == b"abc"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_sample_with_a_missing_or_truncated_file_is_not_there(tmp_path: Path) -> None:
    add(tmp_path, "a")
    sample_path(tmp_path / "a", IMAGE).write_bytes(b"ab")
    assert read_sample(tmp_path, "a") is None
    sample_path(tmp_path / "a", IMAGE).unlink()
    assert read_sample(tmp_path, "a") is None
    (tmp_path / "a" / "sample.json").write_text("[]")
    assert read_sample(tmp_path, "a") is None
    assert read_sample(tmp_path, "b") is None
    add(tmp_path, "a")
    assert read_sample(tmp_path, "a") == ROW


def test_a_failed_sample_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        add(tmp_path / "store", "missing/a")
    assert not list((tmp_path / "store").iterdir())


def test_drafts_and_unwanted_samples_are_removed(tmp_path: Path) -> None:
    for key in ("a", "b"):
        add(tmp_path, key)
    (tmp_path / ".making-x").mkdir()
    remove_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    keep_samples(tmp_path, ["b"])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
