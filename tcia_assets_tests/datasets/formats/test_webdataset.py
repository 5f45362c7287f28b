"""WebDataset shards, read back by webdataset."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets.datasets.formats import webdataset
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    LABELS,
    SPLITS,
    example_info,
    labels_of,
    voxels_of,
)


def left_open(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test of which a library leaves files open that it has read."""
    quiet = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    # They are closed before another test is blamed for them.
    closed: Callable[..., None] = pytest.mark.usefixtures("files_left_open")(quiet(test))
    return closed


def read_shards(folder: Path, part: str) -> list[dict[str, Any]]:
    import webdataset as wds

    urls = [str(path) for path in sorted(folder.glob(f"{part}-*.tar"))]
    return list(wds.WebDataset(urls, shardshuffle=False, empty_check=False))


@left_open
def test_webdataset_reads_the_shards(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("webdataset", tmp_path, samples, example_info())
    for part, uids in SPLITS.items():
        read = {
            json.loads(s["json"])["SeriesInstanceUID"]: s
            for s in read_shards(tmp_path / "webdataset", part)
        }
        assert sorted(read) == uids
        for member in KEPT:
            if member.part != part:
                continue
            sample = read[member.uid]
            assert sample["__key__"] == member.uid.replace(".", "_")
            for suffix, expected in (("image", voxels_of(member)), ("label", labels_of(member))):
                image = nibabel.Nifti1Image.from_bytes(gzip.decompress(sample[f"{suffix}.nii.gz"]))
                assert np.array_equal(np.asanyarray(image.dataobj).T, expected)
            told = json.loads(sample["json"])
            assert told["part"] == part
            assert told.get("fold") == member.fold
            assert set(told["label_voxels"]) == set(LABELS.values())
            assert told["findings"][0]["numbers"] == {"degrees": 3.5}


def test_shard_members_have_no_time_and_no_owner(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("webdataset", tmp_path, samples, example_info())
    with tarfile.open(tmp_path / "webdataset" / "train-000000.tar") as shard:
        facts_of = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in shard}
    assert facts_of == {(0, 0, 0, "", "", 0o644)}


@left_open
def test_a_full_shard_is_followed_by_the_next(tmp_path: Path, samples: pa.Table) -> None:
    size = samples["image_bytes"][0].as_py() + samples["label_bytes"][0].as_py()
    webdataset.write(tmp_path, KeptSamples.of(samples), example_info(), max_bytes=2 * size + 100)
    folder = tmp_path / "webdataset"
    shards = sorted(path.name for path in folder.glob("train-*"))
    assert shards == ["train-000000.tar", "train-000001.tar"]
    uids = [json.loads(s["json"])["SeriesInstanceUID"] for s in read_shards(folder, "train")]
    assert sorted(uids) == SPLITS["train"]
    assert uids == sorted(uids, key=lambda uid: hashlib.sha256(uid.encode()).digest())
