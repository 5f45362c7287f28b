"""Each form of a dataset is read by the library that it is for, with all that is in the samples."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import formats
from tcia_assets.datasets.declaration import FORMATS
from tcia_assets.datasets.formats import huggingface, nnunet, webdataset
from tcia_assets.datasets.formats.common import KeptSamples
from tcia_assets.errors import StorageError, UnknownName, UsageError
from tcia_assets.metadata import selection
from tcia_assets_tests.datasets.example_dataset import (
    AFFINE,
    KEPT,
    LABELS,
    MASK,
    MEMBERS,
    TITLE,
    ExampleSample,
    build,
    example_info,
    from_torch,
    labels_of,
    voxels_of,
)

PARTS = {
    part: [member.uid for member in KEPT if member.part == part]
    for part in ("train", "val", "test")
}


# They bring torch, and are not among what is installed for tests: see docs/datasets.md.
heavy = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def samples(tmp_path: Path) -> pa.Table:
    return build(tmp_path)


def written(root: Path, name: str) -> dict[str, Any]:
    return json.loads((root / name).read_text(encoding="ascii"))


def files_below(root: Path) -> dict[str, str]:
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def array(path: Path) -> Any:
    return np.asanyarray(nibabel.load(path).dataobj).T


# --- All of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_same_samples_give_the_same_bytes_again(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    formats.write(name, first, build(first), example_info())
    samples = build(second)
    # In another order, and over what an earlier build left.
    shuffled = samples.take(list(reversed(range(len(samples)))))
    formats.write(name, second, samples, example_info())
    if name not in {"nifti", "croissant"}:
        (second / name / "left-over").write_text("of a build that died")
    os.utime(second / "images" / f"{KEPT[0].uid}.nii.gz", (1, 1))
    formats.write(name, second, shuffled, example_info())
    assert files_below(first) == files_below(second)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"croissant"}))
def test_what_is_dropped_is_in_no_form(tmp_path: Path, samples: pa.Table, name: str) -> None:
    dropped = [member.uid for member in MEMBERS if not member.is_kept]
    formats.write(name, tmp_path, samples, example_info())
    for path in tmp_path.rglob("*"):
        assert not [uid for uid in dropped if uid in path.name]
        if path.is_file() and path.name != "samples.parquet":
            content = path.read_bytes()
            assert not [uid for uid in dropped if uid.encode() in content]


def test_a_form_is_called_by_its_name(tmp_path: Path, samples: pa.Table) -> None:
    with pytest.raises(UnknownName, match="did you mean 'nnunet'"):
        formats.write("nnUNet", tmp_path, samples, example_info())


@pytest.mark.parametrize("name", ["nnunet", "webdataset", "huggingface"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, samples: pa.Table, name: str) -> None:
    (tmp_path / "images" / f"{KEPT[0].uid}.nii.gz").unlink()
    with pytest.raises(StorageError, match=rf"{name}: .*{KEPT[0].uid}.nii.gz: No such file"):
        formats.write(name, tmp_path, samples, example_info())


# --- nnU-Net --------------------------------------------------------------------------------------


def nnunet_folder(root: Path) -> Path:
    (folder,) = (root / "nnunet").iterdir()
    return folder


def cases(folder: Path, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(ending) for path in folder.iterdir())


def test_nnunet_finds_what_its_verifier_looks_for(tmp_path: Path, samples: pa.Table) -> None:
    # nnunetv2 itself needs torch: these are the rules of its `verify_dataset_integrity`.
    formats.write("nnunet", tmp_path, samples, example_info())
    folder = nnunet_folder(tmp_path)
    assert folder.name == f"Dataset{nnunet.number('lung_ct')}_lung_ct"
    about = written(folder, "dataset.json")
    assert about["channel_names"] == {"0": "CT"}
    assert about["labels"] == {"background": 0, "lung": 1, "tumour": 2}
    assert about["file_ending"] == ".nii.gz"
    assert about["description"] == TITLE
    assert about["parts"] == PARTS
    images = cases(folder / "imagesTr", "_0000.nii.gz")
    assert images == cases(folder / "labelsTr", ".nii.gz") == PARTS["train"]
    assert about["numTraining"] == len(images)
    for member in KEPT:
        end = "Tr" if member.part == "train" else "Ts"
        image = nibabel.load(folder / f"images{end}" / f"{member.uid}_0000.nii.gz")
        label = nibabel.load(folder / f"labels{end}" / f"{member.uid}.nii.gz")
        assert image.shape == label.shape
        np.testing.assert_allclose(image.affine, label.affine)
        assert set(np.unique(np.asanyarray(label.dataobj))) == {0, 1, 2}


TILTED = AFFINE + 0.4 * np.outer([0, 1, 0, 0], [0, 0, 1, 0])


@heavy
@pytest.mark.parametrize("affine", [AFFINE, TILTED], ids=["straight", "tilted"])
def test_the_verifier_of_nnunet_finds_no_fault(tmp_path: Path, affine: Any) -> None:
    from_torch("nnunetv2")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    formats.write("nnunet", tmp_path, build(tmp_path, affine=affine), example_info())
    verify_dataset_integrity(str(nnunet_folder(tmp_path)), 1)
    (nnunet_folder(tmp_path) / "labelsTr" / f"{PARTS['train'][0]}.nii.gz").unlink()
    with pytest.raises(AssertionError, match="not all training cases have a label"):
        verify_dataset_integrity(str(nnunet_folder(tmp_path)), 1)


def test_folds_of_nnunet_are_those_of_the_split(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("nnunet", tmp_path, samples, example_info())
    splits = written(nnunet_folder(tmp_path), "splits_final.json")
    fold_of = {member.uid: member.fold for member in KEPT if member.part == "train"}
    assert splits == [
        {
            "train": [uid for uid, fold in fold_of.items() if fold != held],
            "val": [uid for uid, fold in fold_of.items() if fold == held],
        }
        for held in (0, 1)
    ]


def test_without_folds_nnunet_validates_on_the_part_for_it(tmp_path: Path) -> None:
    formats.write("nnunet", tmp_path, build(tmp_path), example_info(folds=0))
    folder = nnunet_folder(tmp_path)
    both = sorted(PARTS["train"] + PARTS["val"])
    assert cases(folder / "imagesTr", "_0000.nii.gz") == both
    assert cases(folder / "imagesTs", "_0000.nii.gz") == PARTS["test"]
    assert written(folder, "dataset.json")["numTraining"] == len(both)
    split = {"train": PARTS["train"], "val": PARTS["val"]}
    assert written(folder, "splits_final.json") == [split]


@pytest.mark.parametrize("folds", [0, 2], ids=["no folds", "all in one fold"])
def test_nnunet_is_never_left_to_split_a_patient(tmp_path: Path, folds: int) -> None:
    fold = 1 if folds else None
    members = tuple(
        ExampleSample(10 * n + m, "train", f"P{n}", fold) for n in range(7) for m in range(2)
    )
    samples = build(tmp_path, members)
    formats.write("nnunet", tmp_path, samples, example_info(folds=folds, splits=("train", "test")))
    splits = written(nnunet_folder(tmp_path), "splits_final.json")
    patient = {member.uid: member.patient for member in members}
    assert len(splits) == 5
    held = [patient[uid] for split in splits for uid in split["val"]]
    assert sorted(held) == sorted(member.patient for member in members)
    for split in splits:
        assert not {patient[u] for u in split["train"]} & {patient[u] for u in split["val"]}
        assert len(split["train"]) + len(split["val"]) == len(members)


def test_nnunet_reads_a_gantry_tilt_by_nibabel(tmp_path: Path) -> None:
    formats.write("nnunet", tmp_path, build(tmp_path, affine=TILTED), example_info())
    about = written(nnunet_folder(tmp_path), "dataset.json")
    assert about["overwrite_image_reader_writer"] == "NibabelIO"


def test_several_modalities_are_not_normalized_as_ct(tmp_path: Path) -> None:
    members = (ExampleSample(1, "train", "A", 0), ExampleSample(2, "train", "B", 1, modality="MR"))
    formats.write("nnunet", tmp_path, build(tmp_path, members), example_info())
    about = written(nnunet_folder(tmp_path), "dataset.json")
    assert about["channel_names"] == {"0": "CT and MR"}


def test_nnunet_needs_labels_to_train_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"3 have none: {PARTS['train'][0]}, .*without_target"):
        formats.write("nnunet", tmp_path, build(tmp_path, labelled=False), example_info())
    tests_only = tuple(member for member in MEMBERS if member.part != "train")
    with pytest.raises(UsageError, match="no sample is kept in train"):
        formats.write("nnunet", tmp_path, build(tmp_path, tests_only), example_info())


def test_links_cost_nothing_and_copies_do_where_there_are_none(
    tmp_path: Path, samples: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = PARTS["train"][0]
    source = tmp_path / "images" / f"{uid}.nii.gz"
    formats.write("nnunet", tmp_path, samples, example_info())
    target = nnunet_folder(tmp_path) / "imagesTr" / f"{uid}_0000.nii.gz"
    assert target.samefile(source)

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links on this disk")

    monkeypatch.setattr(os, "link", refuse)
    formats.write("nnunet", tmp_path, samples, example_info())
    assert not target.samefile(source)
    assert target.read_bytes() == source.read_bytes()


# --- MONAI ----------------------------------------------------------------------------------------


def test_monai_has_lists_of_files_that_are_there(tmp_path: Path, samples: pa.Table) -> None:
    # monai itself needs torch: `load_decathlon_datalist` joins the list's folder and these paths.
    formats.write("monai", tmp_path, samples, example_info())
    listed = written(tmp_path, "monai/datalist.json")
    assert listed["labels"] == {"0": "background", "1": "lung", "2": "tumour"}
    assert listed["modality"] == {"0": "CT"}
    assert (listed["numTraining"], listed["numTest"]) == (3, 1)
    for part, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        items = listed[name]
        assert [item["SeriesInstanceUID"] for item in items] == PARTS[part]
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
        assert [item["SeriesInstanceUID"] for item in items] == PARTS[part]
        for item in items:
            member = next(m for m in KEPT if m.uid == item["SeriesInstanceUID"])
            loaded = LoadImaged(keys=["image", "label"])(item)
            assert np.array_equal(np.asarray(loaded["image"]).T, voxels_of(member))
            assert np.array_equal(np.asarray(loaded["label"]).T, labels_of(member))


def test_a_list_of_monai_is_not_empty(tmp_path: Path) -> None:
    members = tuple(member for member in MEMBERS if member.part == "train")
    formats.write(
        "monai", tmp_path, build(tmp_path, members, labelled=False), example_info(labels={})
    )
    listed = written(tmp_path, "monai/datalist.json")
    assert not {"validation", "test", "labels"} & set(listed)
    assert all("label" not in item for item in listed["training"])


# --- WebDataset -----------------------------------------------------------------------------------

# webdataset leaves the shards that it has read open.
left_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def read_shards(folder: Path, part: str) -> list[dict[str, Any]]:
    import webdataset as wds

    urls = [str(path) for path in sorted(folder.glob(f"{part}-*.tar"))]
    return list(wds.WebDataset(urls, shardshuffle=False, empty_check=False))


@left_open
def test_webdataset_reads_the_shards(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("webdataset", tmp_path, samples, example_info())
    for part, uids in PARTS.items():
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


def test_members_of_a_shard_have_no_time_and_no_owner(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("webdataset", tmp_path, samples, example_info())
    with tarfile.open(tmp_path / "webdataset" / "train-000000.tar") as shard:
        facts_of = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in shard}
    assert facts_of == {(0, 0, 0, "", "", 0o644)}


@left_open
def test_a_shard_that_is_full_is_followed_by_another(tmp_path: Path, samples: pa.Table) -> None:
    size = samples["image_bytes"][0].as_py() + samples["label_bytes"][0].as_py()
    webdataset.write(tmp_path, KeptSamples.of(samples), example_info(), most_bytes=2 * size + 100)
    folder = tmp_path / "webdataset"
    shards = sorted(path.name for path in folder.glob("train-*"))
    assert shards == ["train-000000.tar", "train-000001.tar"]
    uids = [json.loads(s["json"])["SeriesInstanceUID"] for s in read_shards(folder, "train")]
    assert sorted(uids) == PARTS["train"]
    assert uids == sorted(uids, key=lambda uid: hashlib.sha256(uid.encode()).digest())


# --- Hugging Face ---------------------------------------------------------------------------------


def test_parquet_of_hugging_face_is_cut_into_shards(tmp_path: Path, samples: pa.Table) -> None:
    huggingface.write(tmp_path, KeptSamples.of(samples), example_info(), most_bytes=1)
    folder = tmp_path / "huggingface" / "data"
    shards = sorted(folder.glob("train-*"))
    assert [path.name for path in shards] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    uids = [pq.read_table(path)["SeriesInstanceUID"][0].as_py() for path in shards]
    assert uids == PARTS["train"]


def test_without_a_target_there_are_no_labels(tmp_path: Path) -> None:
    samples = build(tmp_path, labelled=False)
    formats.write("huggingface", tmp_path, samples, example_info(labels={}))
    schema = pq.read_schema(tmp_path / "huggingface" / "data" / "val-00000-of-00001.parquet")
    assert "image" in schema.names
    assert not {"label", "label_voxels"} & set(schema.names)


def test_a_split_has_no_hyphen(tmp_path: Path) -> None:
    samples = build(tmp_path, (ExampleSample(1, "site-a", "A"), ExampleSample(2, "rest", "B")))
    formats.write(
        "huggingface", tmp_path, samples, example_info(folds=0, splits=("rest", "site-a"))
    )
    names = sorted(path.name for path in (tmp_path / "huggingface" / "data").iterdir())
    assert names == ["rest-00000-of-00001.parquet", "site_a-00000-of-00001.parquet"]
    with pytest.raises(UsageError, match="site-a, site_a are called alike"):
        formats.write("huggingface", tmp_path, samples, example_info(splits=("site-a", "site_a")))


# --- Croissant ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, of what it builds on
def test_mlcroissant_finds_no_error_and_reads_the_records(
    tmp_path: Path, samples: pa.Table
) -> None:
    import mlcroissant
    from absl import logging

    # It would close the stream of its import, pytest's own, when Dagster configures logging.
    logging.get_absl_handler().python_handler.stream = sys.__stderr__

    formats.write("croissant", tmp_path, samples, example_info())
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    # No time is told anywhere, so that a build is the same tomorrow.
    assert len(issues.warnings) == 1 and "datePublished" in str(issues.warnings)
    records = list(dataset.records("samples"))
    assert len(records) == len(MEMBERS)
    for record in records:
        member = next(m for m in MEMBERS if m.uid.encode() == record["samples/SeriesInstanceUID"])
        assert record["samples/part"] == (member.part.encode() if member.part else None)
        assert record["samples/state"] == (b"kept" if member.is_kept else b"dropped")
        if member.is_kept:
            path = tmp_path / record["samples/image"].decode()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert record["samples/image_sha256"] == digest.encode()


def test_croissant_tells_hash_licences_sources_and_parts(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("croissant", tmp_path, samples, example_info())
    told = written(tmp_path, "croissant.json")
    table, images, labels = told["distribution"]
    content = (tmp_path / "samples.parquet").read_bytes()
    assert table["sha256"] == hashlib.sha256(content).hexdigest()
    assert (images["includes"], labels["includes"]) == ("images/*.nii.gz", "labels/*.nii.gz")
    assert told["license"] == [
        "none told",
        "https://creativecommons.org/licenses/by-nc/3.0/",
        "https://creativecommons.org/licenses/by/3.0/",
        "https://creativecommons.org/licenses/by/4.0/",
    ]
    assert any("https://doi.org/10.7937/drawn" in source for source in told["citation"])
    assert told["alternateName"] == TITLE
    assert told["recordSet"][0]["data"] == [
        {"parts/name": "train", "parts/url": "cr:TrainingSplit"},
        {"parts/name": "val", "parts/url": "cr:ValidationSplit"},
        {"parts/name": "test", "parts/url": "cr:TestSplit"},
    ]


# --- Data Retriever -------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tcia"])
def test_the_list_of_series_is_a_manifest(tmp_path: Path, samples: pa.Table, ending: str) -> None:
    formats.write("retriever", tmp_path, samples, example_info())
    path = tmp_path / "retriever" / f"lung_ct.{ending}"
    chosen = selection.Selection(manifests=(str(path),))
    (listed,) = chosen.tables.values()
    expected = sorted([*(member.uid for member in KEPT), MASK])
    assert listed["SeriesInstanceUID"].to_pylist() == expected


def test_each_part_has_a_list_of_its_own(tmp_path: Path, samples: pa.Table) -> None:
    formats.write("retriever", tmp_path, samples, example_info())
    for part, uids in PARTS.items():
        text = (tmp_path / "retriever" / f"lung_ct-{part}.csv").read_text()
        assert text.splitlines() == ["SeriesInstanceUID", *uids, MASK]
