"""A dataset with two channels in all formats, each read by its own library."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets import load_dataset
from tcia_assets.datasets import formats, prune
from tcia_assets.datasets.build import BuildResult, build
from tcia_assets.datasets.cohort_lock import cohort_lock_path, freeze_cohort
from tcia_assets.datasets.declaration import FORMATS, Declaration
from tcia_assets.datasets.formats import nnunet
from tcia_assets.datasets.sample_table import SamplesResult, check_samples
from tcia_assets.datasets.samples import SAMPLES_WITH_CHANNELS, kept_samples
from tcia_assets.datasets.summary import summarize
from tcia_assets.errors import DatasetRefused
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.conftest import LEFT_OUT
from tcia_assets_tests.datasets.example_channels import FLUID, T1, declared, series_of
from tcia_assets_tests.datasets.example_dataset import example_info, from_torch
from tcia_assets_tests.datasets.formats.written import written

OF_VOLUMES = [name for name in FORMATS if name != "imagefolder"]
ALL = ("formats: [nifti]", f"formats: [{', '.join(OF_VOLUMES)}]")


def built(declaration: Declaration, warehouse: Warehouse) -> BuildResult:
    lock = cohort_lock_path(warehouse, declaration.name)
    cohort, _ = freeze_cohort(declaration, warehouse, lock, update=True)
    return build(declaration, cohort, warehouse, workers=2)


@pytest.fixture(scope="module")
def result(sarcoma_root: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """Return the dataset in all formats."""
    root = tmp_path_factory.mktemp("channels")
    shutil.copytree(sarcoma_root, root, ignore=LEFT_OUT, dirs_exist_ok=True)
    return built(declared(ALL), Warehouse(root))


@pytest.fixture
def warehouse(result: BuildResult) -> Warehouse:
    return Warehouse(result.folder.parents[2])


def array(path: Path) -> Any:
    return np.asanyarray(nibabel.load(path).dataobj)


def test_each_case_has_both_channels_on_one_grid(result: BuildResult, warehouse: Warehouse) -> None:
    assert result.samples.schema.equals(SAMPLES_WITH_CHANNELS)
    assert pq.read_table(result.folder / "samples.parquet").equals(result.samples)
    fluid = dict(zip(series_of(warehouse, T1), series_of(warehouse, FLUID), strict=True))
    assert len(fluid) == 4
    for row in result.samples.to_pylist():
        assert row["state"] == "kept"
        t1, other = row["channels"]
        assert (t1["is_reference"], t1["SeriesInstanceUID"]) == (True, row["SeriesInstanceUID"])
        assert other["SeriesInstanceUID"] == fluid[row["SeriesInstanceUID"]]
        assert t1["image"] == row["image"] == f"images/{row['sample']}_t1.nii.gz"
        for each in (t1, other):
            assert each["Modality"] == "MR"
            image = nibabel.load(result.folder / each["image"])
            assert list(image.shape) == row["shape"]
            assert np.allclose(image.affine, np.reshape(row["affine"], (4, 4)), atol=1e-4)
            assert result.version.files[each["image"]].sha256 == each["image_sha256"]
        # Both show the same body: its voxels are brighter than the air in both.
        body = array(result.folder / row["label"]) > 0
        for each in (t1, other):
            values = array(result.folder / each["image"])
            assert values[body].mean() > 3 * values[~body].mean()


def test_the_loader_has_all_channels(result: BuildResult) -> None:
    for sample in load_dataset(result.folder):
        assert list(sample.channels) == ["t1", "fluid"]
        assert sample.channels["t1"] is sample.voxels
        assert sample.labels is not None
        assert sample.channels["fluid"].shape == sample.labels.shape


def test_nnunet_has_a_file_for_each_channel(result: BuildResult) -> None:
    (folder,) = (result.folder / "nnunet").iterdir()
    about = written(folder, "dataset.json")
    assert about["channel_names"] == {"0": "t1", "1": "fluid"}
    for sample in load_dataset(result.folder, "train"):
        for number, name in enumerate(sample.channels):
            path = folder / "imagesTr" / f"{sample.name}_{number:04}.nii.gz"
            assert path.samefile(result.folder / "images" / f"{sample.name}_{name}.nii.gz")


def test_monai_has_a_list_of_images(result: BuildResult) -> None:
    listed = written(result.folder, "monai/datalist.json")
    assert listed["modality"] == {"0": "t1", "1": "fluid"}
    for item in (*listed["training"], *listed["test"]):
        for path, name in zip(item["image"], ("t1", "fluid"), strict=True):
            file = (result.folder / "monai" / path).resolve()
            assert file.name == f"{item['SeriesInstanceUID']}_{name}.nii.gz" and file.is_file()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_has_a_member_for_each_channel(result: BuildResult) -> None:
    import webdataset as wds

    (shard,) = (result.folder / "webdataset").glob("train-*.tar")
    for read in wds.WebDataset([str(shard)], shardshuffle=False):
        row = json.loads(read["json"])
        for channel in row["channels"]:
            image = gzip.decompress(read[f"image_{channel['name']}.nii.gz"])
            found = np.asanyarray(nibabel.Nifti1Image.from_bytes(image).dataobj)
            assert np.array_equal(found, array(result.folder / channel["image"]))


def test_hugging_face_has_a_column_for_each_channel(
    result: BuildResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(result.folder), cache_dir=str(tmp_path))
    rows = loaded["train"].cast_column("image_fluid", datasets.Nifti())
    assert "image" not in rows.column_names and "image_t1" in rows.column_names
    for row in rows:
        path = result.folder / "images" / f"{row['SeriesInstanceUID']}_fluid.nii.gz"
        assert np.array_equal(np.asanyarray(row["image_fluid"].dataobj), array(path))
        assert [each["name"] for each in row["channels"]] == ["t1", "fluid"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_lists_the_channels(result: BuildResult) -> None:
    import mlcroissant
    from absl import logging

    logging.get_absl_handler().python_handler.stream = sys.__stderr__
    dataset = mlcroissant.Dataset(jsonld=result.folder / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    found = {r["channels/number"]: r["channels/name"] for r in dataset.records("channels")}
    assert found == {0: "t1", 1: "fluid"}


def test_lists_licences_and_what_is_kept_have_the_series_of_all_channels(
    result: BuildResult, warehouse: Warehouse
) -> None:
    both = {*series_of(warehouse, T1), *series_of(warehouse, FLUID)}
    listed = (result.folder / "retriever" / "sarcomas.csv").read_text().split()[1:]
    masks = {
        uid for row in result.samples.to_pylist() for uid in row["target_series_instance_uids"]
    }
    assert {*listed} == both | masks
    assert {*prune.series_in_use(warehouse)} == both | masks
    assert f"| {len(both | masks)} |" in (result.folder / "README.md").read_text()


def test_the_modalities_of_all_channels_are_shown(result: BuildResult, tmp_path: Path) -> None:
    rows = result.samples.to_pylist()
    for row in rows:
        for channel in row["channels"] or ():
            if channel["name"] == "fluid":
                channel["Modality"] = "PT"
    samples = pa.Table.from_pylist(rows, schema=result.samples.schema)
    kept = kept_samples(samples).num_rows
    found = {each["the value"]: each["in total"] for each in summarize(samples)["modalities"]}
    assert found == {"MR": kept, "PT": kept}
    formats.write("monai", tmp_path, samples, example_info(splits=("train", "test")))
    datalist = json.loads((tmp_path / "monai" / "datalist.json").read_text())
    items = [*datalist["training"], *datalist["test"]]
    assert [item["Modality"] for item in items] == [["MR", "PT"]] * kept


def test_the_card_says_what_each_channel_is(result: BuildResult) -> None:
    card = (result.folder / "README.md").read_text(encoding="utf-8")
    assert "| 1 | `fluid` | MR | stored | int16 | 4 | 0 |" in card
    assert "- mr\n" in card.split("---")[1]
    assert "4 cases of 4 Patients" in card and "each with the channels `t1` and `fluid`" in card


def test_equal_pixels_of_any_channel_in_two_splits_are_a_leak(result: BuildResult) -> None:
    rows = result.samples.to_pylist()
    train, test = (next(r for r in rows if r["part"] == part) for part in ("train", "test"))
    copied = train["channels"][1]["pixel_sha256"]
    test["channels"][1]["pixel_sha256"] = copied
    table = result.samples.from_pylist(rows, schema=result.samples.schema)
    with pytest.raises(DatasetRefused, match=f"pixel_sha256 '{copied}'"):
        check_samples(declared(), SamplesResult(table, {}, 0, 0))


def test_pytorch_trains_an_epoch_of_nnunet(result: BuildResult, tmp_path: Path) -> None:
    from_torch("nnunetv2")
    raw = result.folder / "nnunet"
    command = [sys.executable, str(Path(__file__).with_name("nnunet_epoch.py")), str(raw)]
    number = str(nnunet.number(result.version.name))
    ended = subprocess.run(
        [*command, str(tmp_path), number], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = dict(line.rsplit(" ", 1) for line in ended.stdout.splitlines()[-2:])
    assert told["channels"] == "2"
    assert np.isfinite(float(told["loss"]))


@pytest.mark.filterwarnings("ignore")
def test_monai_stacks_the_channels(result: BuildResult) -> None:
    from_torch("monai")
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    items = load_decathlon_datalist(result.folder / "monai" / "datalist.json", data_list_key="test")
    for item in items:
        loaded = LoadImaged(keys=["image", "label"])(item)
        assert loaded["image"].shape == (2, *loaded["label"].shape)
        fluid = array(result.folder / "images" / f"{item['SeriesInstanceUID']}_fluid.nii.gz")
        assert np.array_equal(np.asarray(loaded["image"][1]), fluid)
