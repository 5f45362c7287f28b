"""A picture by which a person sees at once what a dataset holds, and whether it is upside down.

What belongs here: `contact_sheet.png`: a slice of some samples of each part, their labels on it. It
is shown as radiologists do: axial, the patient's right at the left, his front at the top. The same
samples give the same bytes, with the same version of Pillow.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.loading import read_voxels
from tcia_assets.datasets.samples import KEPT
from tcia_assets.datasets.volume import Labels, Volume, reorient
from tcia_assets.errors import MissingExtra

try:
    import nibabel  # noqa: F401 - that it is missing should be known before a build
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "drawing a contact sheet") from None

NAME = "contact_sheet.png"

Pixels = NDArray[np.uint8]
_Row = dict[str, Any]
_Color = tuple[int, int, int]

_MOST = 12
_COLUMNS = 4
# Pixels: of the square in which a slice lies, between squares, of a line of text.
_SIDE, _GAP, _LINE = 280, 12, 18
_TEXT_SIZE, _TITLE_SIZE = 13, 18
_GROUND, _BLACK = (24, 26, 30), (0, 0, 0)
_BRIGHT, _DIM = (240, 240, 240), (160, 165, 172)
# Okabe and Ito's, which colour-blind people tell apart, from the brightest; then others.
_COLORS: tuple[_Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 200, 140),
    (240, 228, 66),
    (255, 94, 60),
    (214, 130, 190),
    (0, 130, 210),
    (170, 220, 90),
    (190, 150, 255),
    (255, 170, 170),
)
_FILL = 0.2
_TAIL = 12
# What is shown of CT, in HU: windows of soft tissue and of lungs, and when it is a chest.
_SOFT_TISSUE, _LUNGS = (-160.0, 240.0), (-1350.0, 150.0)
_IN_LUNGS, _LEAST_LUNG = (-950.0, -500.0), 0.04
_SHOWN_PERCENT = (1.0, 99.5)


def write_contact_sheet(
    root: Path, samples: pa.Table, info: DatasetInfo, *, most: int = _MOST
) -> bool:
    """`contact_sheet.png` of samples that are kept; whether there are any, and so is the file.

    Parts have the same number of samples, as far as they have them, chosen by the hashes of their
    UIDs. Of each, the slice is shown that has most of its labels (each label counted as a share of
    its own voxels), or the middle one.

    Raises:
        StorageError: a file is missing or cannot be read.
    """
    chosen = _chosen(samples, info, most)
    if not chosen:
        return False
    panels = [_panel(root, row, info) for row in chosen]
    _drawn(panels, info).save(root / NAME, format="PNG", compress_level=6)
    return True


def _chosen(samples: pa.Table, info: DatasetInfo, most: int) -> list[_Row]:
    rows = samples.filter(pc.equal(samples["state"], KEPT)).to_pylist()
    left = {
        part: sorted((r for r in rows if r["part"] == part), key=_hashed) for part in info.splits
    }
    taken: dict[str, list[_Row]] = {part: [] for part in info.splits}
    while any(left.values()) and sum(map(len, taken.values())) < most:
        for part in info.splits:
            if left[part] and sum(map(len, taken.values())) < most:
                taken[part].append(left[part].pop(0))
    return [row for part in info.splits for row in taken[part]]


def _hashed(row: _Row) -> bytes:
    return hashlib.sha256(row["SeriesInstanceUID"].encode()).digest()


# --- A slice --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """A slice in grey, in its right proportions, the labels on it, and two lines about it."""

    grey: Pixels
    labels: Pixels | None
    caption: str
    about: str


def _panel(root: Path, row: _Row, info: DatasetInfo) -> _Panel:
    affine = np.array(row["affine"]).reshape(4, 4)
    voxels = read_voxels(root / row["image"])
    uid, modality = row["SeriesInstanceUID"], row["Modality"] or ""
    # x rises to the left, y to the back, z upwards: rows and columns of a radiologist's picture.
    volume = reorient(Volume(voxels, affine, uid, "", modality, row["units"]), "LPS")
    labels = None
    if row["label"]:
        drawn = Labels(read_voxels(root / row["label"]), affine, info.labels)
        labels = reorient(drawn, "LPS").voxels
    place = _slice_of(labels, len(volume.voxels))
    image = np.asarray(volume.voxels[place], dtype=np.float32)
    window, name = _window(image, row, info)
    size = _size(image.shape, volume.spacing)
    grey = _resized(_in_grey(image, window, is_inverted=modality == "PT"), size, smooth=True)
    mask = None if labels is None else _resized(_as_bytes(labels[place]), size, smooth=False)
    about = f"{modality or 'unknown'}, slice {place + 1} of {len(volume.voxels)}, {name}"
    return _Panel(grey, mask, f"{row['part']}  …{_tail(uid)}", about)


def _tail(uid: str) -> str:
    """The end of a UID, by which people tell Series apart."""
    return uid[-_TAIL:].lstrip(".")


def _slice_of(labels: Any, depth: int) -> int:
    """The slice with most of the labels, or the middle one."""
    if labels is None or not labels.any():
        return depth // 2
    most = int(labels.max()) + 1
    areas = np.array([np.bincount(image.ravel(), minlength=most)[1:] for image in labels])
    share = (areas / np.maximum(areas.sum(axis=0), 1)).sum(axis=1)
    # Of several that are equal, the one nearest to the middle.
    best = np.flatnonzero(share >= share.max() * (1 - 1e-9))
    return int(best[np.argmin(np.abs(best - depth // 2))])


def _window(image: Any, row: _Row, info: DatasetInfo) -> tuple[tuple[float, float], str]:
    """The lower and upper value that are shown, and how to call them."""
    is_windowed = bool(info.settings.get("volume", {}).get("window"))
    if row["units"] == "HU" and not is_windowed:
        inside = (image > _IN_LUNGS[0]) & (image < _IN_LUNGS[1])
        window = _LUNGS if inside.mean() > _LEAST_LUNG else _SOFT_TISSUE
        return window, f"{window[0]:g} to {window[1]:g} HU"
    if is_windowed:
        low, high = float(image.min()), float(image.max())
    else:
        # Air is most of the picture, and says nothing of what is bright.
        seen = image[image > image.min()]
        low, high = np.percentile(seen if seen.size else image, _SHOWN_PERCENT).tolist()
        low = 0.0 if row["units"] == "SUVbw" else low
    unit = "" if row["units"] in {"HU", "stored"} else f" {row['units']}"
    return (low, high), f"{low:.3g} to {high:.3g}{unit}"


def _in_grey(image: Any, window: tuple[float, float], *, is_inverted: bool) -> Pixels:
    low, high = window
    share = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    # PET is read black on white.
    shown = 1 - share if is_inverted else share
    grey: Pixels = np.nan_to_num(np.rint(shown * 255)).astype(np.uint8)
    return grey


def _as_bytes(labels: Any) -> Pixels:
    # Of more labels than a byte has, the colours come again.
    made: Pixels = np.where(labels == 0, 0, (labels.astype(np.int64) - 1) % 250 + 1).astype(
        np.uint8
    )
    return made


def _size(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, int]:
    """Width and height in pixels, in the proportions of millimetres."""
    width, height = shape[1] * spacing[0], shape[0] * spacing[1]
    scale = _SIDE / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _resized(pixels: Pixels, size: tuple[int, int], *, smooth: bool) -> Pixels:
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    made: Pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how))
    return made


# --- The sheet ------------------------------------------------------------------------------------


def _drawn(panels: list[_Panel], info: DatasetInfo) -> Image.Image:
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width = columns * (_SIDE + _GAP) + _GAP
    legend = _legend_places(info.labels, width)
    head = _GAP + _TITLE_SIZE + _GAP + _LINE * (legend[-1][2] + 1 if legend else 0) + _GAP // 2
    cell = _SIDE + 2 * _LINE + _GAP
    sheet = Image.new("RGB", (width, head + lines * cell + _GAP // 2), _GROUND)
    draw = ImageDraw.Draw(sheet)
    title = _fitting(_in_ascii(info.title), _TITLE_SIZE, width - 2 * _GAP)
    draw.text((_GAP, _GAP), title, _BRIGHT, _font(_TITLE_SIZE))
    top = _GAP + _TITLE_SIZE + _GAP
    for label, left, line in legend:
        _draw_key(draw, (left, top + line * _LINE), label, info.labels[label])
    for number, panel in enumerate(panels):
        across, down = number % columns, number // columns
        _draw_panel(sheet, panel, (_GAP + across * (_SIDE + _GAP), head + down * cell))
    return sheet


def _legend_places(labels: Mapping[int, str], width: int) -> list[tuple[int, int, int]]:
    """Each label with the left end of its key and the line in which it stands."""
    places = []
    left, line = _GAP, 0
    for label, name in sorted(labels.items()):
        wide = _LINE + round(_font(_TEXT_SIZE).getlength(name)) + 2 * _GAP
        if left > _GAP and left + wide > width:
            left, line = _GAP, line + 1
        places.append((label, left, line))
        left += wide
    return places


def _draw_key(draw: ImageDraw.ImageDraw, at: tuple[int, int], label: int, name: str) -> None:
    left, top = at
    draw.rectangle((left, top + 2, left + _TEXT_SIZE - 2, top + _TEXT_SIZE), _color(label))
    draw.text((left + _LINE, top), name, _BRIGHT, _font(_TEXT_SIZE))


def _draw_panel(sheet: Image.Image, panel: _Panel, at: tuple[int, int]) -> None:
    left, top = at
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), _BLACK)
    picture = Image.fromarray(_colored(panel))
    inset = ((_SIDE - picture.width) // 2, (_SIDE - picture.height) // 2)
    sheet.paste(picture, (left + inset[0], top + inset[1]))
    side = {"fill": _BRIGHT, "font": _font(_TEXT_SIZE), "stroke_width": 2, "stroke_fill": _BLACK}
    draw.text((left + 6, top + _SIDE // 2), "R", anchor="lm", **side)
    draw.text((left + _SIDE - 6, top + _SIDE // 2), "L", anchor="rm", **side)
    for line, (text, color) in enumerate(((panel.caption, _BRIGHT), (panel.about, _DIM))):
        shown = _fitting(text, _TEXT_SIZE, _SIDE)
        draw.text((left, top + _SIDE + 3 + line * _LINE), shown, color, _font(_TEXT_SIZE))


def _colored(panel: _Panel) -> Pixels:
    """The slice with its labels: tinted inside, drawn through at their edges."""
    pixels = np.repeat(panel.grey[..., None], 3, axis=2).astype(np.float32)
    if panel.labels is not None:
        edges = _edges(panel.labels)
        for label in np.unique(panel.labels):
            if label:
                inside = panel.labels == label
                opacity = np.where(edges, 1.0, _FILL)[inside][:, None]
                color = np.array(_color(int(label)))
                pixels[inside] = pixels[inside] * (1 - opacity) + color * opacity
    return np.rint(pixels).astype(np.uint8)


def _edges(labels: Pixels) -> NDArray[np.bool_]:
    """Pixels of a label beside which another begins."""
    padded = np.pad(labels, 1, mode="edge")
    here = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edges: NDArray[np.bool_] = np.logical_or.reduce([here != other for other in beside])
    return edges


def _color(label: int) -> _Color:
    """The colour of a label; after ten they come again, each time lighter."""
    again, place = divmod(label - 1, len(_COLORS))
    pale = 1 - 0.5**again
    red, green, blue = (round(part + (255 - part) * pale) for part in _COLORS[place])
    return red, green, blue


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _in_ascii(text: str) -> str:
    """A line in the letters that the font has."""
    bare = unicodedata.normalize("NFKD", " ".join(text.split()))
    kept = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return kept.encode("ascii", "replace").decode()


def _fitting(text: str, size: int, width: int) -> str:
    """As much of a text as has room."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
