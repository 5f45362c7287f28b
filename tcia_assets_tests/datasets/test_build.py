"""A build gives a version that is named by what is in it, loses nothing, and can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tcia_assets.datasets import cohort_lock, versions
from tcia_assets.datasets.build import BuildResult, build, cohort_lock_path, make_samples
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.errors import (
    Busy,
    CohortMoved,
    DataError,
    DatasetRefused,
    LicenseConflict,
    MissingExtra,
    StorageError,
    UnknownName,
    UsageError,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.warehouse_edits import (
    refetch,
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)
from tcia_assets_tests.repository import ROOT

EXAMPLE = ROOT / "datasets" / "lung_ct.yaml"
STORE = Path("datasets/lung_ct/.samples")
LEFT_OUT = shutil.ignore_patterns("*.duckdb")
KILLS = 6


def declared(*changes: tuple[str, str]) -> Declaration:
    """The example, with other lines."""
    text = EXAMPLE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_declaration(text, "lung_ct")


def qc(code: str, policy: str) -> tuple[str, str]:
    return "  gantry_tilt: keep\n", f"  gantry_tilt: keep\n  {code}: {policy}\n"


NO_TARGET = (
    EXAMPLE.read_text()[EXAMPLE.read_text().index("target:\n") :].split("\n\n")[0],
    "target: none",
)


def frozen(declaration: Declaration, warehouse: Warehouse, *, update: bool = False) -> Any:
    lock = cohort_lock_path(warehouse, declaration.name)
    return cohort_lock.freeze_cohort(declaration, warehouse, lock, update=update)[0]


def built(declaration: Declaration, warehouse: Warehouse, *, update: bool = False) -> BuildResult:
    return build(declaration, frozen(declaration, warehouse, update=update), warehouse)


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def rows(result: BuildResult) -> dict[str, dict[str, Any]]:
    return {row["SeriesInstanceUID"]: row for row in result.samples.to_pylist()}


def images(warehouse: Warehouse) -> list[str]:
    found = warehouse.query(
        "SELECT SeriesInstanceUID AS uid FROM series WHERE Modality = 'CT' ORDER BY uid"
    )
    return list(found["uid"].to_pylist())


@pytest.fixture(scope="session")
def premade(fetched_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store with the samples of the example, with and without its target: made once."""
    root = tmp_path_factory.mktemp("premade")
    shutil.copytree(fetched_root, root, ignore=LEFT_OUT, dirs_exist_ok=True)
    warehouse = Warehouse(root)
    for declaration in (declared(), declared(NO_TARGET)):
        make_samples(declaration, query_cohort(declaration, warehouse), warehouse)
    return root / STORE


@pytest.fixture
def stocked_warehouse(fetched_warehouse: Warehouse, premade: Path) -> Warehouse:
    """A warehouse in whose store these are."""
    shutil.copytree(premade, fetched_warehouse.root / STORE)
    return fetched_warehouse


# --- What is there --------------------------------------------------------------------------------


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


def test_what_is_written_is_what_its_row_says(stocked_warehouse: Warehouse) -> None:
    import nibabel

    changes = (
        ("spacing: native", "spacing: [9, 9, 10]"),
        (
            "  dtype: int16\n",
            "  dtype: uint8\n  window: [-1000, 400]\n",
        ),
    )
    result = built(declared(*changes), stocked_warehouse)
    for row in rows(result).values():
        image = nibabel.load(result.folder / row["image"])
        labels = nibabel.load(result.folder / row["label"])
        values, mask = np.asanyarray(image.dataobj), np.asanyarray(labels.dataobj)
        assert list(values.shape) == list(mask.shape) == row["shape"]
        assert values.dtype == np.uint8 and row["dtype"] == "uint8"
        assert (values.min(), values.max()) == (row["least"], row["greatest"])
        assert row["least"] == 0 and row["greatest"] > 100
        assert row["spacing"] == pytest.approx([9, 9, 10])
        assert np.allclose(image.affine, np.reshape(row["affine"], (4, 4)), atol=1e-4)
        assert np.allclose(image.affine, labels.affine)
        tally = Counter(mask.ravel().tolist())
        names = dict(enumerate(declared().target.labels, start=1))
        assert {names[n]: tally[n] for n in names} == dict(row["label_voxels"])
    assert "SimpleITK" in result.version.content["made_with"]


def test_pixels_are_hashed_as_they_were_read(stocked_warehouse: Warehouse) -> None:
    plain = rows(built(declared(), stocked_warehouse))
    other = rows(built(declared(("  dtype: int16\n", "  dtype: float32\n")), stocked_warehouse))
    for uid in plain:
        assert plain[uid]["pixel_sha256"] == other[uid]["pixel_sha256"]
        assert plain[uid]["image_sha256"] != other[uid]["image_sha256"]


def test_a_window_is_the_range_of_the_dtype(stocked_warehouse: Warehouse) -> None:
    changes = NO_TARGET, ("  dtype: int16\n", "  dtype: float32\n  window: [-1000, 0]\n")
    for row in rows(built(declared(*changes), stocked_warehouse)).values():
        assert (row["least"], row["greatest"]) == (0.0, 1.0)


# --- The same again -------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes(
    fetched_warehouse: Warehouse, fetched_root: Path, tmp_path: Path
) -> None:
    elsewhere = Warehouse(tmp_path / "elsewhere")
    shutil.copytree(fetched_root, elsewhere.root, ignore=LEFT_OUT)
    first = built(declared(), fetched_warehouse)
    second = build(declared(), frozen(declared(), elsewhere), elsewhere, workers=1)
    assert (first.made, second.made) == (5, 5)
    assert contents(first.folder) == contents(second.folder)
    assert first.folder.name == second.folder.name


def test_what_is_made_is_not_made_again(fetched_warehouse: Warehouse) -> None:
    first = built(declared(), fetched_warehouse)
    inodes = {path: path.stat().st_ino for path in first.folder.rglob("*")}
    again = built(declared(), fetched_warehouse)
    assert (again.made, again.reused) == (0, 5)
    assert {path: path.stat().st_ino for path in again.folder.rglob("*")} == inodes
    other = built(declared(('salt: "2001"', "salt: other")), fetched_warehouse)
    assert (other.made, other.reused) == (0, 5)
    assert other.folder != first.folder
    assert versions.verify(first.version).problems == ()
    assert versions.latest(fetched_warehouse.root, "lung_ct") == other.version.version
    there = {each.version for each in versions.list_versions(fetched_warehouse.root, "lung_ct")}
    assert there == {first.version.version, other.version.version}


def test_a_cohort_that_has_grown_costs_what_is_new(fetched_warehouse: Warehouse) -> None:
    last = images(fetched_warehouse)[-1]
    set_column(fetched_warehouse, "Modality", "MR", last)
    before = built(declared(), fetched_warehouse)
    assert len(rows(before)) == 4
    set_column(fetched_warehouse, "Modality", "CT", last)
    same = built(declared(), fetched_warehouse)
    assert len(rows(same)) == 4, "what is frozen is built until an update is wanted"
    grown = built(declared(), fetched_warehouse, update=True)
    assert (grown.made, grown.reused) == (1, 4)
    assert len(rows(grown)) == 5


def test_one_bad_zip_fails_the_build_and_keeps_the_others(fetched_warehouse: Warehouse) -> None:
    cohort_ = frozen(declared(), fetched_warehouse)
    path = zip_of(fetched_warehouse, images(fetched_warehouse)[1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(DatasetRefused, match="1 of its samples cannot be made") as caught:
        build(declared(), cohort_, fetched_warehouse)
    (reason,) = caught.value.reasons
    assert str(path) in reason and "another zip" in reason
    assert versions.list_versions(fetched_warehouse.root, "lung_ct") == []
    path.unlink()
    with pytest.raises(DatasetRefused, match=r"not there any more; .* fetch, has it again"):
        build(declared(), cohort_, fetched_warehouse)
    path.write_bytes(whole)
    result = build(declared(), cohort_, fetched_warehouse)
    assert (result.made, result.reused) == (1, 4)


def _build(root: str) -> None:
    warehouse = Warehouse(Path(root))
    lock = cohort_lock_path(warehouse, "lung_ct")
    # The policy decides nothing about a sample: only the version is another one.
    build(declared(), cohort_lock.read_lock(lock, "lung_ct"), warehouse)


def test_a_build_that_is_killed_goes_on_where_it_was(fetched_warehouse: Warehouse) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tcia_assets.datasets.build", "tcia_assets.datasets.sample_files"]
    )
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


def test_a_killed_worker_is_told_and_loses_nothing(fetched_warehouse: Warehouse) -> None:
    def kill(done: int, total: int) -> None:
        if done == 1:
            for worker in multiprocessing.active_children():
                worker.kill()

    cohort_ = frozen(declared(), fetched_warehouse)
    with pytest.raises(StorageError, match="was killed, perhaps for want of memory"):
        build(declared(), cohort_, fetched_warehouse, workers=1, report=kill)
    assert build(declared(), cohort_, fetched_warehouse).reused >= 1


def test_all_formats_at_once_are_as_equal(fetched_warehouse: Warehouse) -> None:
    every = "formats: [nifti, nnunet, monai, webdataset, huggingface, croissant, retriever]"
    declaration = declared(("formats: [nifti]", every))
    first = built(declaration, fetched_warehouse)
    assert versions.verify(first.version).problems == ()
    kept = contents(first.folder)
    shutil.rmtree(first.folder)
    again = built(declaration, fetched_warehouse)
    assert contents(again.folder) == kept


def test_workers_end_when_the_build_is_killed(stocked_warehouse: Warehouse) -> None:
    frozen(declared(), stocked_warehouse)
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_hold_workers, args=(sender,))
    child.start()
    workers = receiver.recv()
    os.kill(int(child.pid or 0), signal.SIGKILL)
    child.join(10)
    sender.close()
    # Each worker holds an end of the pipe: it is closed when the last one is gone.
    with pytest.raises(EOFError):
        receiver.recv()
    assert workers


def _hold_workers(sender: Any) -> None:
    import time

    from tcia_assets.datasets.build import _pool

    with _pool(2) as pool:
        futures = [pool.submit(_keep, sender) for _ in range(2)]
        sender.send([future.result() for future in futures])
        time.sleep(600)


_KEPT: list[Any] = []


def _keep(sender: Any) -> int:
    _KEPT.append(sender)
    return os.getpid()


# --- Policies -------------------------------------------------------------------------------------


@pytest.fixture
def gap(stocked_warehouse: Warehouse) -> str:
    """A Series whose zip lacks two slices in the middle."""
    uid = images(stocked_warehouse)[0]
    replace_zip(
        stocked_warehouse,
        uid,
        zip_without(zip_of(stocked_warehouse, uid), lambda place: place in (50, 51)),
    )
    return uid


def test_what_is_amiss_drops_a_sample_with_its_reasons(
    stocked_warehouse: Warehouse, gap: str
) -> None:
    result = built(declared(), stocked_warehouse)
    row = rows(result)[gap]
    assert row["state"] == "dropped"
    assert row["reasons"] == ["count_unlike_image_count", "missing_slice"]
    assert row["image"] is None and row["image_sha256"] is None and row["shape"] is not None
    assert row["part"] and row["patient"]
    (found,) = (f for f in row["findings"] if f["code"] == "missing_slice")
    assert found["policy"] == "drop" and found["numbers"]
    assert not (result.folder / "images" / f"{gap}.nii.gz").exists()
    assert Counter(each["state"] for each in rows(result).values()) == {"kept": 4, "dropped": 1}


def test_what_is_amiss_can_be_kept(stocked_warehouse: Warehouse, gap: str) -> None:
    changes = ("missing_slice: drop", "missing_slice: keep"), qc("count_unlike_image_count", "keep")
    result = built(declared(*changes), stocked_warehouse)
    row = rows(result)[gap]
    assert row["state"] == "kept" and (result.folder / row["image"]).is_file()
    assert {"missing_slice", "count_unlike_image_count"} <= {f["code"] for f in row["findings"]}


def test_what_is_amiss_can_fail_the_build_and_the_earlier_version_stays(
    stocked_warehouse: Warehouse, gap: str
) -> None:
    before = built(declared(), stocked_warehouse)
    kept = contents(before.folder.parent / before.folder.name)
    failing = declared(("missing_slice: drop", "missing_slice: fail"))
    with pytest.raises(DatasetRefused) as caught:
        built(failing, stocked_warehouse)
    (reason,) = caught.value.reasons
    assert reason.startswith(f"{gap}: missing_slice: ")
    assert contents(before.folder) == kept
    assert versions.latest(stocked_warehouse.root, "lung_ct") == before.version.version
    made = make_samples(failing, frozen(failing, stocked_warehouse), stocked_warehouse)
    assert made.tally["missing_slice", "fail"] == 1
    assert made.made == 0, "a policy decides nothing about how a sample is made"


def test_what_is_not_on_disk_or_not_known_has_its_row(stocked_warehouse: Warehouse) -> None:
    from tcia_assets.catalog import IMAGE_ARCHIVES
    from tcia_assets_tests.conftest import SMALL

    first, second, *_ = images(stocked_warehouse)
    table = stocked_warehouse.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != first for uid in table["SeriesInstanceUID"].to_pylist()]
    stocked_warehouse.write(IMAGE_ARCHIVES, table.filter(left), SMALL)
    asked = (
        "collections: [LCTSC]\n  modalities: [CT]",
        f"series: [{first}, {second}, 1.2.3]",
    )
    found = rows(built(declared(asked), stocked_warehouse))
    assert found[first]["reasons"] == found["1.2.3"]["reasons"] == ["not_fetched"]
    assert found[first]["part"] and found["1.2.3"]["part"] is None
    assert found[first]["findings"][0]["message"] != found["1.2.3"]["findings"][0]["message"]
    assert found[second]["state"] == "kept"
    with pytest.raises(DatasetRefused, match="have the policy 'fail'") as caught:
        built(declared(asked, qc("not_fetched", "fail")), stocked_warehouse)
    assert len(caught.value.reasons) == 2


def test_a_mask_whose_zip_is_gone_is_not_left_out_in_silence(stocked_warehouse: Warehouse) -> None:
    from tcia_assets.catalog import IMAGE_ARCHIVES
    from tcia_assets_tests.conftest import SMALL

    pair = frozen(declared(), stocked_warehouse).pairs.to_pylist()[0]
    mask, image = pair["target_series_instance_uid"], pair["image_series_instance_uid"]
    table = stocked_warehouse.read(IMAGE_ARCHIVES, [SMALL])
    left = [uid != mask for uid in table["SeriesInstanceUID"].to_pylist()]
    stocked_warehouse.write(IMAGE_ARCHIVES, table.filter(left), SMALL)
    row = rows(built(declared(), stocked_warehouse, update=True))[image]
    assert row["reasons"] == ["not_fetched"]
    assert mask in row["findings"][0]["message"]


def test_without_a_mask_a_sample_is_dropped_or_kept_without_labels(
    fetched_warehouse: Warehouse,
) -> None:
    one = "  kind: RTSTRUCT\n  where: PatientID = 'LCTSC-Test-S1-201'\n"
    changes = ("  kind: RTSTRUCT\n", one)
    result = built(declared(changes), fetched_warehouse)
    states = Counter((row["state"], *row["reasons"]) for row in rows(result).values())
    assert states == {("kept",): 1, ("dropped", "without_target"): 4}
    kept = built(declared(changes, qc("without_target", "keep")), fetched_warehouse)
    assert (kept.made, kept.reused) == (0, 5)
    assert Counter(row["label"] is None for row in rows(kept).values()) == {True: 4, False: 1}
    assert all(row["image"] for row in rows(kept).values())


def test_a_format_that_cannot_be_written_leaves_no_draft(fetched_warehouse: Warehouse) -> None:
    few = ("fractions: {train: 0.6, val: 0.2, test: 0.2}", "fractions: {train: 0.001, test: 0.999}")
    with pytest.raises(UsageError, match="no sample is kept in train"):
        built(declared(few, ("formats: [nifti]", "formats: [nnunet]")), fetched_warehouse)
    names = {
        path.name for path in versions.dataset_folder(fetched_warehouse.root, "lung_ct").iterdir()
    }
    assert names == {".samples", "cohort.lock.json"}


def test_with_no_sample_left_there_is_no_dataset(stocked_warehouse: Warehouse) -> None:
    with pytest.raises(DatasetRefused, match="no sample is left: too_few_slices 5"):
        built(
            declared(("  dtype: int16\n", "  dtype: int16\n  least_slices: 1000\n")),
            stocked_warehouse,
        )


def test_values_that_a_dtype_cannot_hold_are_never_cut_off(stocked_warehouse: Warehouse) -> None:
    text = "  spacing: native\n"
    # Hounsfield units of a slope of 100 are beyond int16.
    uid = images(stocked_warehouse)[0]
    replace_zip(stocked_warehouse, uid, _steeper(zip_of(stocked_warehouse, uid)))
    with pytest.raises(DatasetRefused, match="do not fit into int16: declare a window"):
        built(declared(NO_TARGET, (text, text)), stocked_warehouse)


def _steeper(path: Path) -> bytes:
    import io
    import zipfile

    import pydicom

    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".dcm"):
                read = pydicom.dcmread(io.BytesIO(content))
                read.RescaleSlope = "100"
                written = io.BytesIO()
                read.save_as(written)
                content = written.getvalue()
            new.writestr(entry, content)
    return made.getvalue()


# --- Leaks ----------------------------------------------------------------------------------------


def test_the_same_pixels_under_two_patients_are_refused(stocked_warehouse: Warehouse) -> None:
    declaration = declared(NO_TARGET)
    before = built(declaration, stocked_warehouse)
    by_part = {row["part"]: uid for uid, row in rows(before).items()}
    assert len(by_part) > 1
    one, other = list(by_part.values())[:2]
    replace_zip(stocked_warehouse, one, zip_of(stocked_warehouse, other).read_bytes())
    with pytest.raises(DatasetRefused) as caught:
        built(
            declared(NO_TARGET, qc("count_unlike_image_count", "keep")),
            stocked_warehouse,
            update=True,
        )
    assert {reason.split(" ")[0] for reason in caught.value.reasons} == {
        "FrameOfReferenceUID",
        "pixel_sha256",
    }
    assert versions.latest(stocked_warehouse.root, "lung_ct") == before.version.version


# --- Locks ----------------------------------------------------------------------------------------


def test_locked_refuses_a_zip_that_is_another_one(stocked_warehouse: Warehouse) -> None:
    declaration, lock = declared(), cohort_lock_path(stocked_warehouse, "lung_ct")
    frozen(declaration, stocked_warehouse)
    uid = images(stocked_warehouse)[0]
    whole = zip_of(stocked_warehouse, uid).read_bytes()
    replace_zip(
        stocked_warehouse,
        uid,
        zip_without(zip_of(stocked_warehouse, uid), lambda place: place == 0),
    )
    with pytest.raises(CohortMoved, match=f"{uid} .another zip."):
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock)
    with pytest.raises(CohortMoved, match=f"{uid} .another zip."):
        build(declaration, cohort_lock.read_lock(lock, "lung_ct"), stocked_warehouse)
    replace_zip(stocked_warehouse, uid, whole)
    result = build(
        declaration,
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock),
        stocked_warehouse,
    )
    assert result.version.files


def test_the_same_objects_in_other_zips_give_the_same_version(stocked_warehouse: Warehouse) -> None:
    declaration = declared()
    first = built(declaration, stocked_warehouse)
    refetch(stocked_warehouse, *images(stocked_warehouse))
    shutil.rmtree(versions.dataset_folder(stocked_warehouse.root, "lung_ct") / ".samples")
    lock = cohort_lock_path(stocked_warehouse, "lung_ct")
    again = build(
        declaration,
        cohort_lock.load_cohort(declaration, stocked_warehouse, lock),
        stocked_warehouse,
    )
    assert (again.made, again.reused) == (5, 0)
    assert again.version.version == first.version.version


def test_a_changed_question_needs_another_cohort(stocked_warehouse: Warehouse) -> None:
    cohort_ = frozen(declared(), stocked_warehouse)
    with pytest.raises(CohortMoved, match="asks another question"):
        build(declared(NO_TARGET), cohort_, stocked_warehouse)


def test_a_licence_that_is_refused_by_now_is_refused_with_its_series(
    stocked_warehouse: Warehouse,
) -> None:
    cohort_ = frozen(declared(), stocked_warehouse)
    denied = declared(("  deny: [NC, ND]\n", "  deny: [NC, ND, CC BY 3.0]\n"))
    with pytest.raises(LicenseConflict) as caught:
        build(denied, cohort_, stocked_warehouse)
    assert len(caught.value.series) == 10


def test_two_builds_of_one_dataset_do_not_meet(fetched_warehouse: Warehouse) -> None:
    from tcia_assets.datasets.build import _alone

    cohort_ = frozen(declared(), fetched_warehouse)
    with (
        _alone("lung_ct", fetched_warehouse, 0.0),
        pytest.raises(Busy, match="the dataset 'lung_ct'"),
    ):
        build(declared(), cohort_, fetched_warehouse, wait=0.0)
    assert build(declared(), cohort_, fetched_warehouse, wait=0.0).made == 5


def test_resampling_needs_its_extra(
    stocked_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError, version

    def without_itk(name: str) -> str:
        if name == "SimpleITK":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("tcia_assets.datasets.build.version", without_itk)
    with pytest.raises(MissingExtra, match=r"tcia_assets\[resample\]"):
        built(declared(("spacing: native", "spacing: [2, 2, 2]")), stocked_warehouse)


# --- Versions -------------------------------------------------------------------------------------


@pytest.fixture
def version(stocked_warehouse: Warehouse) -> versions.Version:
    return built(declared(NO_TARGET), stocked_warehouse).version


def test_a_flipped_byte_is_found(version: versions.Version) -> None:
    name = next(path for path in version.files if path.startswith("images/"))
    path = version.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = versions.verify(version).problems
    assert problem.startswith(f"{name}: its sha256 is ")


def test_a_lost_a_grown_and_an_extra_file_are_found(version: versions.Version) -> None:
    lost, grown = [path for path in version.files if path.startswith("images/")][:2]
    (version.folder / lost).unlink()
    (version.folder / grown).write_bytes((version.folder / grown).read_bytes() + b"x")
    (version.folder / "images" / "extra.nii.gz").write_bytes(b"")
    (version.folder / "images" / "link").symlink_to("/etc/passwd")
    told = [problem.split(": ")[0] for problem in versions.verify(version).problems]
    assert told == [lost, "images/extra.nii.gz", "images/link", grown]


def test_an_edited_lock_file_is_found(version: versions.Version) -> None:
    path = version.folder / "dataset.lock.json"
    name = next(iter(version.files))
    content = json.loads(path.read_text())
    forged = "0" * 64
    content["files"][name]["sha256"] = forged
    path.write_text(json.dumps(content))
    problems = versions.verify(versions.read(version.folder)).problems
    assert any(problem.startswith(name) for problem in problems)
    assert sum(problem.startswith("dataset.lock.json: ") for problem in problems) == 2
    path.write_text("{}")
    with pytest.raises(DataError, match="is no lock file of a dataset"):
        versions.read(version.folder)


def test_a_damaged_version_is_built_anew(
    stocked_warehouse: Warehouse, version: versions.Version
) -> None:
    name = next(path for path in version.files if path.startswith("images/"))
    path = version.folder / name
    path.write_bytes(b"?" * version.files[name].bytes)  # also the store's: it is a hard link
    with pytest.raises(DatasetRefused, match="files were changed after they were made"):
        built(declared(NO_TARGET), stocked_warehouse)
    result = built(declared(NO_TARGET), stocked_warehouse)
    assert result.made == 1
    assert result.version.version == version.version
    assert versions.verify(result.version).problems == ()


def test_the_root_hash_is_what_sha256sum_says(version: versions.Version) -> None:
    import subprocess

    line = (
        "find . -type f ! -name dataset.lock.json | cut -c3- | LC_ALL=C sort "
        "| tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum"
    )
    done = subprocess.run(
        line, shell=True, cwd=version.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == version.content["sha256"]
    assert version.content["sha256"].startswith(version.version)


def test_a_diff_tells_series_settings_and_files(stocked_warehouse: Warehouse) -> None:
    before = built(declared(), stocked_warehouse)
    uid = images(stocked_warehouse)[0]
    replace_zip(
        stocked_warehouse,
        uid,
        zip_without(zip_of(stocked_warehouse, uid), lambda place: place in (50, 51)),
    )
    last = images(stocked_warehouse)[-1]
    set_column(stocked_warehouse, "Modality", "MR", last)
    after = built(declared(('salt: "2001"', "salt: two")), stocked_warehouse, update=True)
    found = versions.diff(before.version, after.version)
    assert found.removed == (last,) and not found.added
    assert found.changed[uid]["state"] == ("kept", "dropped")
    assert found.settings == {"split.salt": ("2001", "two")}
    assert found.files[f"images/{uid}.nii.gz"][1] is None
    lines = list(found.lines)
    assert f"- Series {last}" in lines
    assert "~ setting split.salt: '2001' -> 'two'" in lines
    assert f"- file images/{uid}.nii.gz" in lines
    assert not versions.diff(before.version, before.version)


def test_versions_are_found_by_name_and_first_digits(
    stocked_warehouse: Warehouse, version: versions.Version
) -> None:
    root = stocked_warehouse.root
    for wanted in (
        "lung_ct",
        f"lung_ct/{version.version[:4]}",
        str(version.folder.parent / "latest"),
    ):
        assert versions.find(root, wanted).folder == version.folder
    with pytest.raises(UnknownName, match="no dataset with a version 'lung'"):
        versions.find(root, "lung")
    with pytest.raises(UnknownName, match="no version of lung_ct 'x'"):
        versions.find(root, "lung_ct/x")
    with pytest.raises(UsageError, match="no version of a dataset"):
        versions.read(root)


def test_a_disk_that_refuses_leaves_what_was_there(
    stocked_warehouse: Warehouse, version: versions.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = contents(version.folder)
    (version.folder.parent / ".draft").write_text("in the way")
    with pytest.raises(StorageError, match="earlier versions are as they were"):
        built(declared(NO_TARGET, ('salt: "2001"', "salt: two")), stocked_warehouse)
    assert contents(version.folder) == kept
