"""A build: the same inputs give the same bytes, and a kill loses nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tcia_assets import load_dataset
from tcia_assets.datasets import cohort_lock, versions
from tcia_assets.datasets.build import build, made_with
from tcia_assets.datasets.cohort_lock import cohort_lock_path
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.errors import (
    Busy,
    CohortMoved,
    LicenseConflict,
    MissingExtra,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.conftest import LEFT_OUT
from tcia_assets_tests.datasets.example_builds import (
    NO_TARGET,
    built,
    contents,
    declared,
    frozen,
    images,
    qc,
    rows,
)
from tcia_assets_tests.datasets.volume.synthetic_volumes import volume, zipped
from tcia_assets_tests.datasets.warehouse_edits import (
    refetch,
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)

KILLS = 6


def test_the_example_has_each_image_with_its_labels(stocked_warehouse: Warehouse) -> None:
    result = built(declared(), stocked_warehouse)
    assert result.folder == stocked_warehouse.root / "datasets" / "lung_ct" / result.version.version
    assert (result.folder.parent / "latest").resolve() == result.folder
    assert result.samples.schema.equals(SAMPLES)
    assert list(rows(result)) == images(stocked_warehouse)
    for uid, row in rows(result).items():
        assert row["state"] == "kept" and not row["reasons"]
        assert row["image"] == f"images/{uid}.nii.gz"
        assert row["label"] == f"labels/{uid}.nii.gz"
        for which in ("image", "label"):
            file = result.folder / row[which]
            assert file.stat().st_size == row[f"{which}_bytes"]
            assert result.version.files[row[which]].sha256 == row[f"{which}_sha256"]
        assert row["axes"] == "RAS" and row["dtype"] == "int16" and row["units"] == "HU"
        assert dict(row["label_voxels"])["body"] > 0
        assert len(row["target_series_instance_uids"]) == 1
    assert pq.read_table(result.folder / "samples.parquet").equals(result.samples)
    assert versions.verify(result.version).problems == ()
    lock = json.loads((result.folder / "dataset.lock.json").read_text())
    assert lock["settings"] == declared().settings
    assert lock["cohort"]["sha256"] == frozen(declared(), stocked_warehouse).sha256
    assert {"tcia_assets", "numpy", "pydicom", "pyarrow"} <= lock["made_with"].keys()
    assert lock["made_with"].keys() & {"isal", "zlib"}


def test_the_same_inputs_give_the_same_bytes(
    stocked_warehouse: Warehouse, fetched_root: Path, tmp_path: Path
) -> None:
    elsewhere = Warehouse(tmp_path / "elsewhere")
    shutil.copytree(fetched_root, elsewhere.root, ignore=LEFT_OUT)
    # Its samples were made in another folder, by several processes.
    first = built(declared(), stocked_warehouse)
    second = build(declared(), frozen(declared(), elsewhere), elsewhere, workers=1)
    assert (first.reused, second.made) == (5, 5)
    assert contents(first.folder) == contents(second.folder)
    assert first.folder.name == second.folder.name


def test_finished_samples_are_reused(
    built_warehouse: Warehouse, example_version: versions.Version
) -> None:
    first, root = example_version, built_warehouse.root
    inodes = {path: path.stat().st_ino for path in first.folder.rglob("*")}
    again = built(declared(), built_warehouse)
    assert (again.made, again.reused) == (0, 5)
    assert {path: path.stat().st_ino for path in again.folder.rglob("*")} == inodes
    other = built(declared(('salt: "2001"', "salt: other")), built_warehouse)
    assert (other.made, other.reused) == (0, 5)
    assert other.folder != first.folder
    assert versions.verify(first).problems == ()
    assert versions.latest(root, "lung_ct") == other.version.version
    there = {each.version for each in versions.list_versions(root, "lung_ct")}
    assert there == {first.version, other.version.version}


def test_a_larger_cohort_makes_only_new_samples(fetched_warehouse: Warehouse) -> None:
    last, declaration = images(fetched_warehouse)[-1], declared(NO_TARGET)
    set_column(fetched_warehouse, "Modality", "MR", last)
    before = built(declaration, fetched_warehouse)
    assert len(rows(before)) == 4
    set_column(fetched_warehouse, "Modality", "CT", last)
    same = frozen(declaration, fetched_warehouse).of_role("image")
    assert same.num_rows == 4, "what is frozen is built until an update is wanted"
    grown = built(declaration, fetched_warehouse, update=True)
    assert (grown.made, grown.reused) == (1, 4)
    assert len(rows(grown)) == 5


def _build(root: str) -> None:
    warehouse = Warehouse(Path(root))
    lock = cohort_lock_path(warehouse, "lung_ct")
    build(declared(), cohort_lock.read_lock(lock, "lung_ct"), warehouse)


@pytest.mark.slow
def test_a_build_continues_after_a_kill(fetched_warehouse: Warehouse) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tcia_assets.datasets.build"])
    earlier = built(declared(("dtype: int16", "dtype: float32")), fetched_warehouse)
    kept = contents(earlier.folder)
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    killed, newest = 0, earlier.version.version
    for _ in range(KILLS):
        child = context.Process(target=_build, args=(str(fetched_warehouse.root),))
        child.start()
        child.join(chance.uniform(0.1, 1.2))
        if child.is_alive():
            os.kill(int(child.pid or 0), signal.SIGKILL)
            killed += 1
        child.join(10)
        assert contents(earlier.folder) == kept, f"seed {seed}"
        for version in versions.list_versions(fetched_warehouse.root, "lung_ct"):
            assert versions.verify(version).problems == (), f"seed {seed}"
        newest = versions.latest(fetched_warehouse.root, "lung_ct")
        assert (fetched_warehouse.root / "datasets" / "lung_ct" / newest).is_dir(), f"seed {seed}"
    assert killed, "at least one child must be killed while it works"
    result = built(declared(), fetched_warehouse)
    assert result.made + result.reused == 5, f"seed {seed}"
    assert versions.verify(result.version).problems == ()
    store = result.folder.parent / ".samples"
    assert len(list(store.iterdir())) == 5, f"seed {seed}: nothing half made is left"
    assert not (result.folder.parent / ".draft").exists()


def test_all_formats_together_give_the_same_bytes(stocked_warehouse: Warehouse) -> None:
    every = "formats: [nifti, nnunet, monai, webdataset, huggingface, croissant, retriever]"
    declaration = declared(("formats: [nifti]", every))
    first = built(declaration, stocked_warehouse)
    assert versions.verify(first.version).problems == ()
    kept = contents(first.folder)
    shutil.rmtree(first.folder)
    again = built(declaration, stocked_warehouse)
    assert contents(again.folder) == kept


def test_each_volume_of_a_series_is_in_each_format(
    stocked_warehouse: Warehouse, tmp_path: Path
) -> None:
    uid = images(stocked_warehouse)[0]
    two = zipped(tmp_path, *(volume(n, EchoTime=str(5 + n)) for n in (0, 1)))
    replace_zip(stocked_warehouse, uid, two.read_bytes())
    formats = "formats: [nifti, monai, webdataset, huggingface, croissant, retriever]"
    result = built(
        declared(
            NO_TARGET,
            ("collections: [LCTSC]\n  modalities: [CT]", f"series: [{uid}]"),
            ("  dtype: int16\n", "  dtype: int16\n  choose: all\n"),
            qc("count_unlike_image_count", "keep"),
            ("formats: [nifti]", formats),
        ),
        stocked_warehouse,
        update=True,
    )
    names = [f"{uid}-0001", f"{uid}-0002"]
    assert result.samples["sample"].to_pylist() == names
    assert result.samples["image"].to_pylist() == [f"images/{name}.nii.gz" for name in names]
    loaded = load_dataset(result.folder)
    assert [np.ptp(sample.voxels) > 0 for sample in loaded] == [True, True]
    assert loaded[0].name == names[0] and loaded[0].series_instance_uid == uid
    datalist = json.loads((result.folder / "monai" / "datalist.json").read_text())
    assert [item["volume"] for item in datalist["training"]] == ["EchoTime 5", "EchoTime 6"]
    with tarfile.open(next((result.folder / "webdataset").glob("train-*.tar"))) as shard:
        members = [name for name in shard.getnames() if name.endswith(".json")]
    assert sorted(members) == [f"{name.replace('.', '_')}.json" for name in names]
    assert versions.verify(result.version).problems == ()


def test_a_changed_zip_is_refused(stocked_warehouse: Warehouse) -> None:
    declaration, lock = declared(), cohort_lock_path(stocked_warehouse, "lung_ct")
    frozen(declaration, stocked_warehouse)
    uid = images(stocked_warehouse)[0]
    whole = zip_of(stocked_warehouse, uid).read_bytes()
    replace_zip(
        stocked_warehouse,
        uid,
        zip_without(zip_of(stocked_warehouse, uid), lambda place: place == 0),
    )
    with pytest.raises(CohortMoved, match=f"{uid} .changed."):
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock)
    with pytest.raises(CohortMoved, match=f"{uid} .changed."):
        build(declaration, cohort_lock.read_lock(lock, "lung_ct"), stocked_warehouse)
    replace_zip(stocked_warehouse, uid, whole)
    result = build(
        declaration,
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock),
        stocked_warehouse,
    )
    assert result.version.files


def test_the_same_objects_in_different_zips_give_the_same_version(
    built_warehouse: Warehouse, example_version: versions.Version
) -> None:
    declaration = declared()
    refetch(built_warehouse, *images(built_warehouse))
    shutil.rmtree(versions.dataset_folder(built_warehouse.root, "lung_ct") / ".samples")
    lock = cohort_lock_path(built_warehouse, "lung_ct")
    again = build(
        declaration, cohort_lock.load_cohort(declaration, built_warehouse, lock), built_warehouse
    )
    assert (again.made, again.reused) == (5, 0)
    assert again.version.version == example_version.version


def test_a_changed_query_is_refused(stocked_warehouse: Warehouse) -> None:
    cohort_ = frozen(declared(), stocked_warehouse)
    with pytest.raises(CohortMoved, match="has changed since its cohort"):
        build(declared(NO_TARGET), cohort_, stocked_warehouse)


def test_a_licence_that_is_now_refused_is_an_error_with_its_series(
    stocked_warehouse: Warehouse,
) -> None:
    cohort_ = frozen(declared(), stocked_warehouse)
    denied = declared(("  deny: [NC, ND]\n", "  deny: [NC, ND, CC BY 3.0]\n"))
    with pytest.raises(LicenseConflict) as caught:
        build(denied, cohort_, stocked_warehouse)
    assert len(caught.value.series) == 10


def test_two_builds_of_one_dataset_exclude_each_other(stocked_warehouse: Warehouse) -> None:
    from tcia_assets.datasets.version_publishing import hold_dataset

    cohort_ = frozen(declared(), stocked_warehouse)
    with (
        hold_dataset("lung_ct", stocked_warehouse, 0.0),
        pytest.raises(Busy, match="the dataset 'lung_ct'"),
    ):
        build(declared(), cohort_, stocked_warehouse, wait=0.0)
    assert build(declared(), cohort_, stocked_warehouse, wait=0.0).reused == 5


def test_what_simpleitk_does_needs_its_extra(
    stocked_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError, version

    def without_itk(name: str) -> str:
        if name == "SimpleITK":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("tcia_assets.datasets.volume.decoders.version", without_itk)
    resampled, *others = (
        declared(("spacing: native", "spacing: [2, 2, 2]")),
        declared(("  priority:", "  between: interpolate\n  priority:")),
        declared(("  priority:", "  readers: staple\n  priority:")),
    )
    for declaration in others:
        with pytest.raises(MissingExtra, match="pip install 'simpleitk"):
            made_with(declaration)
    with pytest.raises(MissingExtra, match="pip install 'simpleitk"):
        built(resampled, stocked_warehouse)
