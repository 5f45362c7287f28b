"""A cohort -> a version of its dataset: samples made, judged, split, proven, written.

What belongs here: the order of the steps, and what becomes of a sample. What does not: how one is
made (`making.py`), what a version is (`versions.py`), Dagster.

    <data root>/datasets/<name>/cohort.lock.json    the cohort, frozen (`cohort.py`)
    <data root>/datasets/<name>/.samples/<key>/     samples that are made, each whole
    <data root>/datasets/<name>/.draft/             a version that is being put together
    <data root>/datasets/<name>/<version>/          one that is finished

A build that ends early, however that happens, leaves earlier versions alone; the next one makes
only what is not in `.samples` yet. Files of a version are hard links to those there, so that they
take no room twice, and a later build of a cohort that has grown makes only what is new.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcia_assets.datasets import sample_files, versions
from tcia_assets.datasets.cohort import IMAGE, STATES, Cohort, SeriesZip
from tcia_assets.datasets.cohort_checks import (
    check_holdout,
    check_licenses,
    check_query,
    locked_zips,
)
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import FORMATS, Declaration
from tcia_assets.datasets.quality import DROP, FAIL, NOT_FETCHED
from tcia_assets.datasets.sample_files import SampleJob
from tcia_assets.datasets.samples import DROPPED, KEPT, SAMPLES
from tcia_assets.datasets.split import Leak, assign_splits, find_leaks
from tcia_assets.datasets.versions import INDEX, Version, VersionFile
from tcia_assets.errors import DatasetRefused, MissingExtra, StorageError, TciaError
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.files import link_or_copy
from tcia_assets.store.locks import hold_lock
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.version import __version__

_Writer = Callable[[Path, pa.Table, DatasetInfo], object]

_STORE, _DRAFT = ".samples", ".draft"
_NIFTI = "nifti"
_FOLDERS = {sample_files.IMAGE: "images", sample_files.LABEL: "labels"}
# What makes tables and pictures has no part in volumes.
_NOT_OF_SAMPLES = frozenset({"pyarrow", "pillow"})
_CODECS = ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")


@dataclass(frozen=True)
class SamplesResult:
    """The samples of a cohort: all of its images, as `SAMPLES` says, those that are left out too.

    `keys` has where the store keeps each that has a volume; `made` were made, `reused` were there.
    """

    samples: pa.Table
    keys: Mapping[str, str]
    made: int
    reused: int

    def leaks(self, declaration: Declaration) -> list[Leak]:
        """What lies in several parts; none is the proof that nothing does."""
        return find_leaks(_kept(self.samples), declaration.split.leak_columns)

    @property
    def tally(self) -> dict[tuple[str, str], int]:
        """By code and policy, how many samples have it; the most frequent first."""
        seen = Counter(
            pair
            for findings in self.samples["findings"].to_pylist()
            for pair in {(found["code"], found["policy"]) for found in findings}
        )
        return dict(sorted(seen.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class BuildResult:
    """A version that is on disk; `made` of its samples were made, `reused` were there already."""

    version: Version
    samples: pa.Table
    made: int
    reused: int

    @property
    def folder(self) -> Path:
        return self.version.folder


def cohort_lock_path(warehouse: Warehouse, name: str) -> Path:
    """Where the cohort of a dataset is frozen."""
    return versions.dataset_folder(warehouse.root, name) / "cohort.lock.json"


def build(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    workers: int | None = None,
    wait: float = 600.0,
) -> BuildResult:
    """The version of a dataset that its declaration and its cohort make.

    The same cohort, settings and versions of libraries give the same bytes, and so the same
    version. Whatever is raised, earlier versions are as they were, and finished samples are kept.

    Call it where a program may start processes: below `if __name__ == "__main__"` in a script.

    Args:
        declaration: what is wanted.
        cohort: as `cohort_lock.freeze_cohort` or `cohort_lock.load_cohort` gives it.
        warehouse: where the zips are known, and below whose root the dataset is written.
        report: is told how many samples are done, of how many.
        workers: processes that make samples; one for each core by default. Each holds one sample.
        wait: seconds to wait for another build of the same dataset.

    Raises:
        BadDeclaration: no image of the cohort has a value that is held out.
        CohortMoved: the declaration asks another question, or zips are not as they were.
        LicenseConflict: the declaration refuses the licence of a Series.
        DatasetRefused: samples cannot be made, have a finding whose policy is to fail, lie in
            several parts, or none is left; says which and why.
        DataError: a sample has no PatientID.
        MissingExtra: SimpleITK or what a format needs is not installed.
        StorageError: the disk refuses, or workers were killed.
        Busy: another build of it takes longer than that.
    """
    writers = _writers(declaration)  # before hours of work: an extra may be missing
    with _alone(declaration.name, warehouse, wait):
        done = _make(declaration, cohort, warehouse, report, workers)
        _demand_good(declaration, done)
        place = versions.dataset_folder(warehouse.root, declaration.name)
        info = DatasetInfo.of(declaration, cohort, made_with(declaration))
        with _disk(place):
            version = _assembled(declaration, cohort, info, done, place, writers)
            sample_files.discard_samples(place / _STORE, kept=done.keys.values())
        return BuildResult(version, done.samples, done.made, done.reused)


def make_samples(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    workers: int | None = None,
    wait: float = 600.0,
) -> SamplesResult:
    """Makes the samples that `build` would put into a version; see there.

    Findings with the policy to fail, and leaks, are in what it gives.
    """
    with _alone(declaration.name, warehouse, wait):
        return _make(declaration, cohort, warehouse, report, workers)


def made_with(declaration: Declaration) -> dict[str, str]:
    """The versions of all that has a part in the bytes of a dataset.

    Raises:
        MissingExtra: the declaration needs what is not installed.
    """
    found = {"tcia_assets": __version__} | {
        n: version(n) for n in ("nibabel", "numpy", "pydicom", "pyarrow")
    }
    found |= {name: number for name in ("pillow", *_CODECS) if (number := _installed(name))}
    isal = _installed("isal")
    found |= {"isal": isal} if isal else {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    if declaration.volume.spacing is not None:
        if not (number := _installed("SimpleITK")):
            raise MissingExtra("SimpleITK", "resample", "resampling")
        found["SimpleITK"] = number
    return found


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@contextmanager
def _alone(name: str, warehouse: Warehouse, wait: float) -> Iterator[None]:
    place = warehouse.root / ".locks" / "datasets" / f"{name}.lock"
    with hold_lock(place, f"the dataset {name!r}", wait=wait):
        yield


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        problem = f"{error.filename or place} cannot be written: {reason}"
        raise StorageError(f"{problem}; earlier versions are as they were") from error


# --- Making ---------------------------------------------------------------------------------------


def _make(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    report: ProgressCallback,
    workers: int | None,
) -> SamplesResult:
    check_query(declaration, cohort)
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    store = versions.dataset_folder(warehouse.root, declaration.name) / _STORE
    with _disk(store):
        store.mkdir(parents=True, exist_ok=True)
        sample_files.discard_drafts(store)
    images = cohort.of_role(IMAGE).to_pylist()
    jobs = _jobs(declaration, cohort, images, locked_zips(cohort, warehouse))
    there = {
        uid: row for uid, job in jobs.items() if (row := sample_files.read_sample(job.key, store))
    }
    todo = [job for uid, job in jobs.items() if uid not in there]
    told = partial(_report_from, report, len(there), len(jobs))
    told(0)
    new = _worked_off(declaration.name, todo, store, told, workers)
    samples = _samples(declaration, cohort, images, there | new)
    keys = {uid: jobs[uid].key for uid in sorted(there | new)}
    return SamplesResult(samples, keys, len(new), len(there))


def _report_from(report: ProgressCallback, before: int, total: int, done: int) -> None:
    report(before + done, total)


def _jobs(
    declaration: Declaration,
    cohort: Cohort,
    images: list[dict[str, Any]],
    zips: Mapping[str, SeriesZip],
) -> dict[str, SampleJob]:
    """What is to be made of each image whose zip is on disk, and whose masks' are."""
    pairs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for pair in cohort.pairs.to_pylist():
        pairs[pair["image_series_instance_uid"]].append(pair)
    used = made_with(declaration)
    tools = {name: number for name, number in used.items() if name not in _NOT_OF_SAMPLES}
    return {
        uid: SampleJob.of(declaration, image, pairs[uid], zips, tools)
        for image in images
        if {(uid := image["SeriesInstanceUID"]), *_masks(pairs[uid])} <= zips.keys()
    }


def _masks(pairs: list[dict[str, Any]]) -> set[str]:
    return {pair["target_series_instance_uid"] for pair in pairs}


def _worked_off(
    name: str, jobs: list[SampleJob], store: Path, told: Callable[[int], None], workers: int | None
) -> dict[str, dict[str, Any]]:
    """What is said of each sample that was made; all that can be made are, whatever else fails."""
    made: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    if not jobs:
        return made
    with _pool(min(len(jobs), workers or _cores())) as pool:
        futures = {
            pool.submit(sample_files.make_sample, job, store): job.series_instance_uid
            for job in jobs
        }
        for done, future in enumerate(as_completed(futures), start=1):
            _sort(future, futures[future], made, failed)
            told(done)
    if failed:
        reasons = [f"{uid}: {reason}" for uid, reason in sorted(failed.items())]
        problem = f"{len(failed)} of its samples cannot be made"
        raise DatasetRefused(name, problem, reasons, "the others are kept for the next build")
    return made


def _sort(
    future: Future[dict[str, Any]],
    uid: str,
    made: dict[str, dict[str, Any]],
    failed: dict[str, str],
) -> None:
    try:
        made[uid] = future.result()
    except BrokenProcessPool:
        raise StorageError(
            "a process that made samples was killed, perhaps for want of memory; what is finished "
            "is kept: build again, with fewer workers if it recurs"
        ) from None
    except (TciaError, OSError) as error:
        failed[uid] = str(error)
    except Exception as error:
        error.add_note(f"while the sample of Series {uid} was made")
        raise


def _cores() -> int:
    """Those that this process may use, which a container may have fewer of than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes and not threads: Python, and warnings that are caught, are one a process."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([sample_files.__name__])
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=sample_files.end_with_parent
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# --- Judging and splitting ------------------------------------------------------------------------


def _samples(
    declaration: Declaration,
    cohort: Cohort,
    images: list[dict[str, Any]],
    made: Mapping[str, dict[str, Any]],
) -> pa.Table:
    """A row for each image of the cohort.

    All of them are split, whether kept or dropped, so that no policy moves anybody.
    """
    masks: dict[str, set[str]] = defaultdict(set)
    for pair in cohort.pairs.to_pylist():
        masks[pair["image_series_instance_uid"]].add(pair["target_series_instance_uid"])
    rows = []
    for image in images:
        uid = image["SeriesInstanceUID"]
        found = made.get(uid) or {"findings": [_not_fetched(image, masks[uid])]}
        rows.append(_row(declaration, image | found, sorted(masks[uid])))
    placed = _placed(declaration, rows)
    whole = [{name: row.get(name) for name in SAMPLES.names} for row in placed]
    return pa.Table.from_pylist(whole, schema=SAMPLES)


def _not_fetched(image: dict[str, Any], masks: set[str]) -> dict[str, Any]:
    if image["archive_sha256"] is None:
        return sample_files.sample_finding(NOT_FETCHED, STATES[image["state"]])
    told = f"the zip of a mask on it is not on disk; its masks are {', '.join(sorted(masks))}"
    return sample_files.sample_finding(NOT_FETCHED, told)


def _row(declaration: Declaration, said: dict[str, Any], masks: list[str]) -> dict[str, Any]:
    """What is said of a sample, and what becomes of it."""
    findings = [
        found
        | {"policy": declaration.policy(found["code"]), "numbers": [*found["numbers"].items()]}
        for found in said["findings"]
    ]
    reasons = sorted({found["code"] for found in findings if found["policy"] in (DROP, FAIL)})
    row = said | {
        "state": DROPPED if reasons else KEPT,
        "reasons": reasons,
        "findings": findings,
        "target_series_instance_uids": masks,
    }
    for which, folder in _FOLDERS.items():
        if reasons:
            row |= {which: None, f"{which}_bytes": None, f"{which}_sha256": None}
        elif row.get(f"{which}_sha256"):
            row[which] = f"{folder}/{said['SeriesInstanceUID']}.nii.gz"
    if row.get("label_voxels") is not None:
        row["label_voxels"] = [*row["label_voxels"].items()]
    return row


def _placed(declaration: Declaration, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with patient, part and fold; of a Series that nobody knows, these stay open."""
    known = [row for row in rows if row["PatientID"] or row["state"] == KEPT]
    columns = declaration.split.columns
    table = pa.table(
        {name: pa.array([row[name] for row in known], pa.string()) for name in columns}
    )
    parts = assign_splits(table, declaration.split).select(["patient", "part", "fold"]).to_pylist()
    found = {row["SeriesInstanceUID"]: row | part for row, part in zip(known, parts, strict=True)}
    return [found.get(row["SeriesInstanceUID"], row) for row in rows]


def _kept(samples: pa.Table) -> pa.Table:
    return samples.filter(pc.equal(samples["state"], KEPT))


def _demand_good(declaration: Declaration, done: SamplesResult) -> None:
    """Raises DatasetRefused where the declaration, or the split, forbids these samples."""
    failing = [
        f"{row['SeriesInstanceUID']}: {found['code']}: {found['message']}"
        for row in done.samples.select(["SeriesInstanceUID", "findings"]).to_pylist()
        for found in row["findings"]
        if found["policy"] == FAIL
    ]
    refuse = partial(DatasetRefused, declaration.name)
    if failing:
        advice = "leave them out of the cohort, or have `qc` drop or keep them"
        raise refuse(f"{len(failing)} findings have the policy 'fail'", failing, advice)
    if not _kept(done.samples).num_rows:
        tally = [
            f"{code} {count}" for (code, policy), count in done.tally.items() if policy == DROP
        ]
        raise refuse("no sample is left", tally, "see `qc` for what is dropped")
    if leaks := done.leaks(declaration):
        advice = "say under `split.same_patient` who is one person, or leave one of them out"
        raise refuse(f"{len(leaks)} values lie in several parts", map(str, leaks), advice)


# --- Putting together -----------------------------------------------------------------------------


def _assembled(
    declaration: Declaration,
    cohort: Cohort,
    info: DatasetInfo,
    done: SamplesResult,
    place: Path,
    writers: list[_Writer],
) -> Version:
    with _draft(place) as draft:
        for row in _kept(done.samples).select(["SeriesInstanceUID", *_FOLDERS]).to_pylist():
            made = place / _STORE / done.keys[row["SeriesInstanceUID"]]
            for which in _FOLDERS:
                if row[which]:
                    link_or_copy(sample_files.file_of(made, which), draft / row[which])
        placed = versions.files_of(draft)
        _demand_same(declaration.name, done, placed, place / _STORE)
        pq.write_table(done.samples, draft / INDEX, compression="zstd")
        for write in writers:
            write(draft, done.samples, info)
        files = versions.files_of(draft, hashed=placed)
        told = {
            "name": declaration.name,
            "settings": declaration.settings,
            "made_with": info.made_with,
            "cohort": {**cohort.content, "sha256": cohort.sha256},
        }
        return versions.publish(draft, place, told, files)


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone at the end: on a full disk its room is needed."""
    draft = place / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _writers(declaration: Declaration) -> list[_Writer]:
    """What writes each format that is declared, and the card; in an order that never changes.

    Raises:
        MissingExtra: one of them needs what is not installed.
    """
    from tcia_assets.datasets import card, formats  # noqa: PLC0415 - the card draws: an extra

    wanted = [name for name in FORMATS if name in declaration.formats and name != _NIFTI]
    return [*(partial(formats.write, name) for name in wanted), card.write_card]


def _demand_same(name: str, done: SamplesResult, files: list[VersionFile], store: Path) -> None:
    """Raises where a file of a sample is not what was made; the store forgets it then."""
    sha256s = {file.path: file.sha256 for file in files}
    spoiled = []
    for row in done.samples.to_pylist():
        uid = row["SeriesInstanceUID"]
        if any(row[n] and sha256s[row[n]] != row[f"{n}_sha256"] for n in _FOLDERS):
            spoiled.append(uid)
            shutil.rmtree(store / done.keys[uid], ignore_errors=True)
    if spoiled:
        problem = "files were changed after they were made"
        raise DatasetRefused(name, problem, spoiled, "build again, which makes them again")
