"""A cohort -> a version of its dataset: samples made, checked, split, written.

This module has the order of the steps. The steps themselves are in `sample_files.py`,
`sample_table.py` and `version_draft.py`.

    <data root>/datasets/<name>/cohort.lock.json    the frozen cohort (`cohort_lock.py`)
    <data root>/datasets/<name>/.samples/<key>/     finished samples (`sample_store.py`)
    <data root>/datasets/<name>/.draft/             the version that is being written
    <data root>/datasets/<name>/<version>/          a finished version

A build that ends early, even if killed, leaves earlier versions alone, and the next build makes
only the samples that `.samples` lacks. The files of a version are hard links to those in
`.samples`: they use no space twice, and a build of a larger cohort makes only what is new.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tcia_assets.datasets import sample_store, versions
from tcia_assets.datasets.cohort import IMAGE, Cohort, LockedZip
from tcia_assets.datasets.cohort_checks import check_cohort
from tcia_assets.datasets.cohort_leaks import find_cohort_leaks
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.sample_job import SampleJob
from tcia_assets.datasets.sample_pool import make_all
from tcia_assets.datasets.sample_table import (
    SamplesResult,
    build_table,
    channels_by_image,
    check_samples,
    lacks_channel,
    masks_by_image,
    refuse_leaks,
)
from tcia_assets.datasets.version_draft import STORE, format_writers, write_version
from tcia_assets.datasets.version_publishing import hold_dataset
from tcia_assets.datasets.versions import Version
from tcia_assets.datasets.volume import decoders
from tcia_assets.datasets.volume.decoders import installed
from tcia_assets.errors import MissingExtra, StorageError
from tcia_assets.progress import ProgressCallback, ignore_progress
from tcia_assets.store.warehouse import Warehouse
from tcia_assets.version import __version__

# Libraries that write tables and pictures, and do not decide what is in a sample.
_NOT_OF_SAMPLES = frozenset({"pyarrow", "pillow"})


@dataclass(frozen=True)
class BuildResult:
    """A version on disk; `made` of its samples were made, `reused` were in the store already."""

    version: Version
    samples: pa.Table
    made: int
    reused: int

    @property
    def folder(self) -> Path:
        """The folder of the version."""
        return self.version.folder


def build(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    workers: int | None = None,
    wait: float = 600.0,
) -> BuildResult:
    """Build the version of a dataset that its declaration and its cohort give.

    The same cohort, settings and versions of libraries give the same bytes, and so the same
    version. Whatever is raised, earlier versions are unchanged, and finished samples are kept.

    It starts processes: in a script, call it below `if __name__ == "__main__"`.

    Args:
        declaration: Of the dataset.
        cohort: From `cohort_lock.freeze_cohort` or `cohort_lock.load_cohort`.
        warehouse: Has the zips; the dataset is written below its root.
        report: Called with the number of finished samples and of all samples.
        workers: Processes that make samples; one for each core by default. Each holds one sample in
            memory.
        wait: Seconds to wait for another build of the same dataset.

    Raises:
        BadDeclaration: No image of the cohort has a held-out value.
        CohortMoved: The declaration's query or the zips have changed since the cohort was frozen.
        LicenseConflict: The declaration refuses the licence of a Series.
        DatasetRefused: Samples cannot be made, have a finding whose policy is to fail, are in
            several splits, or none is left; names them and the reasons.
        DataError: A sample has no PatientID.
        MissingExtra: SimpleITK, or a library that a format needs, is not installed.
        StorageError: A file cannot be written, or workers were killed.
        Busy: Another build of this dataset takes longer than `wait`.
    """
    # First: a missing extra must not show after hours of work.
    writers = format_writers(declaration)
    with hold_dataset(declaration.name, warehouse, wait):
        result = _make_samples(declaration, cohort, warehouse, report, workers)
        check_samples(declaration, result)
        folder = versions.dataset_folder(warehouse.root, declaration.name)
        info = DatasetInfo.of(declaration, cohort, made_with(declaration))
        with _storage_errors(folder):
            version = write_version(declaration, cohort, info, result, folder, writers)
            sample_store.keep_samples(folder / STORE, result.keys.values())
        return BuildResult(version, result.samples, result.made, result.reused)


def make_samples(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    *,
    report: ProgressCallback = ignore_progress,
    workers: int | None = None,
    wait: float = 600.0,
) -> SamplesResult:
    """Make the samples that `build` would put into a version; see `build`.

    Findings whose policy is to fail, and equal pixels in two splits, are in the result: they raise
    nothing here.
    """
    with hold_dataset(declaration.name, warehouse, wait):
        return _make_samples(declaration, cohort, warehouse, report, workers)


def made_with(declaration: Declaration) -> dict[str, str]:
    """Return the versions of all libraries on which the bytes of a dataset depend.

    Raises:
        MissingExtra: The declaration needs a library that is not installed.
    """
    names = ("nibabel", "numpy", "pillow", "pydicom", "pyarrow")
    found = {"tcia_assets": __version__} | {name: installed(name) for name in names}
    found |= decoders.made_with()
    isal = installed("isal")
    found |= {"isal": isal} if isal else {"zlib": zlib.ZLIB_RUNTIME_VERSION}
    if purpose := _needs_simpleitk(declaration):
        if not (number := installed("SimpleITK")):
            raise MissingExtra("SimpleITK", "resample", purpose)
        found["SimpleITK"] = number
    return found


def _needs_simpleitk(declaration: Declaration) -> str:
    if declaration.volume.spacing is not None or len(declaration.channels) > 1:
        return "resampling"
    target = declaration.target
    return "interpolating or combining labels" if target and target.choices.needs_simpleitk else ""


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        problem = f"{error.filename or folder} cannot be written: {reason}"
        raise StorageError(f"{problem}; earlier versions are unchanged") from error


def _make_samples(
    declaration: Declaration,
    cohort: Cohort,
    warehouse: Warehouse,
    report: ProgressCallback,
    workers: int | None,
) -> SamplesResult:
    zips = check_cohort(declaration, cohort, warehouse)
    store = versions.dataset_folder(warehouse.root, declaration.name) / STORE
    with _storage_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        sample_store.remove_drafts(store)
    jobs = _jobs(declaration, cohort, zips)
    reused = {
        uid: rows
        for uid, job in jobs.items()
        if (rows := sample_store.read_samples(store, job.key)) is not None
    }

    def report_made(made: int) -> None:
        report(len(reused) + made, len(jobs))

    report_made(0)
    to_make = [uid for uid in jobs if uid not in reused]
    known = build_table(declaration, cohort, reused).to_pylist()
    refuse_leaks(declaration, find_cohort_leaks(declaration, cohort, warehouse, known, to_make))
    made = make_all(declaration.name, [jobs[uid] for uid in to_make], store, report_made, workers)
    samples = build_table(declaration, cohort, reused | made)
    keys = {uid: jobs[uid].key for uid in sorted(reused | made)}
    return SamplesResult(samples, keys, len(made), len(reused))


def _jobs(
    declaration: Declaration, cohort: Cohort, zips: Mapping[str, LockedZip]
) -> dict[str, SampleJob]:
    """Return the job of each image whose zip is on disk, with those of its masks and channels."""
    pairs, channels = masks_by_image(cohort), channels_by_image(cohort)
    others = _NOT_OF_SAMPLES - decoders.made_with().keys()
    others -= {"pillow"} if declaration.frames else set()
    libraries = {n: number for n, number in made_with(declaration).items() if n not in others}
    jobs = {}
    for image in cohort.of_role(IMAGE).to_pylist():
        uid = image["SeriesInstanceUID"]
        needed = {uid, *(pair["target_series_instance_uid"] for pair in pairs[uid])}
        needed |= {channel["SeriesInstanceUID"] for channel in channels[uid]} - {None}
        if needed <= zips.keys() and not lacks_channel(channels[uid]):
            made_of = (pairs[uid], channels[uid])
            jobs[uid] = SampleJob.of(declaration, image, *made_of, zips, libraries)
    return jobs
