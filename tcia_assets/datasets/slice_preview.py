"""One slice of a sample as a picture: grey values in proportion, with the labels on it.

This module chooses the slice and the colours, `grey_pictures.py` the window. `contact_sheet.py`
arranges the slices.

Slices are shown as radiologists view them: axial, the patient's right on the left of the picture,
the front at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.frame_settings import DISPLAY
from tcia_assets.datasets.grey_pictures import (
    Pixels,
    auto_window,
    fitted_size,
    resize,
    to_grey,
    window_name,
)
from tcia_assets.datasets.loading import read_voxels
from tcia_assets.datasets.samples import sample_name
from tcia_assets.datasets.volume.arrays import Labels, Volume, Voxels
from tcia_assets.datasets.volume.regrid import reorient
from tcia_assets.errors import MissingExtra

try:
    from PIL import Image
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "drawing a contact sheet") from None

Color = tuple[int, int, int]

SIDE = 280
"""The side of the square that a slice must fit into, in pixels."""

# Okabe and Ito's colours, which colour-blind people can distinguish, brightest first; then more.
_PALETTE = bytes.fromhex("e69f00 56b4e9 00c88c f0e442 ff5e3c d682be 0082d2 aadc5a be96ff ffaaaa")
_COLORS: list[list[int]] = np.frombuffer(_PALETTE, np.uint8).reshape(-1, 3).tolist()
_FILL_OPACITY = 0.2
_MAX_LABEL = 250
_UID_TAIL = 12
# Rows, columns, and red, green and blue.
_WITH_COLOURS = 3


@dataclass(frozen=True)
class SlicePreview:
    """A slice.

    Attributes:
        grey: Indexed [y, x], in the proportions of millimetres.
        labels: The label of each pixel, 0 for none; None for a sample without labels.
        caption: The split and the end of the UID.
        details: Modality, slice and window.
        has_sides: Whether the patient's right is on the left.
    """

    grey: Pixels
    labels: Pixels | None
    caption: str
    details: str
    has_sides: bool = True

    @property
    def colored(self) -> Pixels:
        """The slice in RGB: labels are tinted inside, and opaque at their edges."""
        pixels = np.repeat(self.grey[..., None], 3, axis=2).astype(np.float32)
        if self.labels is not None:
            edges = _edges(self.labels)
            for label in np.unique(self.labels[self.labels > 0]):
                inside = self.labels == label
                opacity = np.where(edges, 1.0, _FILL_OPACITY)[inside][:, None]
                color = np.array(color_of(int(label)))
                pixels[inside] = pixels[inside] * (1 - opacity) + color * opacity
        return np.rint(pixels).astype(np.uint8)


def preview(root: Path, row: dict[str, Any], info: DatasetInfo) -> SlicePreview:
    """Read a sample and return the slice with most of its labels, or the middle one.

    Args:
        root: The folder of the version.
        row: A row of `samples.SAMPLES` that is kept.
        info: Of the dataset.

    Raises:
        StorageError: A file is missing or cannot be read.
    """
    if info.has_frames:
        return _preview_frame(root, row)
    affine = np.array(row["affine"]).reshape(4, 4)
    uid, modality = sample_name(row), row["Modality"] or ""
    voxels = read_voxels(root / row["image"])
    # In LPS, x rises to the patient's left and y to the back: columns and rows of the picture.
    volume = reorient(Volume(voxels, affine, uid, "", modality, row["units"]), "LPS")
    labels = None
    if row["label"]:
        read = read_voxels(root / row["label"])
        # Where readers are apart, the first one is shown.
        drawn = Labels(read.reshape(-1, *voxels.shape)[0], affine, info.labels)
        labels = reorient(drawn, "LPS").voxels
    position = choose_slice(labels, len(volume.voxels))
    values = np.asarray(volume.voxels[position], dtype=np.float32)
    window, window_name = choose_window(values, row, info)
    size = fitted_size(values.shape, volume.spacing, SIDE)
    grey = to_grey(values, window, is_inverted=modality == "PT")
    mask = None
    if labels is not None:
        mask = resize(_to_bytes(labels[position]), size, Image.Resampling.NEAREST)
    return SlicePreview(
        grey=resize(grey, size, Image.Resampling.BICUBIC),
        labels=mask,
        caption=_caption(row),
        details=f"{modality or 'unknown'}, slice {position + 1} of {len(volume.voxels)}, "
        f"{window_name}",
    )


def _caption(row: dict[str, Any]) -> str:
    return f"{row['part']}  …{sample_name(row)[-_UID_TAIL:].lstrip('.')}"


def _preview_frame(root: Path, row: dict[str, Any]) -> SlicePreview:
    """Return a two-dimensional image as it is stored; of colours, their mean."""
    pixels = read_voxels(root / row["image"])
    is_colour = row["units"] == DISPLAY and pixels.ndim == _WITH_COLOURS
    values = pixels.mean(axis=2) if is_colour else pixels.reshape(pixels.shape[-2:])
    window, name = auto_window(values, row["units"])
    if row["units"] == DISPLAY:
        top = 255.0 if is_colour else float(np.iinfo(pixels.dtype).max)
        window, name = (0.0, top), row["shown_by"]
    size = fitted_size(values.shape, row["spacing"] or (1.0, 1.0), SIDE)
    about = (row["Modality"] or "unknown", row["ImageLaterality"], row["ViewPosition"], name)
    return SlicePreview(
        grey=resize(to_grey(values, window, is_inverted=False), size, Image.Resampling.BICUBIC),
        labels=None,
        caption=_caption(row),
        details=", ".join(filter(None, about)),
        has_sides=False,
    )


def choose_slice(labels: Any, depth: int) -> int:
    """Return the position of the slice with most of the labels, or of the middle one.

    Each label counts by the share of its own voxels, so that small labels are shown too.
    """
    if labels is None or not labels.any():
        return depth // 2
    count = int(labels.max()) + 1
    areas = np.array([np.bincount(values.ravel(), minlength=count)[1:] for values in labels])
    shares = (areas / np.maximum(areas.sum(axis=0), 1)).sum(axis=1)
    # Of equal slices, the one nearest to the middle.
    best = np.flatnonzero(shares >= shares.max() * (1 - 1e-9))
    return int(best[np.argmin(np.abs(best - depth // 2))])


def choose_window(
    values: Any, row: dict[str, Any], info: DatasetInfo
) -> tuple[tuple[float, float], str]:
    """Return the lower and upper value that are shown, and a text about them."""
    if not info.settings.get("volume", {}).get("window"):
        return auto_window(values, row["units"])
    low, high = float(values.min()), float(values.max())
    return (low, high), window_name(low, high, row["units"])


def color_of(label: int) -> Color:
    """Return the colour of a label; after ten the colours repeat, lighter each time."""
    repeat, position = divmod(label - 1, len(_COLORS))
    lightness = 1 - 0.5**repeat
    red, green, blue = (round(c + (255 - c) * lightness) for c in _COLORS[position])
    return red, green, blue


def _to_bytes(labels: Voxels) -> Pixels:
    # With more labels than a byte can hold, the numbers repeat.
    return np.where(labels == 0, 0, (labels.astype(np.int64) - 1) % _MAX_LABEL + 1).astype(np.uint8)


def _edges(labels: Pixels) -> NDArray[np.bool_]:
    """Return which pixels have a neighbour with another label."""
    padded = np.pad(labels, 1, mode="edge")
    center = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edges: NDArray[np.bool_] = np.logical_or.reduce([center != each for each in neighbours])
    return edges
