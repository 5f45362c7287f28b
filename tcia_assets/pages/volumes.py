"""A volume to look at, with the masks on it: slices as one picture, and voxels as a script.

Voxels are made coarser, so that a page opens them at once; the full ones are in the zip. Needs the
extra `datasets`.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcia_assets.datasets.grey_pictures import auto_window, fitted_size, resize, to_grey
from tcia_assets.datasets.slice_preview import SlicePreview, choose_slice, color_of
from tcia_assets.datasets.volume.arrays import Labels, Matrix, Volume, Voxels
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.regrid import reorient
from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.errors import MissingExtra
from tcia_assets.pages.pictures import SIDE, to_jpeg

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "pictures of Series") from None

VERSION = 1
"""Part of a volume's key: volumes of another version are made again."""

COLUMNS = 6
"""Slices in a row of the picture with all slices."""

_MAX_SLICES = 36
# A script of at most about 2 MB.
_MAX_SIDE, _MAX_VOXELS = 176, 1_200_000
_MAX_LABELS = 250
_INT16 = 32_000


@dataclass(frozen=True)
class ShownVolume:
    """A volume as a page shows it.

    Attributes:
        slices: A JPEG with slices from the lowest to the highest, `COLUMNS` in a row.
        count: How many slices it has.
        depth: How many slices the volume has.
        best: Which of the slices shows most of the masks, from 0, or is in the middle.
        picture: That slice as a JPEG of its own.
        script: Hands the voxels and the labels to the page, as NIfTI.
        window: The lower and the upper value that are shown, in the values of the script.
        window_name: What they are.
        labels: Name, colour as #rrggbb, and value of each label that has voxels.
    """

    slices: bytes
    count: int
    depth: int
    best: int
    picture: bytes
    script: bytes
    window: tuple[float, float]
    window_name: str
    labels: tuple[tuple[str, str, int], ...]


def show_volume(image: Path, masks: Sequence[Path], names: Sequence[str]) -> ShownVolume:
    """Read the volume of a Series, and draw the masks on it.

    Args:
        image: The zip of a CT, MR or PT Series.
        masks: Zips of SEG and RTSTRUCT Series.
        names: The names of their segments and ROIs.

    Raises:
        NoVolume: The Series has no volume that can be shown; `findings` has the reasons.
        BadArchive, MissingExtra, OSError: See `volume_reader.read_volume`.
    """
    volume = read_volume(image)
    drawn = _read_labels(masks, volume, names)
    volume = reorient(volume, "LPS")
    labels = None if drawn is None else reorient(drawn, "LPS")
    best = choose_slice(None if labels is None else labels.voxels, len(volume.voxels))
    window, name = auto_window(np.asarray(volume.voxels[best], np.float32), volume.units)
    places = _places(len(volume.voxels))
    shown = int(np.argmin(np.abs(places - best)))
    # The slice with most of the masks is among them, exactly.
    places[shown] = best
    pictures = [_draw(volume, labels, int(place), window) for place in places]
    voxels, scaled = _as_int16(volume.voxels, window)
    return ShownVolume(
        slices=to_jpeg(_sheet(pictures)),
        count=len(pictures),
        depth=len(volume.voxels),
        best=shown,
        picture=to_jpeg(pictures[shown]),
        script=_script(volume.on_grid(voxels, volume.affine), labels),
        window=scaled,
        window_name=name,
        labels=() if labels is None else _legend(labels),
    )


def _read_labels(masks: Sequence[Path], volume: Volume, names: Sequence[str]) -> Labels | None:
    patterns = {n.strip(): re.escape(n.strip()) for n in names if n.strip()}
    if not masks or not patterns:
        return None
    chosen = dict(list(patterns.items())[:_MAX_LABELS])
    return read_labels(masks, volume, LabelPatterns.compile(chosen))


def _legend(labels: Labels) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (labels.names[label], "#{:02x}{:02x}{:02x}".format(*color_of(label)), label)
        for label, count in labels.counts.items()
        if count
    )


# --- Slices ---------------------------------------------------------------------------------------


def _places(depth: int) -> Voxels:
    count = min(depth, _MAX_SLICES)
    return np.rint(np.linspace(0, depth - 1, count)).astype(int)


def _draw(volume: Volume, labels: Labels | None, place: int, window: tuple[float, float]) -> Voxels:
    values = np.asarray(volume.voxels[place], np.float32)
    grey = to_grey(values, window, is_inverted=volume.modality == "PT")
    size = fitted_size(values.shape, volume.spacing, SIDE)
    mask = None
    if labels is not None:
        drawn = labels.voxels[place].astype(np.uint8)
        mask = resize(drawn, size, Image.Resampling.NEAREST)
    return SlicePreview(resize(grey, size, Image.Resampling.BICUBIC), mask, "", "").colored


def _sheet(pictures: Sequence[Voxels]) -> Voxels:
    """Return all pictures, each in the middle of a square, in rows."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = np.zeros((rows * SIDE, COLUMNS * SIDE, 3), np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        top = row * SIDE + (SIDE - picture.shape[0]) // 2
        left = column * SIDE + (SIDE - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


# --- Voxels ---------------------------------------------------------------------------------------


def _as_int16(voxels: Voxels, window: tuple[float, float]) -> tuple[Voxels, tuple[float, float]]:
    """Return voxels as int16, and the window in the same values."""
    if voxels.dtype == np.int16:
        return voxels, window
    highest = float(np.nanmax(np.abs(voxels))) or 1.0
    scale = _INT16 / highest
    scaled = np.nan_to_num(np.rint(voxels * scale)).astype(np.int16)
    return scaled, (window[0] * scale, window[1] * scale)


def _script(volume: Volume, labels: Labels | None) -> bytes:
    steps = _steps(volume.voxels.shape)
    texts = [_nifti(volume.on_grid(*_coarse(volume.voxels, volume.affine, steps, is_mean=True)))]
    if labels is not None:
        drawn = labels.voxels.astype(np.uint8)
        coarse, affine = _coarse(drawn, labels.affine, steps, is_mean=False)
        texts.append(_nifti(Labels(coarse, affine, labels.names)))
    arguments = b",".join(b'"' + text + b'"' for text in texts)
    return b'"use strict";catalogue.volume(' + arguments + b");\n"


def _steps(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return how many voxels become one, along z, y and x."""
    depth, height, width = shape
    across = -(-max(height, width) // _MAX_SIDE)
    left = depth * (height // across or 1) * (width // across or 1)
    return -(-left // _MAX_VOXELS), across, across


def _coarse(
    voxels: Voxels, affine: Matrix, steps: tuple[int, int, int], *, is_mean: bool
) -> tuple[Voxels, Matrix]:
    """Return voxels on a coarser grid: their means in a slice, or the value in the middle."""
    z, y, x = steps
    height, width = (max(n // step, 1) for n, step in zip(voxels.shape[1:], (y, x), strict=True))
    kept = voxels[::z, : height * y, : width * x]
    own = kept.shape[1] // height, kept.shape[2] // width
    blocks = kept.reshape(len(kept), height, own[0], width, own[1])
    if is_mean:
        coarse = np.rint(blocks.mean(axis=(2, 4))).astype(voxels.dtype)
    else:
        coarse = blocks[:, :, blocks.shape[2] // 2, :, blocks.shape[4] // 2]
    moved = np.eye(4)
    moved[:3, :3] = np.diag([x, y, z])
    moved[:3, 3] = (x - 1) / 2, (y - 1) / 2, 0
    return np.ascontiguousarray(coarse), affine @ moved


def _nifti(image: Volume | Labels) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii.gz"
        write_nifti(path, image)
        return base64.b64encode(path.read_bytes())
