"""What all formats have in common."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets.datasets.declaration import FORMATS
from tcia_assets.errors import StorageError, UnknownName
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    MEMBERS,
    build,
    example_info,
)
from tcia_assets_tests.datasets.formats.written import files_below


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_same_samples_give_the_same_bytes_again(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    formats.write(name, first, build(first), example_info())
    samples = build(second)
    # In another order, and over the files of an earlier build.
    shuffled = samples.take(list(reversed(range(len(samples)))))
    formats.write(name, second, samples, example_info())
    if name not in {"nifti", "croissant"}:
        (second / name / "left-over").write_text("of a build that died")
    os.utime(second / "images" / f"{KEPT[0].uid}.nii.gz", (1, 1))
    formats.write(name, second, shuffled, example_info())
    assert files_below(first) == files_below(second)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"croissant"}))
def test_dropped_samples_are_in_no_format(tmp_path: Path, samples: pa.Table, name: str) -> None:
    dropped = [member.uid for member in MEMBERS if not member.is_kept]
    formats.write(name, tmp_path, samples, example_info())
    for path in tmp_path.rglob("*"):
        assert not [uid for uid in dropped if uid in path.name]
        if path.is_file() and path.name != "samples.parquet":
            content = path.read_bytes()
            assert not [uid for uid in dropped if uid.encode() in content]


def test_an_unknown_format_is_refused(tmp_path: Path, samples: pa.Table) -> None:
    with pytest.raises(UnknownName, match="did you mean 'nnunet'"):
        formats.write("nnUNet", tmp_path, samples, example_info())


@pytest.mark.parametrize("name", ["nnunet", "webdataset", "huggingface"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, samples: pa.Table, name: str) -> None:
    (tmp_path / "images" / f"{KEPT[0].uid}.nii.gz").unlink()
    with pytest.raises(StorageError, match=rf"{name}: .*{KEPT[0].uid}.nii.gz: No such file"):
        formats.write(name, tmp_path, samples, example_info())
