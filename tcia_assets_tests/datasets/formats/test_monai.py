"""The MONAI datalist, by MONAI's own loader and by its rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tcia_assets.datasets import formats
from tcia_assets_tests.datasets.example_dataset import (
    KEPT,
    MEMBERS,
    SPLITS,
    build,
    example_info,
    from_torch,
    labels_of,
    voxels_of,
)
from tcia_assets_tests.datasets.formats.written import array, written

# For readers that need torch, which the tests' environment lacks: see docs/datasets.md.
heavy = pytest.mark.filterwarnings("ignore")


def test_the_lists_name_existing_files(tmp_path: Path, samples: pa.Table) -> None:
    # monai itself needs torch: `load_decathlon_datalist` joins the list's folder and these paths.
    formats.write("monai", tmp_path, samples, example_info())
    listed = written(tmp_path, "monai/datalist.json")
    assert listed["labels"] == {"0": "background", "1": "lung", "2": "tumour"}
    assert listed["modality"] == {"0": "CT"}
    assert (listed["numTraining"], listed["numTest"]) == (3, 1)
    for part, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        items = listed[name]
        assert [item["SeriesInstanceUID"] for item in items] == SPLITS[part]
        for item in items:
            assert item["part"] == part
            member = next(m for m in KEPT if m.uid == item["SeriesInstanceUID"])
            assert item.get("fold") == member.fold
            assert item["patient"] == member.patient
            monai = tmp_path / "monai"
            assert np.array_equal(array((monai / item["image"]).resolve()), voxels_of(member))
            assert np.array_equal(array((monai / item["label"]).resolve()), labels_of(member))


@heavy
def test_monai_loads_its_lists(tmp_path: Path, samples: pa.Table) -> None:
    from_torch("monai")
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    formats.write("monai", tmp_path, samples, example_info())
    for part, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        items = load_decathlon_datalist(tmp_path / "monai" / "datalist.json", data_list_key=name)
        assert [item["SeriesInstanceUID"] for item in items] == SPLITS[part]
        for item in items:
            member = next(m for m in KEPT if m.uid == item["SeriesInstanceUID"])
            loaded = LoadImaged(keys=["image", "label"])(item)
            assert np.array_equal(np.asarray(loaded["image"]).T, voxels_of(member))
            assert np.array_equal(np.asarray(loaded["label"]).T, labels_of(member))


def test_an_empty_list_is_left_out(tmp_path: Path) -> None:
    members = tuple(member for member in MEMBERS if member.part == "train")
    formats.write(
        "monai", tmp_path, build(tmp_path, members, labelled=False), example_info(labels={})
    )
    listed = written(tmp_path, "monai/datalist.json")
    assert not {"validation", "test", "labels"} & set(listed)
    assert all("label" not in item for item in listed["training"])
