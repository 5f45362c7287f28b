"""The store of finished samples: a sample is there as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.datasets.sample_store import (
    IMAGE,
    keep_samples,
    read_samples,
    remove_drafts,
    sample_draft,
    sample_path,
    store_samples,
)

ROWS = [{"sample": "1.2", "findings": [], "image_bytes": 3}]


def add(store: Path, key: str, content: bytes = b"abc") -> None:
    with sample_draft(store) as draft:
        sample_path(draft, IMAGE, "1.2").write_bytes(content)
        store_samples(store, key, draft, ROWS)


def test_a_stored_sample_is_read_back(tmp_path: Path) -> None:
    add(tmp_path, "a")
    assert read_samples(tmp_path, "a") == ROWS
    assert sample_path(tmp_path / "a", IMAGE, "1.2").read_bytes() == b"abc"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_sample_with_a_missing_or_truncated_file_is_not_there(tmp_path: Path) -> None:
    add(tmp_path, "a")
    sample_path(tmp_path / "a", IMAGE, "1.2").write_bytes(b"ab")
    assert read_samples(tmp_path, "a") is None
    sample_path(tmp_path / "a", IMAGE, "1.2").unlink()
    assert read_samples(tmp_path, "a") is None
    (tmp_path / "a" / "samples.json").write_text("[]")
    assert read_samples(tmp_path, "a") is None
    assert read_samples(tmp_path, "b") is None
    add(tmp_path, "a")
    assert read_samples(tmp_path, "a") == ROWS


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
