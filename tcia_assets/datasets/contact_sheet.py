"""`contact_sheet.png`: a picture that shows at a glance what a dataset holds.

This module chooses the samples and arranges their slices, with a title and a legend. The picture of
one slice is made in `slice_preview.py`.

The same samples give the same bytes, with the same version of Pillow.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.grey_pictures import fit_jpeg
from tcia_assets.datasets.samples import kept_samples, uid_hash
from tcia_assets.datasets.slice_preview import SIDE, SlicePreview, color_of, preview
from tcia_assets.errors import MissingExtra

try:
    import nibabel  # noqa: F401 - a missing library must show before a build
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "drawing a contact sheet") from None

NAME = "contact_sheet.png"

_Row = dict[str, Any]

_MAX_SAMPLES = 12
_COLUMNS = 4
# Pixels: between slices, and the height of a line of text.
GAP, LINE = 12, 18
_TEXT_SIZE, _TITLE_SIZE = 13, 18
_BACKGROUND, _BLACK = (24, 26, 30), (0, 0, 0)
_BRIGHT, _DIM = (240, 240, 240), (160, 165, 172)


def write_contact_sheet(
    root: Path, samples: pa.Table, info: DatasetInfo, *, most: int = _MAX_SAMPLES
) -> bool:
    """Write `contact_sheet.png` of some kept samples, and return whether there are any.

    Each split shows the same number of samples, as far as it has them, chosen by the hashes of
    their UIDs.

    Raises:
        StorageError: A file is missing or cannot be read.
    """
    chosen = choose_samples(samples, info, most)
    if not chosen:
        return False
    previews = [preview(root, row, info) for row in chosen]
    _draw_sheet(previews, info).save(root / NAME, format="PNG", compress_level=6)
    return True


def small_jpeg(path: Path) -> bytes:
    """Return a picture as a JPEG of at most 36 kB, for places that keep what they show."""
    with Image.open(path) as picture:
        return fit_jpeg(picture.convert("RGB"))


def choose_samples(samples: pa.Table, info: DatasetInfo, most: int) -> list[_Row]:
    """Return at most `most` kept samples, evenly from all splits, in the order of the splits."""
    rows = sorted(kept_samples(samples).to_pylist(), key=uid_hash)
    by_split = [[row for row in rows if row["part"] == split] for split in info.splits]
    in_turns = chain.from_iterable(zip_longest(*by_split))
    chosen: Iterator[_Row] = islice((row for row in in_turns if row is not None), most)
    return sorted(chosen, key=lambda row: info.splits.index(row["part"]))


def _draw_sheet(previews: list[SlicePreview], info: DatasetInfo) -> Image.Image:
    columns = min(_COLUMNS, len(previews))
    rows = -(-len(previews) // columns)
    width = columns * (SIDE + GAP) + GAP
    legend = _place_legend(info.labels, width)
    legend_lines = legend[-1][2] + 1 if legend else 0
    head = GAP + _TITLE_SIZE + GAP + LINE * legend_lines + GAP // 2
    cell = SIDE + 2 * LINE + GAP
    sheet = Image.new("RGB", (width, head + rows * cell + GAP // 2), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    title = _shorten(_to_ascii(info.title), _TITLE_SIZE, width - 2 * GAP)
    draw.text((GAP, GAP), title, _BRIGHT, _font(_TITLE_SIZE))
    top = GAP + _TITLE_SIZE + GAP
    for label, left, line in legend:
        _draw_key(draw, (left, top + line * LINE), label, info.labels[label])
    for number, slice_ in enumerate(previews):
        row, column = divmod(number, columns)
        _draw_slice(sheet, slice_, (GAP + column * (SIDE + GAP), head + row * cell))
    return sheet


def _place_legend(labels: Mapping[int, str], width: int) -> list[tuple[int, int, int]]:
    """Return for each label the left end of its key, in pixels, and its line."""
    places = []
    left, line = GAP, 0
    for label, name in sorted(labels.items()):
        key_width = LINE + round(_font(_TEXT_SIZE).getlength(name)) + 2 * GAP
        if left > GAP and left + key_width > width:
            left, line = GAP, line + 1
        places.append((label, left, line))
        left += key_width
    return places


def _draw_key(draw: ImageDraw.ImageDraw, at: tuple[int, int], label: int, name: str) -> None:
    left, top = at
    draw.rectangle((left, top + 2, left + _TEXT_SIZE - 2, top + _TEXT_SIZE), color_of(label))
    draw.text((left + LINE, top), name, _BRIGHT, _font(_TEXT_SIZE))


def _draw_slice(sheet: Image.Image, slice_: SlicePreview, at: tuple[int, int]) -> None:
    left, top = at
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), _BLACK)
    picture = Image.fromarray(slice_.colored)
    inset = ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2)
    sheet.paste(picture, (left + inset[0], top + inset[1]))
    if slice_.has_sides:
        side = {"fill": _BRIGHT, "font": _font(_TEXT_SIZE), "stroke_fill": _BLACK}
        draw.text((left + 6, top + SIDE // 2), "R", anchor="lm", stroke_width=2, **side)
        draw.text((left + SIDE - 6, top + SIDE // 2), "L", anchor="rm", stroke_width=2, **side)
    for line, (text, color) in enumerate(((slice_.caption, _BRIGHT), (slice_.details, _DIM))):
        shown = _shorten(text, _TEXT_SIZE, SIDE)
        draw.text((left, top + SIDE + 3 + line * LINE), shown, color, _font(_TEXT_SIZE))


# --- Text -----------------------------------------------------------------------------------------


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _to_ascii(text: str) -> str:
    """Return a text on one line, in the letters that the font has."""
    decomposed = unicodedata.normalize("NFKD", " ".join(text.split()))
    base = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return base.encode("ascii", "replace").decode()


def _shorten(text: str, size: int, width: int) -> str:
    """Return a text, cut off at the end if it is wider than `width` pixels."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
