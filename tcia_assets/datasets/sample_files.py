"""One sample: from the zips of an image and its masks to NIfTI files and what its row says.

What belongs here: the work of a process of its own, and what it needs to know. What does not: which
samples there are, what becomes of those with findings, and where they go (`build.py`).

A sample lies in a folder that is named by all that decides what is in it, and that appears whole or
not at all: so one that is there need not be made again, whoever killed the build before.

    <store>/<key>/image.nii.gz, label.nii.gz, sample.json
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.cohort import SeriesZip
from tcia_assets.datasets.declaration import Declaration, VolumeSettings
from tcia_assets.datasets.quality import WITHOUT_TARGET
from tcia_assets.datasets.volume import (
    Finding,
    LabelPatterns,
    Labels,
    NoVolume,
    Volume,
    axis_codes,
    read_labels,
    read_volume,
    reorient,
    resample,
    write_nifti,
)
from tcia_assets.datasets.volume.findings import make_finding
from tcia_assets.errors import BadValue, CohortMoved
from tcia_assets.store.files import publish_draft, sha256_of

IMAGE, LABEL = "image", "label"
_RECORD = "sample.json"
_DRAFT_PREFIX = ".making-"
_KEY_LENGTH = 32
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Mask:
    """The zip of a SEG or RTSTRUCT Series, and its objects that lie on the image."""

    zip: SeriesZip
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class SampleJob:
    """A sample to be made. `labels` and `priority` are empty without a target."""

    series_instance_uid: str
    zip: SeriesZip
    image_count: int | None
    masks: tuple[Mask, ...]
    volume: VolumeSettings
    labels: tuple[tuple[str, str], ...]
    priority: tuple[str, ...]
    made_with: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """Of all that decides what is made; of no path."""
        told = {
            "series": self.series_instance_uid,
            "archive": self.zip.content,
            "image_count": self.image_count,
            "masks": [[mask.zip.content, mask.sop_instance_uids] for mask in self.masks],
            "volume": self.volume.model_dump(mode="json"),
            "labels": self.labels,
            "priority": self.priority,
            "made_with": dict(self.made_with),
        }
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        return digest.hexdigest()[:_KEY_LENGTH]

    @classmethod
    def of(
        cls,
        declaration: Declaration,
        image: Mapping[str, Any],
        pairs: Iterable[Mapping[str, Any]],
        archives: Mapping[str, SeriesZip],
        made_with: Mapping[str, str],
    ) -> SampleJob:
        """The job of an image of the cohort, with the pairs that it is in."""
        objects: dict[str, set[str]] = {}
        for pair in pairs:
            uids = objects.setdefault(pair["target_series_instance_uid"], set())
            uids.add(pair["SOPInstanceUID"] or "")
        masks = (Mask(archives[uid], tuple(sorted(sops))) for uid, sops in sorted(objects.items()))
        uid, target = image["SeriesInstanceUID"], declaration.target
        return cls(
            series_instance_uid=uid,
            zip=archives[uid],
            image_count=image["ImageCount"],
            masks=tuple(masks),
            volume=declaration.volume,
            labels=() if target is None else tuple(target.labels.items()),
            priority=() if target is None else target.priority,
            made_with=made_with,
        )


# --- The store ------------------------------------------------------------------------------------


def read_sample(key: str, store: Path) -> dict[str, Any] | None:
    """What the row of a sample says, if the store has it, with files of the right size."""
    folder = store / key
    try:
        row: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        whole = all(
            file_of(folder, which).stat().st_size == row[f"{which}_bytes"]
            for which in (IMAGE, LABEL)
            if row.get(f"{which}_bytes") is not None
        )
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return row if whole else None


def file_of(folder: Path, which: str) -> Path:
    """Where the `IMAGE` or the `LABEL` of a sample lies."""
    return folder / f"{which}.nii.gz"


def discard_samples(store: Path, kept: Iterable[str] = ()) -> None:
    """Removes all samples but these from the store, and what killed builds left."""
    names = set(kept)
    for folder in store.iterdir() if store.is_dir() else ():
        if folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)


def discard_drafts(store: Path) -> None:
    for folder in store.glob(f"{_DRAFT_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def make_sample(job: SampleJob, store: Path) -> dict[str, Any]:
    """Makes a sample, and says what its row says of it.

    Raises:
        CohortMoved: a zip is not the one that was fetched.
        BadValue: voxels do not fit into the dtype that is declared.
        BadArchive, MissingExtra, OSError: see `volume.read_volume`.
    """
    store.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT_PREFIX, dir=store))
    try:
        row = _made(job, draft)
        record = draft / _RECORD
        record.write_text(json.dumps(row, indent=1), encoding="utf-8")
        shutil.rmtree(store / job.key, ignore_errors=True)  # only what `made` refuses
        publish_draft(draft, store / job.key)
        return row
    finally:
        shutil.rmtree(draft, ignore_errors=True)


# --- A sample -------------------------------------------------------------------------------------


def _made(job: SampleJob, folder: Path) -> dict[str, Any]:
    for each in (job.zip, *(mask.zip for mask in job.masks)):
        _demand(each.path, each.sha256)
    try:
        volume = read_volume(
            job.zip.path,
            image_count=job.image_count,
            least_slices=job.volume.least_slices,
            workers=1,
        )
    except NoVolume as error:
        return {"findings": [_told(found) for found in error.findings]}
    row: dict[str, Any] = {
        "FrameOfReferenceUID": volume.frame_of_reference_uid or None,
        "pixel_sha256": _pixel_sha256(volume),
        "units": volume.units,
    }
    findings = [_told(found) for found in volume.findings]
    if job.masks:
        labels = _labels(job, volume)
        row |= _written(folder, LABEL, labels)
        row["label_voxels"] = {labels.names[n]: count for n, count in labels.counts.items()}
        findings += [_told(found) for found in labels.findings]
        del labels
    elif job.labels:
        findings.append(without_target())
    volume = _valued(_on_grid(volume, job.volume), job.volume)
    return row | _described(volume) | _written(folder, IMAGE, volume) | {"findings": findings}


def _demand(path: Path, sha256: str) -> None:
    try:
        is_same = sha256_of(path) == sha256
    except FileNotFoundError:
        problem = "it is not there any more"
        raise CohortMoved(
            f"{path}: {problem}; tcia-assets verify, then fetch, has it again"
        ) from None
    if not is_same:
        problem = "it is another zip than was fetched"
        raise CohortMoved(f"{path}: {problem}; tcia-assets verify looks at it, fetch has it again")


def _labels(job: SampleJob, volume: Volume) -> Labels:
    targets = LabelPatterns.compile(dict(job.labels), job.priority)
    wanted = {uid for mask in job.masks for uid in mask.sop_instance_uids}
    read = read_labels(
        [mask.zip.path for mask in job.masks], volume, targets, sop_instance_uids=wanted
    )
    placed: Labels = _on_grid(read, job.volume)
    return replace(placed, findings=(*read.findings, *_lost(read, placed)))


def _lost(before: Labels, after: Labels) -> list[Finding]:
    """Labels that another grid is too coarse for."""
    gone = [n for n, count in before.counts.items() if count and not after.counts[n]]
    if gone and not any(after.counts.values()):
        return [make_finding("empty_mask", "on the new grid", labels=len(before.counts))]
    return [
        make_finding("target_missing", f"{before.names[n]!r}, on the new grid", label=n)
        for n in gone
    ]


def _on_grid(image: Any, settings: VolumeSettings) -> Any:
    if settings.spacing is not None:
        return resample(image, settings.spacing, settings.orientation)
    if settings.orientation is not None:
        return reorient(image, settings.orientation)
    return image


def _valued(volume: Volume, settings: VolumeSettings) -> Volume:
    """The volume in the dtype and window that are declared, a slice at a time."""
    old = volume.voxels
    kind = np.dtype(settings.dtype or old.dtype)
    if settings.window is None and kind == old.dtype:
        return volume
    if settings.window is None:
        _demand_fit(volume, kind)
    is_whole = kind.kind in "iu"
    lowest, highest = (np.iinfo(kind).min, np.iinfo(kind).max) if is_whole else (0, 1)
    voxels = np.empty(old.shape, kind)
    for new, image in zip(voxels, old, strict=True):
        values = image
        if settings.window is not None:
            low, high = settings.window
            share = (np.clip(image, low, high).astype(np.float64) - low) / (high - low)
            values = lowest + share * (highest - lowest)
        new[...] = np.rint(values) if is_whole else values
    return replace(volume, voxels=voxels)


def _demand_fit(volume: Volume, kind: np.dtype[Any]) -> None:
    least, greatest = float(volume.voxels.min()), float(volume.voxels.max())
    if kind.kind in "iu" and not np.iinfo(kind).min <= least <= greatest <= np.iinfo(kind).max:
        problem = (
            f"its values from {least:g} to {greatest:g} do not fit into {kind}: declare a window, "
            "or the dtype float32"
        )
        uid = volume.series_instance_uid
        raise BadValue(problem, table="samples", column="dtype", value=str(kind), key=uid)


def _pixel_sha256(volume: Volume) -> str:
    """Over shape, dtype and voxels as they were read, on any machine."""
    little = volume.voxels.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{volume.voxels.shape} {little.str}\n".encode())
    for image in volume.voxels:
        digest.update(np.ascontiguousarray(image, dtype=little).data)
    return digest.hexdigest()


def _described(volume: Volume) -> dict[str, Any]:
    return {
        "shape": list(volume.voxels.shape[::-1]),
        "spacing": list(volume.spacing),
        "affine": volume.affine.ravel().tolist(),
        "axes": axis_codes(volume.affine),
        "dtype": volume.voxels.dtype.name,
        "least": float(volume.voxels.min()),
        "greatest": float(volume.voxels.max()),
    }


def _written(folder: Path, which: str, image: Volume | Labels) -> dict[str, Any]:
    path = file_of(folder, which)
    size = write_nifti(path, image)
    return {f"{which}_bytes": size, f"{which}_sha256": sha256_of(path)}


def _told(found: Finding) -> dict[str, Any]:
    return {
        "code": found.code,
        "message": found.message,
        "numbers": {name: float(number) for name, number in sorted(found.numbers.items())},
        "sop_instance_uids": list(found.sop_instance_uids),
    }


def sample_finding(code: str, message: str) -> dict[str, Any]:
    """A finding about the sample and not about its volume."""
    return {"code": code, "message": message, "numbers": {}, "sop_instance_uids": []}


def without_target() -> dict[str, Any]:
    return sample_finding(WITHOUT_TARGET, "no mask is paired with the Series")


# --- Processes ------------------------------------------------------------------------------------


def end_with_parent() -> None:
    """Ends this process when the one that builds does, even if that was killed."""
    # A terminal interrupts all processes at once; the one that builds decides for the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        with suppress(OSError):
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
