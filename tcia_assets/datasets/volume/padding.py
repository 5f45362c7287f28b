"""Padding: pixels that a scanner wrote where it measured nothing, outside its field of view.

PixelPaddingValue, and with PixelPaddingRangeLimit a range, are stored values. In a CT, padding is
usually far below the values of air, and becomes air, with all that is nearer to it than to air:
lossy compression changes it. Padding that might be tissue stays: many
writers declare a value that is none, so that it cannot be told from tissue voxel by voxel. It is
padding if it lies along the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tcia_assets.datasets.volume.arrays import Voxels
from tcia_assets.datasets.volume.attributes import read_number
from tcia_assets.datasets.volume.findings import Finding, make_finding
from tcia_assets.datasets.volume.frames import Frame
from tcia_assets.datasets.volume.pixels import StoredPixels, stored_value

AIR = -1024
"""In Hounsfield units; what scanners write outside the field of view without padding."""
# Below it is no tissue, not even of a lung.
_NO_TISSUE = -950
# A part of the pixels along the edges; of one value, tissue has fewer.
_EDGES = 0.05


@dataclass(frozen=True)
class Padding:
    """Padding that was taken out of the pixels.

    `masks` has the pixels of each slice with padding, packed as bits; `findings` is what is known
    about padding.
    """

    masks: dict[int, Voxels]
    findings: tuple[Finding, ...] = ()

    def fill(self, voxels: Voxels) -> None:
        """Set the padding to air."""
        for z, packed in self.masks.items():
            mask = np.unpackbits(packed, count=voxels[z].size).view(bool)
            voxels[z][mask.reshape(voxels[z].shape)] = AIR


def take_out(
    frames: Sequence[Frame],
    pixels: StoredPixels,
    slopes: Voxels,
    intercepts: Voxels,
    *,
    is_hounsfield: bool,
) -> Padding:
    """Take padding that becomes air out of the pixels, and out of their lowest and highest values.

    Args:
        frames: The slices.
        pixels: Theirs; padding is overwritten.
        slopes: Of each slice.
        intercepts: Of each slice.
        is_hounsfield: The slopes and intercepts give Hounsfield units.
    """
    masks: dict[int, Voxels] = {}
    taken = on_edges = edges = 0
    least = float((np.minimum(pixels.lowest * slopes, pixels.highest * slopes) + intercepts).min())
    ranges = [_range(frame) for frame in frames]
    real = [
        max(end * slope + intercept for end in ends) if ends else None
        for ends, slope, intercept in zip(ranges, slopes, intercepts, strict=True)
    ]
    below_air = [each for each in real if each is not None and each < AIR]
    for z, ends in enumerate(ranges):
        image = pixels.voxels[z]
        edges += 2 * sum(image.shape)
        # Slices may lack what others declare.
        greatest = real[z] if real[z] is not None else max(below_air, default=None)
        if greatest is None:
            continue
        if is_hounsfield and greatest < AIR:
            mask = image * slopes[z] < (greatest + AIR) / 2 - intercepts[z]
            if mask.any():
                masks[z] = np.packbits(mask)
                taken += int(np.count_nonzero(mask))
                _overwrite(pixels, z, mask)
        elif ends is not None and greatest > (_NO_TISSUE if is_hounsfield else least):
            on_edges += sum(
                int(np.count_nonzero((edge >= ends[0]) & (edge <= ends[1])))
                for edge in (image[0], image[-1], image[:, 0], image[:, -1])
            )
    findings = []
    if taken:
        share = taken / pixels.voxels.size
        numbers = {"voxels": taken, "share": share}
        findings.append(make_finding("pixel_padding", f"{share:.1%} of the voxels", **numbers))
    if on_edges > _EDGES * edges:
        share = on_edges / edges
        detail = f"{share:.1%} of the pixels along the edges"
        findings.append(make_finding("padding_like_tissue", detail, share_of_edges=share))
    return Padding(masks, tuple(findings))


def _range(frame: Frame) -> tuple[int, int] | None:
    """Return the lowest and the highest stored value of padding; None if none is declared."""
    header = frame.dicom_object.header
    value = read_number(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = read_number(header, "PixelPaddingRangeLimit")
    ends = [stored_value(int(end), frame) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _overwrite(pixels: StoredPixels, z: int, mask: Voxels) -> None:
    """Give padding a value that other pixels of the slice have."""
    image, others = pixels.voxels[z], pixels.voxels[z][~mask]
    pixels.lowest[z] = others.min() if others.size else 0
    pixels.highest[z] = others.max() if others.size else 0
    image[mask] = pixels.lowest[z]
