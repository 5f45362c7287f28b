"""The channels of a case: from their zips to NIfTI files on the grid of the case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tcia_assets.datasets.quality import CHANNEL_MISSING
from tcia_assets.datasets.sample_grid import Grid, to_grid
from tcia_assets.datasets.sample_job import Channel, SampleJob
from tcia_assets.datasets.sample_rows import (
    describe_read,
    describe_values,
    finding_row,
    sample_finding,
    write_image,
)
from tcia_assets.datasets.sample_store import IMAGE, channel_kind, sample_path
from tcia_assets.datasets.volume.arrays import Volume
from tcia_assets.datasets.volume.findings import Finding, NoVolume, make_finding
from tcia_assets.datasets.volume.regrid import covered_share
from tcia_assets.datasets.volume.volume_reader import open_volumes
from tcia_assets.datasets.written_values import check_values, convert_values

Row = dict[str, Any]


class NoChannel(Exception):
    """A channel cannot become a volume, so that there is no case; `findings` has the reasons."""

    def __init__(self, findings: list[Row]) -> None:
        self.findings = findings
        super().__init__("; ".join(each["message"] for each in findings))


def find_grid(job: SampleJob) -> Grid | None:
    """Return the grid of the channel that `volume.grid` names; None for that of the image itself.

    Raises:
        NoChannel: The channel has no volume.
    """
    name = job.volume.grid
    channel = next((each for each in job.channels if each.name == name), None)
    if channel is None or channel.is_reference:
        return None
    return Grid.of(to_grid(_read(channel), job.volume))


def write_channels(
    job: SampleJob, reference: Volume, grid: Grid, folder: Path, sample: str
) -> tuple[list[Row], list[Row]]:
    """Write the files of all channels but the reference; return a row for each, and findings.

    Args:
        job: Of the case.
        reference: The reference, as it was read.
        grid: Of the case.
        folder: Where the files are written.
        sample: The name of the sample.

    Raises:
        NoChannel: A channel has no volume.
    """
    rows, findings = [], []
    for channel in job.channels:
        if channel.is_reference:
            continue
        path = sample_path(folder, channel_kind(channel.name), sample)
        if channel.zip is None:
            volume, row = _zeros(channel, reference, grid), {}
        else:
            read = _read(channel)
            row = describe_read(read)
            found = [*read.findings, *place_findings(read, reference, grid)]
            volume = to_grid(read, channel.volume, grid)
            volume, constant = convert_values(volume, channel.volume, read.voxels.dtype)
            findings += [finding_row(each, channel.name) for each in (*found, *constant)]
        row |= describe_values(volume) | write_image(path, IMAGE, volume)
        rows.append(channel_row(channel, row))
    return rows, findings


def channel_row(channel: Channel, row: Row) -> Row:
    """Return the row of a channel, from what is said of its image."""
    named = {"name": channel.name, "is_reference": channel.is_reference}
    return named | {"SeriesInstanceUID": channel.series_instance_uid or None} | row


def _read(channel: Channel) -> Volume:
    """Return the volume of a channel, as it is read."""
    if channel.zip is None:
        raise NoChannel([sample_finding(CHANNEL_MISSING, f"the grid is that of {channel.name!r}")])
    settings = channel.volume
    with channel.zip.open() as path:
        opened = open_volumes(
            path,
            settings.choose,
            image_count=channel.image_count,
            least_slices=settings.least_slices,
            workers=1,
        )
        try:
            with opened as volumes:
                volume = volumes.read(volumes.chosen[0], settings.units)
                check_values(volume, settings)
        except NoVolume as error:
            rows = [finding_row(finding, channel.name) for finding in error.findings]
            raise NoChannel(rows) from error
    return volume


def place_findings(volume: Volume, reference: Volume, grid: Grid) -> Iterator[Finding]:
    """Yield findings about where a channel lies: in which frame of reference, and on the grid."""
    frames = (volume.frame_of_reference_uid, reference.frame_of_reference_uid)
    if all(frames) and frames[0] != frames[1]:
        yield make_finding("channel_other_frame", f"{frames[0]}, not {frames[1]}")
    share = covered_share(volume, grid.affine, grid.size)
    if share == 0:
        yield make_finding("channel_outside")
    elif share < 1:
        yield make_finding("channel_partly_outside", f"about {1 - share:.0%}", share=1 - share)


def _zeros(channel: Channel, reference: Volume, grid: Grid) -> Volume:
    dtype = channel.volume.dtype or reference.voxels.dtype
    return reference.on_grid(np.zeros(grid.size[::-1], dtype), grid.affine)
