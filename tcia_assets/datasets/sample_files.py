"""The samples of a Series: from its zip and those of its masks to NIfTI files, and a row for each.

This is the work of one process, with all that it needs. What becomes of the findings is decided in
`sample_table.py`; the files are kept in `sample_store.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.cohort import LockedZip
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.quality import WITHOUT_TARGET
from tcia_assets.datasets.sample_code import code_digest
from tcia_assets.datasets.sample_store import (
    IMAGE,
    LABEL,
    sample_draft,
    sample_path,
    store_samples,
)
from tcia_assets.datasets.samples import name_sample
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.findings import (
    WRONG_VALUES,
    Finding,
    NoVolume,
    make_finding,
)
from tcia_assets.datasets.volume.label_grid import LabelChoices
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.regrid import axis_codes, reorient, resample
from tcia_assets.datasets.volume.volume_reader import SeriesVolumes, open_volumes
from tcia_assets.datasets.volume_settings import VolumeSettings
from tcia_assets.datasets.written_values import check_range, convert_values
from tcia_assets.errors import BadValue
from tcia_assets.store.files import sha256_of

_KEY_DIGITS = 32


@dataclass(frozen=True)
class Mask:
    """The zip of a SEG or RTSTRUCT Series, and the objects in it that lie on the image."""

    zip: LockedZip
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class SampleJob:
    """All that decides what is in a sample; `labels` and `priority` are empty without a target."""

    series_instance_uid: str
    zip: LockedZip
    image_count: int | None
    masks: tuple[Mask, ...]
    volume: VolumeSettings
    labels: tuple[tuple[str, str], ...]
    priority: tuple[str, ...]
    made_with: Mapping[str, str]
    choices: LabelChoices = field(default_factory=LabelChoices)
    code: str = field(default_factory=code_digest)

    @cached_property
    def key(self) -> str:
        """The key in the store: a hash of all fields, but of no path."""
        content = {
            "series": self.series_instance_uid,
            "archive": self.zip.content,
            "image_count": self.image_count,
            "masks": [[mask.zip.content, mask.sop_instance_uids] for mask in self.masks],
            "volume": self.volume.model_dump(mode="json"),
            "labels": self.labels,
            "priority": self.priority,
            "choices": asdict(self.choices),
            "made_with": dict(self.made_with),
            "code": self.code,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        return digest.hexdigest()[:_KEY_DIGITS]

    @classmethod
    def of(
        cls,
        declaration: Declaration,
        image: Mapping[str, Any],
        pairs: Iterable[Mapping[str, Any]],
        zips: Mapping[str, LockedZip],
        made_with: Mapping[str, str],
    ) -> SampleJob:
        """Return the job of an image of the cohort.

        Args:
            declaration: Of the dataset.
            image: A row of `cohort.SERIES`.
            pairs: The rows of `cohort.PAIRS` with this image.
            zips: The zips of all Series, by UID.
            made_with: The versions of the libraries that decide what is in the files.
        """
        objects: dict[str, set[str]] = {}
        for pair in pairs:
            uids = objects.setdefault(pair["target_series_instance_uid"], set())
            uids.add(pair["SOPInstanceUID"] or "")
        masks = (Mask(zips[uid], tuple(sorted(sops))) for uid, sops in sorted(objects.items()))
        uid, target = image["SeriesInstanceUID"], declaration.target
        return cls(
            series_instance_uid=uid,
            zip=zips[uid],
            image_count=image["ImageCount"],
            masks=tuple(masks),
            volume=declaration.volume,
            labels=() if target is None else tuple(target.labels.items()),
            priority=() if target is None else target.priority,
            choices=LabelChoices() if target is None else target.choices,
            made_with=made_with,
        )


def make_samples(job: SampleJob, store: Path) -> list[dict[str, Any]]:
    """Make the samples of a Series, usually one, keep them in the store, and return their rows.

    Rows have the columns of `samples.SAMPLES` that depend on the zips alone.

    Raises:
        CohortMoved: A zip is missing, or is not the one that was fetched.
        BadValue: Voxels do not fit into the declared dtype.
        BadArchive, MissingExtra, OSError: see `open_volumes`.
    """
    with sample_draft(store) as draft:
        rows = _write_files(job, draft)
        store_samples(store, job.key, draft, rows)
    return rows


def sample_finding(code: str, message: str) -> dict[str, Any]:
    """Return a finding about the sample, as opposed to its volume."""
    return {"code": code, "message": message, "numbers": {}, "sop_instance_uids": []}


def _write_files(job: SampleJob, folder: Path) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        image, *masks = [
            stack.enter_context(zip_.open())
            for zip_ in (job.zip, *(mask.zip for mask in job.masks))
        ]
        opened = open_volumes(
            image,
            job.volume.choose,
            image_count=job.image_count,
            least_slices=job.volume.least_slices,
            workers=1,
        )
        try:
            with opened as volumes:
                return [
                    _write_volume(job, masks, volumes, place, folder) for place in volumes.chosen
                ]
        except NoVolume as error:
            return [_no_volume(job, error)]


def _write_volume(
    job: SampleJob, masks: Sequence[Path], volumes: SeriesVolumes, place: int, folder: Path
) -> dict[str, Any]:
    """Write the files of a volume, and return its row."""
    is_numbered = len(volumes.chosen) > 1
    sample = name_sample(job.series_instance_uid, place + 1 if is_numbered else 0)
    try:
        volume = volumes.read(place)
        _check_values(job, volume)
    except NoVolume as error:
        return _no_volume(job, error) | {"sample": sample}
    row: dict[str, Any] = {
        "sample": sample,
        "volume": volume.name or None,
        "FrameOfReferenceUID": volume.frame_of_reference_uid or None,
        "pixel_sha256": _pixel_sha256(volume),
        "units": volume.units,
        "decoder": volume.decoder or None,
    }
    findings = [_finding_row(finding) for finding in volume.findings]
    if job.masks:
        labels = _read_labels(job, masks, volume)
        row |= _write_image(sample_path(folder, LABEL, sample), LABEL, labels)
        row["label_voxels"] = {labels.names[n]: count for n, count in labels.counts.items()}
        if labels.readers:
            row["label_readers"] = [list(uids) for uids in labels.readers]
        findings += [_finding_row(finding) for finding in labels.findings]
        del labels  # before the volume is copied: one large array less
    elif job.labels:
        findings.append(sample_finding(WITHOUT_TARGET, "no mask is paired with the Series"))
    volume, constant = convert_values(_to_grid(volume, job.volume), job.volume)
    findings += [_finding_row(finding) for finding in constant]
    row |= _describe(volume) | _write_image(sample_path(folder, IMAGE, sample), IMAGE, volume)
    return row | {"findings": findings}


def _check_values(job: SampleJob, volume: Volume) -> None:
    """Raise NoVolume if values that are wrong do not fit into the dtype: no build stops for them.

    Raises:
        BadValue: Values that are right do not fit.
    """
    try:
        check_range(volume, job.volume)
    except BadValue as error:
        if not any(finding.code in WRONG_VALUES for finding in volume.findings):
            raise
        finding = make_finding("values_beyond_dtype", str(job.volume.dtype))
        raise NoVolume(job.series_instance_uid, (*volume.findings, finding)) from error


def _no_volume(job: SampleJob, error: NoVolume) -> dict[str, Any]:
    findings = [_finding_row(finding) for finding in error.findings]
    return {"sample": name_sample(job.series_instance_uid), "findings": findings}


# --- Labels and grid -----------------------------------------------------------------------------


def _read_labels(job: SampleJob, masks: Sequence[Path], volume: Volume) -> Labels:
    patterns = LabelPatterns.compile(dict(job.labels), job.priority)
    uids = {uid for mask in job.masks for uid in mask.sop_instance_uids}
    labels = read_labels(masks, volume, patterns, sop_instance_uids=uids, choices=job.choices)
    placed: Labels = _to_grid(labels, job.volume)
    return replace(placed, findings=(*labels.findings, *_lost_labels(labels, placed)))


def _lost_labels(before: Labels, after: Labels) -> list[Finding]:
    """Return findings about labels that have no voxel left on a coarser grid."""
    lost = [n for n, count in before.counts.items() if count and not after.counts[n]]
    if lost and not any(after.counts.values()):
        return [make_finding("empty_mask", "on the new grid", labels=len(before.counts))]
    return [
        make_finding("target_missing", f"{before.names[n]!r}, on the new grid", label=n)
        for n in lost
    ]


def _to_grid(image: Any, settings: VolumeSettings) -> Any:
    if settings.spacing is not None:
        return resample(image, settings.spacing, settings.orientation)
    if settings.orientation is not None:
        return reorient(image, settings.orientation)
    return image


# --- The row --------------------------------------------------------------------------------------


def _pixel_sha256(volume: Volume) -> str:
    """Hash shape, dtype and voxels as they were read; the same on every machine."""
    dtype = volume.voxels.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{volume.voxels.shape} {dtype.str}\n".encode())
    for values in volume.voxels:
        digest.update(np.ascontiguousarray(values, dtype=dtype).data)
    return digest.hexdigest()


def _describe(volume: Volume) -> dict[str, Any]:
    return {
        "shape": list(volume.voxels.shape[::-1]),
        "spacing": list(volume.spacing),
        "affine": volume.affine.ravel().tolist(),
        "axes": axis_codes(volume.affine),
        "dtype": volume.voxels.dtype.name,
        "least": float(volume.voxels.min()),
        "greatest": float(volume.voxels.max()),
    }


def _write_image(path: Path, kind: str, image: Volume | Labels) -> dict[str, Any]:
    size = write_nifti(path, image)
    return {f"{kind}_bytes": size, f"{kind}_sha256": sha256_of(path)}


def _finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "message": finding.message,
        "numbers": {name: float(number) for name, number in sorted(finding.numbers.items())},
        "sop_instance_uids": list(finding.sop_instance_uids),
    }
