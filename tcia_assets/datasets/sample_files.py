"""The samples of a Series: from its zip and those of its masks to files, and a row for each.

This is the work of one process, with all that it needs. What becomes of the findings is decided in
`sample_table.py`; the files are kept in `sample_store.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tcia_assets.datasets.frame_samples import write_frames
from tcia_assets.datasets.quality import WITHOUT_TARGET
from tcia_assets.datasets.sample_channels import (
    NoChannel,
    channel_row,
    find_grid,
    place_findings,
    write_channels,
)
from tcia_assets.datasets.sample_grid import Grid, find_box, to_grid
from tcia_assets.datasets.sample_job import SampleJob
from tcia_assets.datasets.sample_rows import (
    describe_grid,
    describe_read,
    describe_values,
    finding_row,
    sample_finding,
    write_image,
)
from tcia_assets.datasets.sample_store import (
    IMAGE,
    LABEL,
    Row,
    sample_draft,
    sample_path,
    store_samples,
)
from tcia_assets.datasets.samples import name_sample
from tcia_assets.datasets.volume.arrays import Labels, Volume
from tcia_assets.datasets.volume.boxes import Box, cut
from tcia_assets.datasets.volume.findings import Finding, NoVolume, make_finding
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.volume_reader import SeriesVolumes, open_volumes
from tcia_assets.datasets.written_values import check_values, convert_values


def make_samples(job: SampleJob, store: Path) -> list[Row]:
    """Make the samples of a Series, usually one, keep them in the store, and return their rows.

    Rows have the columns of `samples.SAMPLES` that depend on the zips alone.

    Raises:
        CohortMoved: A zip is missing, or is not the one that was fetched.
        BadValue: Voxels do not fit into the declared dtype.
        BadArchive, MissingExtra, OSError: see `open_volumes`.
    """
    with sample_draft(store) as draft:
        rows = _write_frames(job, draft) if job.frames else _write_files(job, draft)
        store_samples(store, job.key, draft, rows)
    return rows


def _write_frames(job: SampleJob, folder: Path) -> list[Row]:
    with job.zip.open() as path:
        return list(write_frames(path, job, folder))


def _write_files(job: SampleJob, folder: Path) -> list[Row]:
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
) -> Row:
    """Write the files of a volume, and return its row."""
    is_numbered = len(volumes.chosen) > 1
    sample = name_sample(job.series_instance_uid, place + 1 if is_numbered else 0)
    try:
        volume = volumes.read(place, job.volume.units)
        check_values(volume, job.volume)
        return _write_sample(job, masks, volume, folder, sample)
    except NoVolume as error:
        return _no_volume(job, error) | {"sample": sample}
    except NoChannel as error:
        for path in folder.glob(f"{sample}.*"):
            path.unlink()
        return {"sample": sample, "findings": error.findings}


def _write_sample(
    job: SampleJob, masks: Sequence[Path], volume: Volume, folder: Path, sample: str
) -> Row:
    read = describe_read(volume)
    findings = [finding_row(finding) for finding in volume.findings]
    grid = find_grid(job)
    labels = _read_labels(job, masks, volume, grid) if job.masks else None
    placed, box = None, None
    if job.volume.is_cut:
        placed = to_grid(volume, job.volume, grid)
        box, about = find_box(job.volume, placed, labels)
        placed = cut(placed, box)
        findings += [finding_row(finding) for finding in about]
    row, found = _write_labels(job, labels, box, sample_path(folder, LABEL, sample))
    findings += found
    del labels  # before the volume is copied: one large array less
    placed = to_grid(volume, job.volume, grid) if placed is None else placed
    as_written = Grid.of(placed)
    if grid is not None:
        findings += [finding_row(each) for each in place_findings(volume, volume, as_written)]
    channels, found = write_channels(job, volume, as_written, folder, sample)
    written, constant = convert_values(placed, job.volume, volume.voxels.dtype)
    image = read | describe_values(written)
    image |= write_image(sample_path(folder, IMAGE, sample), IMAGE, written)
    if job.channels:
        row["channels"] = _in_order(job, channels, image)
    findings += [*(finding_row(finding) for finding in constant), *found]
    row |= {"sample": sample, "FrameOfReferenceUID": volume.frame_of_reference_uid or None}
    return row | image | describe_grid(written) | {"findings": findings}


def _write_labels(
    job: SampleJob, labels: Labels | None, box: Box | None, path: Path
) -> tuple[Row, list[Row]]:
    """Write the labels of a sample, and return what is said of them, and findings."""
    if labels is None:
        without = sample_finding(WITHOUT_TARGET, "no mask is paired with the Series")
        return {}, [without] if job.labels else []
    labels = labels if box is None else _cut_labels(labels, box)
    row = write_image(path, LABEL, labels)
    row["label_voxels"] = {labels.names[n]: count for n, count in labels.counts.items()}
    if labels.readers:
        row["label_readers"] = [list(uids) for uids in labels.readers]
    return row, [finding_row(finding) for finding in labels.findings]


def _in_order(job: SampleJob, others: list[Row], image: Row) -> list[Row]:
    """Return the rows of all channels in the declared order; one is the image itself."""
    rows = {row["name"]: row for row in others}
    return [rows.get(each.name) or channel_row(each, image) for each in job.channels]


def _no_volume(job: SampleJob, error: NoVolume) -> Row:
    findings = [finding_row(finding) for finding in error.findings]
    return {"sample": name_sample(job.series_instance_uid), "findings": findings}


# --- Labels ---------------------------------------------------------------------------------------


def _read_labels(
    job: SampleJob, masks: Sequence[Path], volume: Volume, grid: Grid | None
) -> Labels:
    patterns = LabelPatterns.compile(dict(job.labels), job.priority)
    uids = {uid for mask in job.masks for uid in mask.sop_instance_uids}
    labels = read_labels(masks, volume, patterns, sop_instance_uids=uids, choices=job.choices)
    placed: Labels = to_grid(labels, job.volume, grid)
    return replace(placed, findings=(*labels.findings, *_lost_labels(labels, placed)))


def _cut_labels(labels: Labels, box: Box) -> Labels:
    made = cut(labels, box)
    return replace(made, findings=(*labels.findings, *_lost_labels(labels, made)))


def _lost_labels(before: Labels, after: Labels) -> list[Finding]:
    """Return findings about labels that have no voxel left on another grid."""
    lost = [n for n, count in before.counts.items() if count and not after.counts[n]]
    if lost and not any(after.counts.values()):
        return [make_finding("empty_mask", "on the new grid", labels=len(before.counts))]
    return [
        make_finding("target_missing", f"{before.names[n]!r}, on the new grid", label=n)
        for n in lost
    ]
